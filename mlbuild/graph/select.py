"""Select: a value that depends on flags, kept as it was written until targets are analysed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mlbuild import lang
from mlbuild.errors import InputError

DEFAULT = "//conditions:default"  # the branch for when no condition holds
_JOINED = {"+": (list, str), "|": (dict,)}  # what an operator joins


@dataclass(frozen=True, slots=True)
class Choice:
    """One `select({…})`: plain values by the labels of their conditions, as they were written."""

    branches: tuple[tuple[str, Any], ...]
    no_match_error: str = ""


class Select(lang.Value):
    """Choices and plain values, joined by `operator` ("+" or "|") where there are several parts."""

    type_name = "select"
    __slots__ = ("operator", "parts")

    def __init__(self, parts: tuple[Any, ...], operator: str = "") -> None:
        self.parts = parts  # a Choice, or a plain list, string or dict
        self.operator = operator

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Select) and other.plain() == self.plain()

    __hash__ = None  # type: ignore[assignment]  # it holds lists

    def __repr__(self) -> str:
        return f" {self.operator} ".join(map(_shown, self.parts))

    def mapped(self, change: Callable[[Any], Any]) -> "Select":
        """Return the same with every value of every branch, and every plain part, changed."""
        parts = [
            Choice(
                tuple((label, change(value)) for label, value in part.branches),
                part.no_match_error,
            )
            if isinstance(part, Choice)
            else change(part)
            for part in self.parts
        ]
        return Select(tuple(parts), self.operator)

    def settled(self, chosen: Callable[[Choice], Any]) -> Any:
        """Return the plain value, where `chosen` says which branch of a choice it is."""
        values = [chosen(part) if isinstance(part, Choice) else part for part in self.parts]
        joined = values[0]
        for value in values[1:]:
            joined = joined | value if self.operator == "|" else joined + value
        return joined

    def plain(self) -> tuple[Any, ...]:
        """Return the select as tuples of plain values, which `select_of` reads."""
        return (
            self.operator,
            tuple(
                (part.branches, part.no_match_error) if isinstance(part, Choice) else part
                for part in self.parts
            ),
        )

    def combined(self, operator: str, other: Any, *, swapped: bool) -> "Select":
        """Return the select joined with a plain value or another select."""
        mine = self.parts
        theirs = other.parts if isinstance(other, Select) else (lang.to_python(other),)
        parts = (*theirs, *mine) if swapped else (*mine, *theirs)
        if {operator, self.operator, getattr(other, "operator", "")} - {"", operator}:
            raise InputError("a select is joined with `+` or with `|`, not with both")
        values = [value for part in parts for value in _values(part)]
        for value in values:
            if type(value) not in _JOINED[operator]:
                raise InputError(
                    f"`{operator}` cannot join {_kind(value)} with a select",
                    hints=("`+` joins lists or strings, `|` joins dicts",),
                )
            if type(value) is not type(values[0]):
                raise InputError(
                    f"`{operator}` cannot join {_kind(values[0])} with {_kind(value)} in a select"
                )
        return Select(parts, operator)

    def truth(self) -> bool:
        """Refuse."""
        raise _unknown_yet("has no truth value")

    def equals(self, other: Any) -> bool:
        """Refuse."""
        del other
        raise _unknown_yet("cannot be compared")

    def __len__(self) -> int:
        raise _unknown_yet("has no length")

    def __iter__(self) -> Iterator[Any]:
        raise _unknown_yet("cannot be iterated over")

    def __contains__(self, _: object) -> bool:
        raise _unknown_yet("cannot be looked into")

    def __getitem__(self, _: Any) -> Any:
        raise _unknown_yet("has no `[…]`")


def select(branches: Any, no_match_error: Any = "") -> Select:
    """Return what `select({…})` is; raise InputError for what cannot be one."""
    if not isinstance(branches, lang.Dict) or not len(branches):
        raise InputError(
            f"select takes a dict of conditions to values, not {lang.repr_of(branches)[:60]}",
            hints=(f'write `select({{"//config:gpu": …, "{DEFAULT}": …}})`',),
        )
    if type(no_match_error) is not str:
        raise InputError("`no_match_error` is a string")
    found: list[tuple[str, Any]] = []
    for label, value in branches.items():
        if type(label) is not str:
            raise InputError(f"a condition is the label of a target, not {lang.repr_of(label)}")
        if isinstance(value, Select):
            raise InputError(
                "a select cannot hold a select",
                hints=("make one condition of both: a config_setting may ask for several flags",),
            )
        found.append((label, lang.to_python(value)))
    return Select((Choice(tuple(found), no_match_error),))


def select_of(plain: tuple[Any, ...]) -> Select:
    """Return the select that `Select.plain` described."""
    operator, parts = plain
    return Select(
        tuple(Choice(*part) if isinstance(part, tuple) else part for part in parts), operator
    )


def _values(part: Any) -> list[Any]:
    return [value for _, value in part.branches] if isinstance(part, Choice) else [part]


def _kind(value: Any) -> str:
    """Return the type of a plain value for a sentence: "a list"."""
    name = lang.type_name(lang.from_python(value))
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _shown(part: Any) -> str:
    if not isinstance(part, Choice):
        return lang.repr_of(lang.from_python(part))
    text = lang.repr_of(lang.from_python(dict(part.branches)))
    if part.no_match_error:
        text += f", no_match_error = {lang.repr_of(part.no_match_error)}"
    return f"select({text})"


def _unknown_yet(what: str) -> InputError:
    return InputError(
        f"a select {what}: which branch it is depends on the flags of a build",
        hints=("give it to an attribute of a target, joined with `+` or `|` where needed",),
    )
