"""glob: which files of a package match; it never enters a package below."""

import re
from collections.abc import Callable, Iterator, Sequence

from mlbuild.errors import InputError
from mlbuild.graph.files import Files

BUILD_FILE = "BUILD.ml"
SKIPPED = frozenset({"mlbuild-out", ".mlbuild", ".git"})


def glob(
    files: Files,
    package: str,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    listed: Callable[[str], None],
) -> list[str]:
    """Return the sorted package-relative paths of files that match.

    `*` stays within a folder, `**` stands for any number of folders. `listed` is told every
    folder (workspace-relative) whose listing the answer depends on.
    """
    wanted = [_compiled(pattern) for pattern in include]
    unwanted = [_compiled(pattern) for pattern in exclude]
    deep = any("**" in pattern for pattern in include)
    folders = {pattern.rpartition("/")[0] for pattern in include}
    if not deep and not any(_magic(folder) for folder in folders):
        found = _shallow(files, package, folders=sorted(folders), listed=listed)
    else:
        depth = None if deep else max(pattern.count("/") for pattern in include)
        found = _walk(files, package, "", depth=depth, listed=listed)
    return sorted(
        path
        for path in found
        if any(one.fullmatch(path) for one in wanted)
        and not any(one.fullmatch(path) for one in unwanted)
    )


def _shallow(
    files: Files, package: str, *, folders: Sequence[str], listed: Callable[[str], None]
) -> Iterator[str]:
    """Yield the files of folders that are named outright, unless another package owns them."""
    for folder in folders:
        parts = folder.split("/") if folder else []
        above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        for path in above:
            listed(_joined(package, path))
        if any(files.exists(f"{_joined(package, path)}/{BUILD_FILE}") for path in above):
            continue
        yield from _walk(files, package, folder, depth=0, listed=listed)


def _walk(
    files: Files, package: str, folder: str, *, depth: int | None, listed: Callable[[str], None]
) -> Iterator[str]:
    """Yield package-relative paths of the files below `folder`, at most `depth` folders down."""
    here = _joined(package, folder)
    listed(here)
    below: list[str] = []
    for name, is_folder in files.entries(here):
        if is_folder:
            if name not in SKIPPED:
                below.append(name)
        elif name != BUILD_FILE or folder:
            yield _joined(folder, name)
    if depth == 0:
        return
    for name in sorted(below):
        path = _joined(folder, name)
        if not files.exists(f"{_joined(package, path)}/{BUILD_FILE}"):
            next_depth = None if depth is None else depth - 1
            yield from _walk(files, package, path, depth=next_depth, listed=listed)
        else:
            listed(_joined(package, path))


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _magic(pattern: str) -> bool:
    return any(letter in pattern for letter in "*?")


def _compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of one glob pattern; it backtracks in one place at most."""
    if (
        not pattern
        or pattern.startswith("/")
        or any(p in {"", ".", ".."} for p in pattern.split("/"))
    ):
        raise InputError(
            f"`{pattern}` is not a glob pattern",
            hints=("patterns are relative to the package, such as `data/*.csv` or `**/*.py`",),
        )
    parts: list[str] = []
    pieces = pattern.split("/")
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        if piece == "**":
            parts.append(".*" if last else "(?:[^/]+/)*")
            continue
        if "**" in piece:
            raise InputError(f"in `{pattern}`, `**` must stand alone between slashes")
        text = re.escape(re.sub(r"\*+", "*", piece))
        parts.append(text.replace(r"\*", "[^/]*").replace(r"\?", "[^/]") + ("" if last else "/"))
    return re.compile("".join(parts), re.DOTALL)
