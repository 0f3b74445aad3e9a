"""Hints: which undeclared workspace file a failed command was looking for, read from its log."""

import posixpath
import re
from collections.abc import Callable, Iterator

# The most of a log's end that is read: a reason stands near the failure.
TAIL = 64 * 1024
LONGEST_LINE = 1000

_QUOTED = r"['\"\u2018\u2019`\u201c\u201d]"
_ABSENT = r"(?:No such file or directory|cannot find the file|ENOENT|does not exist|not found)"
_CANNOT = r"(?:cannot|can't|could not|unable to|failed to)"
_OPEN = r"(?:open|access|stat|read|find|load)(?:\s+(?:the )?file)?"
_PATTERNS = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        # Python: FileNotFoundError: [Errno 2] No such file or directory: 'data/x.csv'
        rf"{_ABSENT}[^\n'\"]*:\s*{_QUOTED}([^'\"\n]+){_QUOTED}",
        # node: ENOENT: no such file or directory, open 'data/x.json'
        rf"ENOENT:[^\n]*?\w+ {_QUOTED}([^'\"\n]+){_QUOTED}",
        # ls: cannot access 'data': No such file or directory; cannot open `x.R'
        rf"{_CANNOT}\s+{_OPEN}:?\s+{_QUOTED}([^'\"`\u2019\n]+){_QUOTED}",
        # sh: 1: cannot open data/x.csv: No such file
        rf"{_CANNOT} open(?: file)? ([^\s'\"`:]+)",
        # cat: data/x.csv: No such file or directory
        rf"^[^\s:]+:(?: line)?(?: \d+:)? ?([^:\n]+): {_ABSENT}",
        # open data/x.csv: no such file or directory
        r"open ([^\s:]+): no such file or directory",
        # C: fatal error: include/x.h: No such file or directory
        rf"error: ([^:\n]+): {_ABSENT}",
        # R: cannot open file 'x.R': No such file; numpy: data/x.npy not found.
        rf"([\w./-]+\.\w+) (?:was )?(?:{_ABSENT})",
    )
)
_TELLING = re.compile(f"{_ABSENT}|{_CANNOT}|No module|import name", re.IGNORECASE)
_STATED = re.compile(r"^at `([^`\n]+)` in `([^`\n]+)`$", re.MULTILINE)
_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_FROM_MODULE = re.compile(r"ImportError: cannot import name '(\w+)' from '([\w.]+)'")


def wanted_files(
    log: str, is_undeclared: Callable[[str], bool], *, root: str, near: str
) -> tuple[str, ...]:
    """Return workspace-relative paths that a command wanted and nobody declared, best first.

    `log` is what the command printed, `root` the workspace's absolute path, `near` the folder of
    the script ("" for the root); `is_undeclared` says whether a workspace file exists that is not
    among the inputs.
    """
    # Some patterns take the square of a line's length: a sentence for people is not that long.
    lines = (line for line in log[-TAIL:].splitlines() if len(line) <= LONGEST_LINE)
    text = "\n".join(line for line in lines if _TELLING.search(line))
    found: dict[str, None] = {}
    for path in (*_modules(text, near), *_paths(text, root=root, near=near)):
        if path not in found and is_undeclared(path):
            found[path] = None
    return tuple(found)


def _modules(text: str, near: str) -> Iterator[str]:
    """Yield the files that could be the Python modules which the text misses."""
    names = [match[1] for match in _MODULE.finditer(text)]
    names += [f"{match[2]}.{match[1]}" for match in _FROM_MODULE.finditer(text)]
    for name in names:
        path = name.replace(".", "/")
        for folder in _folders(near):
            yield posixpath.join(folder, f"{path}.py")
            yield posixpath.join(folder, path, "__init__.py")


def _paths(text: str, *, root: str, near: str) -> Iterator[str]:
    """Yield the workspace paths that the text says do not exist."""
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            name = match[1].strip()
            for prefix in (root.rstrip("/") + "/", "/work/"):
                if name.startswith(prefix):
                    yield from _inside(name[len(prefix) :])
                    break
            else:
                if not name.startswith("/"):
                    for folder in reversed(_folders(near)):
                        yield from _inside(posixpath.join(folder, name))


def _inside(path: str) -> Iterator[str]:
    normal = posixpath.normpath(path)
    if normal not in {".", ".."} and not normal.startswith("../"):
        yield normal


def _folders(near: str) -> list[str]:
    """Return where a script's own modules and files may lie: beside it, then at the root."""
    return [near, ""] if near else [""]


def stated_places(log: str, text_of: Callable[[str], str]) -> tuple[str, ...]:
    """Return the lines of workspace files that a command blames, as `path:line` and the words.

    A command says so by a line like "at `numpy==2.0` in `requirements.lock`": it knows the words,
    but a file's lines are no part of its key. `text_of` gives the text of a workspace file.
    """
    found: dict[str, None] = {}
    for words, path in _STATED.findall(log[-TAIL:]):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if line.strip().lower().startswith(words.lower()):
                found[f"`{path}:{number}` says `{words}`"] = None
                break
    return tuple(found)
