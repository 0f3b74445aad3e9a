"""State: files that may be lost at any time, and are never half there."""

import os


def keep(place: str, content: bytes) -> None:
    """Write the file `place` in one step. Where that cannot be done, only time is lost.

    What stands there instead of a file, somebody's damage, is moved out of the way.
    """
    temporary = f"{place}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
            if os.path.isdir(place):
                os.rename(place, f"{temporary}.damaged")
            os.replace(temporary, place)
        except OSError:
            os.unlink(temporary)
    except OSError:
        return
