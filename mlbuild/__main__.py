"""The program: first the answers that need no thought, then the command line."""

import sys
import time

from mlbuild import __version__


def main() -> int:
    """Do what the command line says; return the exit code."""
    started = time.perf_counter()
    argv = sys.argv[1:]
    if argv == ["--version"]:
        sys.stdout.write(f"mlbuild {__version__}\n")
        return 0
    try:
        if argv:
            import os  # noqa: PLC0415 - `--version` needs none of it

            from mlbuild.unchanged import answer  # noqa: PLC0415 - likewise

            code = answer(argv, dict(os.environ), started)  # noqa: TID251 - before config.py may be imported
            if code is not None:
                return code
        from mlbuild.cli.main import main as command_line  # noqa: PLC0415 - start-up

        return command_line(argv)
    except KeyboardInterrupt:
        return 8


if __name__ == "__main__":
    sys.exit(main())
