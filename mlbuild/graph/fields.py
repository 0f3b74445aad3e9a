"""Fields: named values that say whose they are when one is missing."""

from collections.abc import Iterable, Mapping
from typing import Any

from mlbuild import lang
from mlbuild.errors import InputError, did_you_mean

_SHOWN = 12  # names in a hint


class Fields(lang.Value):
    """Values by name, such as `ctx.attr`, or what a dependency gives.

    `lacks` begins the sentence about a missing one: "rule `train` has no attribute".
    """

    type_name = "struct"
    __slots__ = ("lacks", "values")
    __hash__ = None  # type: ignore[assignment]  # as that of a struct

    def __init__(self, values: Mapping[str, Any], *, lacks: str) -> None:
        self.values = values
        self.lacks = lacks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and lang.Struct(self.values) == lang.Struct(other.values)

    def __repr__(self) -> str:
        return lang.repr_of(lang.Struct(self.values))

    def attributes(self) -> Iterable[str]:
        """Return the names."""
        return list(self.values)

    def attribute(self, name: str) -> Any:
        """Return one value."""
        if name in self.values:
            return self.values[name]
        known = sorted(one for one in self.values if not one.startswith("_"))
        listed = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
        raise InputError(
            f"{self.lacks} `{name}`",
            hints=did_you_mean(name, known) or (f"there is: {listed or 'none'}",),
        )
