"""Golden cases: files of a workspace, a command line, and what it says.

A case is one text file. A line `=== PATH` begins a file of the workspace, `=== $ mlbuild WORDS`
what the command is expected to say on stderr, and `=== exit N` ends it. `=== PATH (python)` begins
a Python expression for the bytes of a file that no text editor writes; `=== PATH (fifo)`,
`(folder)` and `(link TO)` make what they say. `=== NAME (commit)` commits what stands above it and
tags it, `=== NAME (repository)` makes one without a commit. Above all that stand words for the
reader.
"""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.repositories import Repository

FOLDER = os.path.join(os.path.dirname(__file__), "errors")
_MARK = re.compile(r"^=== (.*)\n", re.MULTILINE)
_FILE = re.compile(r"(\S+)(?: \((\w+)(?: (\S+))?\))?")


@dataclass(frozen=True)
class Case:
    """One case as it is written."""

    head: str  # everything above what is expected
    files: tuple[tuple[str, str, str, str], ...]  # path, kind, detail, content
    words: tuple[str, ...]
    said: str
    code: int

    def text(self, said: str, code: int) -> str:
        """Return the case as it is written when the command says this."""
        return f"{self.head}{said}=== exit {code}\n"

    def make(self, root: str) -> None:
        """Make the workspace in the folder `root`."""
        if not any(path == "mlbuild.toml" for path, *_ in self.files):
            _write(os.path.join(root, "mlbuild.toml"), b'[workspace]\nname = "golden"\n')
        for path, kind, detail, content in self.files:
            place = os.path.join(root, path)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if kind == "fifo":
                os.mkfifo(place)
            elif kind in {"commit", "repository"}:
                repository = Repository(Path(root))
                if kind == "commit":
                    repository.commit(path)
                    repository.git("tag", path)
            elif kind == "folder":
                os.makedirs(place)
            elif kind == "link":
                os.symlink(detail, place)
            else:
                # The expression is one of this repository's own files.
                found = eval(content) if kind == "python" else content.encode()  # noqa: S307
                _write(place, found)


def case_names() -> Iterator[str]:
    """Yield the paths of all cases below FOLDER, sorted."""
    for folder, folders, files in os.walk(FOLDER):
        folders.sort()
        for name in sorted(files):
            yield os.path.relpath(os.path.join(folder, name), FOLDER)


def read_case(name: str) -> Case:
    """Return a case; raise ValueError where it is not written as one."""
    with open(os.path.join(FOLDER, name), encoding="utf-8", newline="") as file:
        text = file.read()
    marks = list(_MARK.finditer(text))
    files: list[tuple[str, str, str, str]] = []
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        content = text[mark.end() : after.start() if after else len(text)]
        if mark[1].startswith("$ mlbuild"):
            words = tuple(shlex.split(mark[1])[2:])
            code = int(after[1].removeprefix("exit ")) if after else -1
            return Case(text[: mark.end()], tuple(files), words, content, code)
        found = _FILE.fullmatch(mark[1])
        if not found:
            raise ValueError(f"{name}: `{mark[0].strip()}` is not understood")
        files.append((found[1], found[2] or "", found[3] or "", content))
    raise ValueError(f"{name}: a case needs a line `=== $ mlbuild …`")


def write_case(name: str, text: str) -> None:
    """Write a case anew."""
    _write(os.path.join(FOLDER, name), text.encode())


def _write(place: str, content: bytes) -> None:
    with open(place, "wb") as file:
        file.write(content)
