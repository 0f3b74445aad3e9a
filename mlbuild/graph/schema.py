"""Rule and Attribute: what a rule accepts, and the check of what it is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild import lang
from mlbuild.errors import InputError, did_you_mean

TYPES = {
    "string": "a string",
    "int": "an int",
    "float": "a float",
    "bool": "a bool",
    "label": "a label",
    "label_list": "a list of labels",
    "label_dict": "a dict of names to labels",
    "string_list": "a list of strings",
    "string_dict": "a dict of strings to strings",
    "json": "numbers, strings, bools, None, and lists and dicts of them",
    "output": "the path of an output",
    "output_list": "a list of paths of outputs",
}
EMPTY: Mapping[str, Any] = {
    "string": "",
    "int": 0,
    "float": 0.0,
    "bool": False,
    "label": None,
    "output": "",
}
LABELS = frozenset({"label", "label_list", "label_dict"})
COMMON = ("name", "tags")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a rule: its type (a word of `TYPES`), default, and what it is for."""

    type: str
    default: Any
    mandatory: bool = False
    values: tuple[str, ...] = ()  # the only ones allowed; empty: all
    doc: str = ""


@dataclass(slots=True)
class Rule:
    """An attribute schema and an implementation. Its name is that of the global that holds it."""

    attributes: Mapping[str, Attribute]
    implementation: Any  # a function of the BUILD language
    doc: str = ""
    path: str = ""  # the file that defines it
    name: str = field(default="")

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all attributes, defaults filled in; raise InputError at the first fault."""
        unknown = [name for name in given if name not in self.attributes and name not in COMMON]
        unknown += [name for name in given if name.startswith("_") and name not in unknown]
        if unknown:
            public = [name for name in (*COMMON, *self.attributes) if not name.startswith("_")]
            raise AttributeFault(
                f"rule `{self.name}` has no attribute `{unknown[0]}`",
                hints=did_you_mean(unknown[0], public) or (f"it has: {', '.join(sorted(public))}",),
                attribute=unknown[0],
            )
        values: dict[str, Any] = {}
        for name, attribute in self.attributes.items():
            value = given.get(name)
            if value is None:
                if attribute.mandatory:
                    raise InputError(
                        f"rule `{self.name}` needs the attribute `{name}`",
                        hints=(f"`{name}` is {TYPES[attribute.type]}",),
                    )
                values[name] = attribute.default
                continue
            values[name] = self._value(name, value, attribute)
        return values

    def _value(self, name: str, value: Any, attribute: Attribute) -> Any:
        plain = lang.to_python(value)
        if attribute.type == "float" and type(plain) is int:
            plain = float(plain)
        if not fits(plain, attribute.type):
            raise AttributeFault(
                f"attribute `{name}` of `{self.name}` takes {TYPES[attribute.type]}, "
                f"not {lang.repr_of(value)[:60]} of type {lang.type_name(value)}",
                attribute=name,
            )
        if attribute.values and plain not in attribute.values:
            raise AttributeFault(
                f"attribute `{name}` of `{self.name}` cannot be {lang.repr_of(value)}",
                hints=(f"it is one of {', '.join(map(repr, attribute.values))}",),
                attribute=name,
            )
        return plain


class AttributeFault(InputError):  # noqa: N818 - what is at fault, as the others
    """A fault of one keyword argument: `attribute` tells where in the call to point."""

    def __init__(self, message: str, *, attribute: str, hints: tuple[str, ...] = ()) -> None:
        super().__init__(message, hints=hints)
        self.attribute = attribute


def fits(value: Any, type_: str) -> bool:
    """Say whether the plain `value` is of an attribute type."""
    match type_:
        case "string" | "label" | "output":
            return type(value) is str
        case "int":
            return type(value) is int
        case "float":
            return type(value) is float
        case "bool":
            return type(value) is bool
        case "string_list" | "label_list" | "output_list":
            return type(value) is list and all(type(item) is str for item in value)
        case "string_dict" | "label_dict":
            return type(value) is dict and all(
                type(key) is str and type(item) is str for key, item in value.items()
            )
        case _:
            return _is_json(value)


def _is_json(value: Any) -> bool:
    if type(value) is list:
        return all(_is_json(item) for item in value)
    if type(value) is dict:
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    return value is None or type(value) in {bool, int, float, str}
