"""Resources and times as people write them: `"2Gi"`, `"90m"`."""

import re
from typing import Any

from mlbuild.errors import InputError

_MEMORY = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_MEMORY |= {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_TIME = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def memory(text: Any) -> int:
    """Return bytes: `"2Gi"` is 2·2³⁰, `"2G"` is 2·10⁹, a plain number is bytes."""
    return _size(text, "memory")


def disk(text: Any) -> int:
    """Return bytes, from the same words as `memory`."""
    return _size(text, "disk")


def _size(text: Any, what: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]i?|Ki|)B?", str(text))
    if found is None or isinstance(text, bool) or found[2] not in _MEMORY:
        raise InputError(
            f"`{text}` is not an amount of {what}",
            hints=("write `512Mi`, `2Gi` or a number of bytes",),
        )
    return int(float(found[1]) * _MEMORY[found[2]])


def seconds(text: Any) -> float:
    """Return seconds: `"90m"`, `"2h"`, `"45s"`, or a plain number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(text))
    if found is None or isinstance(text, bool):
        raise InputError(
            f"`{text}` is not a time", hints=("write `45s`, `90m`, `2h` or a number of seconds",)
        )
    return float(found[1]) * _TIME[found[2]]
