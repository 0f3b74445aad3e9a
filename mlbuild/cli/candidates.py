"""Candidates: what may stand at the end of an unfinished command line, for a shell to offer."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlbuild.query.functions import FUNCTIONS
from mlbuild.query.order import ORDERS
from mlbuild.query.show import FORMS
from mlbuild.settings import EXECUTORS

FILES = "<files>"  # stands for whatever files the shell finds
SHELLS = ("bash", "fish", "zsh")
BUILD_FILE = "BUILD.ml"
_NAME = re.compile(r"\bname\s*=\s*[\"']([^\"'\n]+)[\"']")
_LARGEST = 1 << 20  # bytes of a BUILD.ml that is looked into
_COLORS = ("always", "auto", "never")
_VALUES: Mapping[tuple[str, str], Iterable[str]] = {  # of options, by command; "" is any
    ("", "--color"): _COLORS,
    ("query", "--output"): FORMS,
    ("query", "-o"): FORMS,
    ("query", "--order"): ORDERS,
    ("init", "--template"): ("digits", "sklearn", "torch"),
}
_EXPRESSION = re.compile(r".*[\s(,+^]-?|-(?=[/:])|", re.DOTALL)  # all before the last word


@dataclass(frozen=True, slots=True)
class Command:
    """What completion knows of a command."""

    options: tuple[str, ...] = ()
    valued: frozenset[str] = frozenset()  # the options that take a word
    words: str = ""  # what it takes besides options, as its help says


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command line is written."""

    root: str = ""  # of the workspace; "" for none
    package: str = ""
    labels: Callable[[], Sequence[str]] = field(default=list)  # of all targets that are known
    jobs: Callable[[], Sequence[str]] = field(default=list)  # names of those that run elsewhere
    executors: Callable[[], Sequence[str]] = field(default=list)  # that settings files describe


def candidates(
    words: Sequence[str], *, commands: Sequence[str], usage: Callable[[str], Command], place: Place
) -> list[str]:
    """Return what the last of `words` may become; the words stand after `mlbuild`.

    FILES alone leaves it to the shell to find files. `usage` tells of a command.
    """
    *before, word = words or [""]
    command = _command(before, usage)
    takes = usage(command or "build")
    if before and before[-1] in takes.valued:
        return _values(command, before[-1], word, place)
    option, equals, value = word.partition("=")
    if equals and option in takes.valued:
        found = _values(command, option, value, place)
        return found if found == [FILES] else [f"{option}={one}" for one in found]
    if word.startswith("-") and not word.startswith(("-/", "-:")):
        return _starting(word, takes.options)
    if not command:
        named = _starting(word, commands)
        return named if named and not _is_label(word) else list(_expressions(word, "build", place))
    if command == "completion":
        return _starting(word, SHELLS)
    if command == "help":
        return _starting(word, commands)
    if "JOB" in takes.words and (jobs := _starting(word, place.jobs())):
        return jobs
    if any(name in takes.words for name in ("PATTERN", "LABEL")):
        return list(_expressions(word, command, place)) if place.root else []
    return [FILES]


def _command(before: Sequence[str], usage: Callable[[str], Command]) -> str:
    """Return the command among the words before the last one, "" where there is none yet."""
    valued = usage("build").valued
    skip = False
    for word in before:
        if skip:
            skip = False
        elif word in valued:
            skip = True
        elif not word.startswith("-"):
            return "build" if _is_label(word) else word
    return ""


def _is_label(word: str) -> bool:
    return any(letter in word for letter in "/:.")


def _values(command: str, option: str, word: str, place: Place) -> list[str]:
    if option == "--executor":
        return _starting(word, (*EXECUTORS, *place.executors()))
    known = _VALUES.get((command, option)) or _VALUES.get(("", option))
    return _starting(word, known) if known is not None else [FILES]


def _starting(word: str, known: Iterable[str]) -> list[str]:
    return sorted(one for one in known if one.startswith(word))


def _expressions(word: str, command: str, place: Place) -> Iterator[str]:
    """Yield labels, and in queries functions, for the last word of an expression."""
    found = _EXPRESSION.match(word)
    head = found[0] if found else ""
    tail = word[len(head) :]
    if command == "query" and tail.isidentifier():
        opens = "" if not head else "("
        yield from (f"{head}{name}{opens}" for name in _starting(tail, FUNCTIONS))
    if command == "query" and not word:
        yield from FUNCTIONS
    for label in _labels(tail, place):
        yield f"{head}{label}"


def _labels(word: str, place: Place) -> list[str]:
    """Return the labels, or the next steps towards some, that begin with `word`."""
    if word.startswith("//"):
        return _absolute(word[2:], place)
    if word.startswith(("/", "@")):
        return []
    start = f"{place.package}" if word.startswith(":") or not place.package else f"{place.package}/"
    return [one[len(start) + 2 :] for one in _absolute(start + word, place)]


def _absolute(typed: str, place: Place) -> list[str]:
    """Return labels in full; `typed` is without the slashes in front."""
    path, colon, name = typed.partition(":")
    if colon:
        return [f"//{path}:{one}" for one in _starting(name, {*_names(path, place), "all"})]
    packages = {label[2:].partition(":")[0] for label in place.labels()}
    packages.update(_packages_near(typed, place.root))
    found: set[str] = set()
    for package in packages:
        if package.startswith(typed):
            step = package.find("/", len(typed))
            found.add(f"//{package[: step + 1]}" if step >= 0 else f"//{package}:")
    if len(found) == 1:
        (only,) = found
        if only.endswith(":"):
            return [only + one for one in sorted({*_names(only[2:-1], place), "all"})]
    if not typed or typed.endswith("/"):
        found.add(f"//{typed}...")
    return sorted(found)


def _names(package: str, place: Place) -> set[str]:
    """Return the targets of a package; where none is known, what its BUILD.ml seems to declare."""
    start = f"//{package}:"
    found = {label[len(start) :] for label in place.labels() if label.startswith(start)}
    if found:
        return found
    try:
        with open(os.path.join(place.root, package, BUILD_FILE), encoding="utf-8") as file:
            return set(_NAME.findall(file.read(_LARGEST)))
    except (OSError, ValueError):
        return set()


def _packages_near(typed: str, root: str) -> Iterator[str]:
    """Yield the packages in the folder that is being typed, as they are on the disk."""
    folder = typed.rpartition("/")[0]
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name == BUILD_FILE:
                    yield folder
                elif path.startswith(typed) and os.path.lexists(f"{entry.path}/{BUILD_FILE}"):
                    yield path
    except OSError:
        return
