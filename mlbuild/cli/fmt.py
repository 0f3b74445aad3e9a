"""`mlbuild fmt`: lay out BUILD.ml and .bzl files in one way."""

import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from enum import Enum
from typing import Any

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, current_folder
from mlbuild.errors import HostError, InputError, MlbuildError
from mlbuild.graph.glob import BUILD_FILE, SKIPPED
from mlbuild.lang.dialect import Dialect
from mlbuild.lang.format import formatted
from mlbuild.ui.diagnose import error_lines
from mlbuild.ui.text import clean
from mlbuild.workspace import MARKER, Workspace

USAGE = Usage(
    "fmt",
    "[PATH…|-]",
    "Lay out BUILD.ml and .bzl files in one way; what they say stays the same. A PATH is a file, "
    "or a folder with all such files below it; without one, it is the current folder. `-` reads "
    "a file from stdin and writes it to stdout.",
    (
        Option(
            ("--check",),
            "Write nothing; list the files that would change. Exit code 1 if there are any.",
            dest="check",
        ),
        Option(("--diff",), "Write nothing; show what would change.", dest="diff"),
        Option(
            ("--name",),
            "What `-` is called: a name that ends in `.bzl` is laid out as such.",
            "FILE",
            "name",
        ),
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)
STDIN = "-"
WOULD_CHANGE = 1  # the exit code of --check
_LIBRARIES = (".bzl", ".star")
_ENVIRONMENT = "pyvenv.cfg"  # stands in the folder of a virtual environment


class _Mode(Enum):
    """What is done with a file that would change."""

    WRITE = "write"
    LIST = "list"
    DIFF = "diff"


@dataclass(slots=True)
class _Report:
    """What became of the files, by the names that the user knows them by."""

    changed: list[str] = field(default_factory=list)
    unchanged: int = 0
    failed: dict[str, MlbuildError] = field(default_factory=dict)
    diffs: list[str] = field(default_factory=list)


def run(words: Words, screen: Screen) -> int:
    """Format files, or say on stdout which would change."""
    if words.has("json") and words.has("diff"):
        raise InputError("`--json` and `--diff` cannot be given together")
    folder = current_folder(words.text("folder"))
    if STDIN in words.rest:
        return _run_stdin(words, screen)
    if words.has("name"):
        raise InputError("`--name` is for `-`", hints=("files have names of their own",))
    report = _Report()
    for path in _files(words.rest, folder, screen):
        try:
            _format(path, folder, report, mode=_mode(words))
        except MlbuildError as error:
            report.failed[path] = error
    return _tell(report, words, screen, folder)


def _mode(words: Words) -> _Mode:
    if words.has("diff"):
        return _Mode.DIFF
    return _Mode.LIST if words.has("check") else _Mode.WRITE


# Which files


def _files(paths: Sequence[str], folder: str, screen: Screen) -> list[str]:
    """Return the files to format, as seen from `folder`; each once, also when links lead to it."""
    found: dict[str, str] = {}
    if not paths:
        screen.root = _workspace(folder).root
    for path in paths or (os.curdir,):
        place = os.path.join(folder, path)
        if os.path.isdir(place):
            names: Iterator[str] = _below(path, folder, nested=bool(paths))
        elif os.path.isfile(place):
            names = iter((path,))
        elif os.path.lexists(place):
            raise InputError(f"`{path}` is neither a file nor a folder")
        else:
            raise InputError(f"there is no file or folder `{path}`")
        for name in names:
            found.setdefault(os.path.realpath(os.path.join(folder, name)), name)
    return list(found.values())


def _workspace(folder: str) -> Workspace:
    try:
        return Workspace.find(folder)
    except InputError as error:
        hint = "to format files outside of a workspace, name them: `mlbuild fmt FILE…`"
        raise InputError(error.message, hints=(hint, *error.hints)) from None


def _below(path: str, folder: str, *, nested: bool) -> Iterator[str]:
    """Yield the BUILD.ml and .bzl files below the folder `path`.

    No linked folder is entered and, unless `nested`, no folder that is a workspace of its own.
    Linked files are taken where they lead to a file below `path`.
    """
    top = os.path.realpath(os.path.join(folder, path))
    pending = [path]
    while pending:
        here = pending.pop()
        try:
            with os.scandir(os.path.join(folder, here)) as entries:
                listing = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            reason = (error.strerror or "error").lower()
            raise HostError(f"cannot read the folder `{here}`: {reason}") from error
        names = {entry.name for entry in listing}
        if here != path and (_ENVIRONMENT in names or (MARKER in names and not nested)):
            continue
        for entry in listing:
            if not (entry.name == BUILD_FILE or entry.name.endswith(".bzl")) or not entry.is_file():
                continue
            if not entry.is_symlink() or _is_below(os.path.realpath(entry.path), top):
                yield _joined(here, entry.name)
        pending += [
            _joined(here, entry.name)
            for entry in reversed(listing)
            if entry.is_dir(follow_symlinks=False)
            and entry.name not in SKIPPED
            and not entry.name.startswith(".")
        ]


def _is_below(place: str, top: str) -> bool:
    return place.startswith(top.rstrip("/") + "/")


def _joined(folder: str, name: str) -> str:
    return name if folder == os.curdir else os.path.join(folder, name)


# One file


def _format(path: str, folder: str, report: _Report, *, mode: _Mode) -> None:
    """Format one file and note what became of it."""
    place = os.path.realpath(os.path.join(folder, path))
    try:
        with open(place, "rb") as file:
            source = file.read()
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise HostError(f"cannot read `{path}`: {reason}") from error
    result = formatted(source, path, dialect=_dialect(path))
    if result == source:
        report.unchanged += 1
        return
    if mode is _Mode.WRITE:
        _replace(place, result, shown=path)
    report.changed.append(path)
    if mode is _Mode.DIFF:
        report.diffs.append(_diff(source, result, path))


def _dialect(path: str) -> Dialect:
    return Dialect.BZL if path.endswith(_LIBRARIES) else Dialect.BUILD


def _replace(place: str, content: bytes, *, shown: str) -> None:
    """Give the file `place` new content in one step: whoever reads it sees the old or the new."""
    try:
        if not os.access(place, os.W_OK):  # replacing it would not ask
            raise PermissionError(0, "it may not be written")
        old = os.stat(place)
        number, temporary = tempfile.mkstemp(prefix=".mlbuild-fmt-", dir=os.path.dirname(place))
        try:
            with open(number, "wb") as file:
                file.write(content)
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    with suppress(OSError):  # only root can give files away
                        os.fchown(number, old.st_uid, old.st_gid)
                os.fchmod(number, stat.S_IMODE(old.st_mode))
                file.flush()
                os.fsync(number)
            os.replace(temporary, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise HostError(f"cannot write `{shown}`: {reason}", notes=("it is as it was",)) from error


def _diff(before: bytes, after: bytes, path: str) -> str:
    """Return a patch from `before` to `after`."""
    lines = unified_diff(_lines(before), _lines(after), clean(path), clean(path))
    return "".join(lines)


def _lines(content: bytes) -> list[str]:
    """Return the lines of a file with their ends, as a patch has them."""
    *lines, last = content.decode().split("\n")
    end = [f"{last}\n\\ No newline at end of file\n"] if last else []
    return [f"{line}\n" for line in lines] + end


# Stdin


def _run_stdin(words: Words, screen: Screen) -> int:
    """Format what stands on stdin."""
    if len(words.rest) > 1:
        raise InputError("`-` cannot be given together with paths")
    mode = _mode(words)
    if words.has("json") and mode is _Mode.WRITE:
        raise InputError(
            "`-` writes the file to stdout, where `--json` would stand",
            hints=("add `--check` to learn whether it would change",),
        )
    name = words.text("name") or BUILD_FILE
    source = sys.stdin.buffer.read() if sys.stdin else b""
    report = _Report()
    try:
        result = formatted(source, name, dialect=_dialect(name))
    except InputError as error:
        report.failed[name] = error
        return _tell(report, words, screen, "")
    if mode is _Mode.WRITE:
        # Bytes: a stream of another encoding would write letters differently.
        screen.out.stream.buffer.write(result)
        screen.out.stream.buffer.flush()
        return 0
    if result == source:
        report.unchanged = 1
    else:
        report.changed.append(name)
    if mode is _Mode.DIFF:
        report.diffs.append(_diff(source, result, name))
    return _tell(report, words, screen, "")


# What is said


def _tell(report: _Report, words: Words, screen: Screen, folder: str) -> int:
    """Print the report; return the exit code. Places of errors are below `folder`, if it is one."""
    place = replace(screen.place, root=folder)
    for error in report.failed.values():
        screen.err.lines(error_lines(error, place))
    if words.has("json"):
        screen.out.lines([json.dumps(_facts(report))])
    elif _mode(words) is _Mode.DIFF:
        screen.out.write("".join(report.diffs))
    else:
        screen.out.lines([clean(path) for path in report.changed])
    if not words.has("json"):
        screen.err.lines([_summary(report, _mode(words))])
    if report.failed:
        return max(error.exit_code for error in report.failed.values())
    return WOULD_CHANGE if words.has("check") and report.changed else 0


def _facts(report: _Report) -> dict[str, Any]:
    failed = [
        {
            "path": path,
            "line": error.span.line if error.span else None,
            "column": error.span.column if error.span else None,
            "message": error.message,
        }
        for path, error in report.failed.items()
    ]
    return {"changed": report.changed, "unchanged": report.unchanged, "failed": failed}


def _summary(report: _Report, mode: _Mode) -> str:
    """Return one sentence: `2 files formatted, 5 unchanged, 1 failed`."""
    changed = len(report.changed)
    if not changed and not report.unchanged and not report.failed:
        return f"no {BUILD_FILE} and no .bzl file to format"
    verb = "formatted" if mode is _Mode.WRITE else "would change"
    counts = [(changed, verb), (report.unchanged, "unchanged"), (len(report.failed), "failed")]
    said = [f"{count} {word}" for count, word in counts if count]
    first, _, rest = said[0].partition(" ")
    said[0] = f"{first} {'file' if first == '1' else 'files'} {rest}"
    return ", ".join(said)
