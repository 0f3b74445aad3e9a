"""Target and Package: a rule applied, and all that one BUILD.ml declares."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlbuild.core.label import Label
from mlbuild.errors import InputError, Span
from mlbuild.graph.schema import LABELS, Rule


@dataclass(frozen=True, slots=True)
class Target:
    """A rule applied: its attributes as plain values, and where it was declared."""

    label: Label
    rule: Rule
    attributes: dict[str, Any]
    tags: tuple[str, ...]
    span: Span
    stack: tuple[tuple[str, Span], ...] = ()  # the macros that declared it, innermost first

    def named(self) -> Iterator[str]:
        """Yield the texts of all labels that its attributes name."""
        for name, attribute in self.rule.attributes.items():
            if attribute.type not in LABELS:
                continue
            value = self.attributes[name]
            if attribute.type == "label":
                if value is not None:
                    yield value
            else:
                yield from value if attribute.type == "label_list" else value.values()


@dataclass(slots=True)
class Package:
    """All that one BUILD.ml declares. Filled while the file is evaluated, then left alone."""

    path: str  # "" is the root package
    file: str  # workspace-relative path of its BUILD.ml
    source: str = ""  # the text of the file, for pointing into it
    targets: dict[str, Target] = field(default_factory=dict)
    outputs: dict[str, Target] = field(default_factory=dict)  # output path -> who claims that label

    def add(self, target: Target) -> None:
        """Declare `target`. Raises InputError when its name or an output's label is taken."""
        name = target.label.name
        other = self.targets.get(name)
        if other is not None:
            raise InputError(
                f"target `{name}` is declared twice in package `//{self.path}`",
                notes=(f"the first one stands at {other.span}",),
            )
        self.targets[name] = target
        for attribute, spec in target.rule.attributes.items():
            if spec.type not in {"output", "output_list"}:
                continue
            value = target.attributes[attribute]
            for path in [value] if spec.type == "output" else value:
                if path:
                    self._claim(path, target)

    def _claim(self, path: str, target: Target) -> None:
        other = self.outputs.get(path)
        if other is not None:
            raise InputError(
                f"targets `{other.label.name}` and `{target.label.name}` "
                f"both claim the label `//{self.path}:{path}`",
                notes=(f"the first one stands at {other.span}",),
            )
        self.outputs[path] = target


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
