"""Which branch of a select is meant, given the flags of a build."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlbuild.errors import InputError
from mlbuild.graph.select import DEFAULT, Choice

Flags = Mapping[str, tuple[str, ...]]  # a flag may have several values: all configs in use
_FLAGS = ("choose a branch with `--config NAME` or `--define KEY=VALUE`",)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a target such as a config_setting asks of the flags."""

    label: str  # in full
    wanted: Mapping[str, str]

    def holds(self, flags: Flags) -> bool:
        """Say whether every flag has the value that is asked for."""
        return all(value in flags.get(name, ()) for name, value in self.wanted.items())

    def refines(self, other: "Condition") -> bool:
        """Say whether this asks for all that `other` asks for, and for more."""
        return other.wanted.items() < self.wanted.items()


def branch_of(
    choice: Choice, *, conditions: Mapping[str, Condition], flags: Flags, what: str
) -> Any:
    """Return the value of the branch that holds.

    `conditions` has the condition of each branch but the default. Where several hold, one that
    refines the others wins. `what` names the attribute in errors. Raises InputError when no branch
    is meant, or more than one.
    """
    holding = [
        (conditions[text], value)
        for text, value in choice.branches
        if text != DEFAULT and conditions[text].holds(flags)
    ]
    best = [
        (one, value)
        for one, value in holding
        if not any(other.refines(one) for other, _ in holding)
    ]
    if not best:
        for text, value in choice.branches:
            if text == DEFAULT:
                return value
        raise InputError(
            f"no branch of the select for {what} is meant: none of its conditions holds",
            hints=(choice.no_match_error,)
            if choice.no_match_error
            else (*_FLAGS, f'add a branch `"{DEFAULT}": …` for when none holds'),
            notes=tuple(_told(one, flags) for one in conditions.values()),
        )
    first, value = best[0]
    for other, another in best[1:]:
        if not _same(value, another):
            raise InputError(
                f"the select for {what} is ambiguous: "
                f"`{first.label}` and `{other.label}` hold, and neither refines the other",
                hints=("add a condition that asks for the flags of both",),
                notes=(_told(first, flags), _told(other, flags)),
            )
    return value


def _told(condition: Condition, flags: Flags) -> str:
    """Say what a condition asks for, and what is."""
    asked = ", ".join(f"{name} = {value}" for name, value in condition.wanted.items())
    is_ = ", ".join(
        f"{name} is {' and '.join(flags[name])}" if flags.get(name) else f"{name} is not set"
        for name in condition.wanted
    )
    return f"`{condition.label}` asks for {asked or 'nothing'}; {is_}"


def _same(a: Any, b: Any) -> bool:
    """Say whether two plain values are equal and of the same types."""
    return bool(a == b) and repr(a) == repr(b)
