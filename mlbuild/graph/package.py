"""Target and Package: a rule applied, and all that one BUILD.ml declares."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild.core.label import Label
from mlbuild.errors import InputError, Span
from mlbuild.graph.schema import LABELS, OUTPUTS, Rule
from mlbuild.graph.visibility import EVERYONE, PackageGroup


@dataclass(frozen=True, slots=True)
class Target:
    """A rule applied: its attributes as plain values or Selects, and where it was declared."""

    label: Label
    rule: Rule
    attributes: dict[str, Any]
    tags: tuple[str, ...]
    span: Span  # in the BUILD.ml
    stack: tuple[tuple[str, Span], ...] = ()  # the macros that declared it, innermost first
    visibility: tuple[str, ...] = EVERYONE  # labels in full
    licenses: tuple[str, ...] = ()
    given: tuple[str, ...] = ()  # the attributes that were written, in that order
    selects: tuple[str, ...] = ()  # the attributes that hold a Select
    cache: str = ""  # who keeps its results: "shared" "result" "local" "off"; "" as its rule says

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield attribute and text of each label that it names; no Select may be left."""
        for name, attribute in self.rule.attributes.items():
            if attribute.type not in LABELS:
                continue
            value = self.attributes[name]
            if attribute.type == "label":
                if value:
                    yield name, value
            else:
                for text in value if attribute.type == "label_list" else value.values():
                    yield name, text

    def macros(self) -> tuple[tuple[str, Span], ...]:
        """Return the macros that declared it and where each was called, innermost first."""
        callers = [span for _, span in self.stack[1:]]
        names = [name for name, _ in self.stack]
        return tuple(zip(names, [*callers, self.span], strict=False))

    def notes(self) -> tuple[str, ...]:
        """Return what an error within the target adds: where it was declared, by which macros."""
        return (
            f"in target `{self.label}`, declared at {self.span}",
            *(f"in macro `{name}`, called at {span}" for name, span in self.macros()),
        )


class Unsure(InputError):  # noqa: N818 - whether it is an error cannot be told
    """A label that may mean what could not be declared: that fault has been told already."""


@dataclass(slots=True)
class Package:
    """All that one BUILD.ml declares. Filled while the file is evaluated, then left alone."""

    path: str  # "" is the root package
    file: str  # workspace-relative path of its BUILD.ml
    targets: dict[str, Target] = field(default_factory=dict)
    outputs: dict[str, Target] = field(default_factory=dict)  # output path -> who claims that label
    groups: dict[str, PackageGroup] = field(default_factory=dict)
    exports: dict[str, tuple[str, ...]] = field(default_factory=dict)  # file -> its visibility
    visibility: tuple[str, ...] = EVERYONE  # of what says nothing else
    tags: tuple[str, ...] = ()  # of every target
    licenses: tuple[str, ...] = ()  # of targets that say nothing else
    said: Span | None = None  # where package() was called
    broken: set[str] = field(default_factory=set)  # labels of what could not be declared
    whole: bool = True  # whether targets, outputs, groups and `broken` are all that it may have

    def add(self, target: Target) -> None:
        """Declare `target`. Raises InputError when its name or an output's label is taken."""
        name = target.label.name
        other = self.targets.get(name) or self.groups.get(name)
        if other is not None:
            raise self._twice(name, other.span)
        self.targets[name] = target
        for attribute, spec in target.rule.attributes.items():
            if spec.type not in OUTPUTS:
                continue
            value = target.attributes[attribute]
            for path in [value] if spec.type == "output" else value:
                if path:
                    self._claim(path, target)

    def add_group(self, group: PackageGroup) -> None:
        """Declare a package group. Raises InputError when its name is taken."""
        name = group.label.name
        other = self.targets.get(name) or self.groups.get(name)
        if other is not None:
            raise self._twice(name, other.span)
        self.groups[name] = group

    def export(self, names: Iterable[str], visibility: tuple[str, ...]) -> None:
        """Let files be named with a visibility of their own."""
        self.exports.update(dict.fromkeys(names, visibility))

    def shows(self, file: str) -> tuple[str, ...]:
        """Return the visibility of a source file: of it, of a folder above, or the default."""
        return shown_to(file, self.exports, default=self.visibility)

    def _twice(self, name: str, first: Span) -> InputError:
        return InputError(
            f"target `{name}` is declared twice in package `//{self.path}`",
            notes=(f"the first one stands at {first}",),
            kind="duplicate-target",
        )

    def _claim(self, path: str, target: Target) -> None:
        other = self.outputs.get(path)
        if other is not None:
            raise InputError(
                f"targets `{other.label.name}` and `{target.label.name}` "
                f"both claim the label `//{self.path}:{path}`",
                notes=(f"the first one stands at {other.span}",),
                kind="duplicate-target",
            )
        self.outputs[path] = target


def shown_to(
    file: str, exports: Mapping[str, tuple[str, ...]], *, default: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the visibility of a source file, given that of exported files and folders."""
    while file and exports:
        if file in exports:
            return exports[file]
        file = file.rpartition("/")[0]
    return default


def locate(source: str, span: Span, word: str, *, keyword: bool = False) -> Span:
    """Return the place of `word` (a string literal, or a keyword's name) in the call at `span`.

    Falls back to `span` where the word does not stand in the text of the call.
    """
    lines = source.split("\n")
    depth, started = 0, False
    for number in range(span.line, min(len(lines), span.line + 400) + 1):
        line = lines[number - 1]
        start = span.column - 1 if number == span.line else 0
        at = _find(line, start, word, keyword=keyword)
        if at >= 0:
            return Span(span.path, number, at + 1, len(word))
        for letter in line[start:]:
            depth += {"(": 1, ")": -1}.get(letter, 0)
            started = started or depth > 0
            if started and depth <= 0:
                return span
    return span


def _find(line: str, start: int, word: str, *, keyword: bool) -> int:
    if keyword:
        at = line.find(word, start)
        while at >= 0:
            rest = line[at + len(word) :].lstrip()
            whole = at == 0 or not (line[at - 1].isalnum() or line[at - 1] == "_")
            if whole and rest.startswith("=") and not rest.startswith("=="):
                return at
            at = line.find(word, at + 1)
        return -1
    for quote in ('"', "'"):
        at = line.find(quote + word + quote, start)
        if at >= 0:
            return at + 1
    return -1
