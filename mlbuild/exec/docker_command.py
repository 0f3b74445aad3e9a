"""Command: the words that a container starts with, and what its end says about them.

A container's output comes through two pipes, so that what a program prints on one may overtake
what it printed on the other. Where the image has a shell that does it unseen, the shell lets both
be one.
"""

import os
import re
from dataclasses import dataclass, field

from mlbuild.errors import InputError
from mlbuild.exec.launcher import too_long, unknown_program
from mlbuild.exec.root import Root

# Others, such as bash, leave variables of their own in the environment.
_SHELLS = frozenset({"dash", "busybox", "ash"})
_MERGE = 'command -v -- "$1" >/dev/null 2>&1 || { echo "$0"; exit 127; }; exec "$@" 2>&1'
_NOT_FOUND = 127
_LONGEST = (1 << 17) - 1  # bytes of one word: what Linux takes
_LARGEST = 1 << 21  # bytes of all
_INIT_FAILED = re.compile(r"\[FATAL tini \(\d+\)\] exec .* failed: No such file or directory")


@dataclass(frozen=True, slots=True)
class Command:
    """What a container is told to run."""

    program: str  # as the rule says it
    words: list[str]
    mark: str = field(default="")  # printed when there is no such program

    def check(self, code: int, log: str, *, since: int) -> None:
        """Raise HostError when what ended with `code` was not the program: there is none."""
        if code != _NOT_FOUND:
            return
        with open(log, "rb") as file:
            file.seek(since)
            said = file.read(1 << 14).decode("utf-8", "replace")
        if (self.mark and said == f"{self.mark}\n") or _INIT_FAILED.match(said):
            os.truncate(log, since)
            raise unknown_program(self.program, in_image=True)


def command_of(argv: list[str], root: Root) -> Command:
    """Return the command for `argv`; raise HostError or InputError for what cannot be passed."""
    sizes = []
    for word in argv:
        try:
            sizes.append(len(word.encode()) + 1)
        except UnicodeEncodeError as error:
            raise InputError(
                f"the word {word!r} is not UTF-8, and Docker passes nothing else",
                hints=("put it into a file, or run with `--executor sandbox`",),
            ) from error
    if max(sizes) > _LONGEST or sum(sizes) > _LARGEST:
        raise too_long(argv[0], sum(sizes))
    shell = os.path.realpath(f"{root.files}/bin/sh")
    if os.path.basename(shell) not in _SHELLS or not os.path.isfile(shell):
        return Command(argv[0], argv)
    mark = f"mlbuild-{os.urandom(8).hex()}"
    return Command(argv[0], ["/bin/sh", "-c", _MERGE, mark, *argv], mark)
