"""Label and Pattern: the names of targets, parsed once at the border."""

import re
from dataclasses import dataclass

from mlbuild.errors import InputError, Span

_PACKAGE = re.compile(r"[A-Za-z0-9_.\-+@ ,=~#]+(/[A-Za-z0-9_.\-+@ ,=~#]+)*")
_NAME = re.compile(r"[A-Za-z0-9_.\-+@ ,=~#()\[\]{}!%^&$/]+")


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """The name of a target or file: `//package:name`."""

    package: str  # "" is the root package
    name: str

    def __str__(self) -> str:
        return f"//{self.package}:{self.name}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Words that select labels: one target, all of a package, or all below a folder."""

    package: str
    name: str | None  # None: every target of the package
    recursive: bool = False
    negative: bool = False

    def __str__(self) -> str:
        sign = "-" if self.negative else ""
        if self.recursive:
            return f"{sign}//{self.package}/..." if self.package else f"{sign}//..."
        return f"{sign}//{self.package}:{self.name or 'all'}"


def parse_label(text: str, *, package: str, span: Span | None = None) -> Label:
    """Read `//a/b:c`, `//a/b`, `:c` or `c` as seen from `package`.

    Raises InputError naming what is wrong with the text.
    """
    if text.startswith("@"):
        raise InputError(
            f"`{text}` names another repository; only `@rules//` files can be loaded",
            span=span,
            hints=("labels of this workspace start with `//` or `:`",),
        )
    if text.startswith("//"):
        path, colon, name = text[2:].partition(":")
        label = Label(path, name if colon else path.rpartition("/")[2])
    else:
        label = Label(package, text.removeprefix(":"))
    _check(label, text, span=span)
    return label


def parse_pattern(text: str, *, package: str) -> Pattern:
    """Read a label or `//a/...`, `//a:all`, `...`, `:all`, each with an optional `-` in front."""
    negative = text.startswith("-")
    word = text[1:] if negative else text
    if not word.startswith("//"):
        here = f"//{package}"
        word = here + word if word.startswith(":") else f"{here}/{word}".replace("///", "//")
    word = word.rstrip("/") if word != "//" else word
    if word in {"//...", "//..:all", "//...:all"}:
        return Pattern("", None, recursive=True, negative=negative)
    path, colon, name = word[2:].partition(":")
    if path.endswith("/...") and name in {"", "all", "*"}:
        pattern = Pattern(path[:-4], None, recursive=True, negative=negative)
        _check(Label(pattern.package, "x"), text, span=None)
        return pattern
    if name in {"all", "*", "all-targets"}:
        _check(Label(path, "x"), text, span=None)
        return Pattern(path, None, negative=negative)
    label = Label(path, name if colon else path.rpartition("/")[2])
    _check(label, text, span=None)
    return Pattern(label.package, label.name, negative=negative)


def valid_name(name: str) -> bool:
    """Say whether `name` may be the name of a target."""
    return bool(_NAME.fullmatch(name)) and not _has_dots(name) and name[0] != "/" != name[-1]


def _check(label: Label, text: str, *, span: Span | None) -> None:
    if label.package and (not _PACKAGE.fullmatch(label.package) or _has_dots(label.package)):
        raise InputError(
            f"`{text}` is not a label: bad package `{label.package}`",
            span=span,
            hints=("a label looks like `//models:lenet`, `:lenet` or `//models`",),
        )
    if not label.name or not valid_name(label.name):
        raise InputError(
            f"`{text}` is not a label: bad target name `{label.name}`",
            span=span,
            hints=("a label looks like `//models:lenet`, `:lenet` or `//models`",),
        )


def _has_dots(path: str) -> bool:
    """Say whether a component of `path` is empty, `.` or `..`."""
    return any(part in {"", ".", ".."} for part in path.split("/"))
