"""Rule and Attribute: what a rule accepts, and the check of what it is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild import lang
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.select import Select

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
COMMON = ("name", "visibility", "tags", "licenses", "cache")  # attributes of every target
# What `cache` can be: who keeps results, and is asked for them.
CACHES = ("shared", "result", "local", "off")
OUTPUTS = frozenset({"output", "output_list"})
_JOINED = {  # types whose selects are joined with an operator
    "+": frozenset({"string", "string_list", "label_list", "json"}),
    "|": frozenset({"string_dict", "label_dict", "json"}),
}
_SHOWN = 60  # characters of a value in an error


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a rule: its type (a word of `TYPES`), default, and what it is for."""

    type: str
    default: Any
    mandatory: bool = False
    values: tuple[Any, ...] = ()  # the only ones allowed; empty: all
    doc: str = ""


@dataclass(slots=True)
class Rule:
    """An attribute schema and an implementation. Its name is that of the global that holds it."""

    attributes: Mapping[str, Attribute]
    implementation: Any  # a function of the BUILD language
    doc: str = ""
    path: str = ""  # the file that defines it
    name: str = field(default="")
    public: tuple[str, ...] = field(init=False)  # the attributes that targets may give

    def __post_init__(self) -> None:
        self.public = tuple(name for name in self.attributes if not name.startswith("_"))

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all attributes as plain values or Selects, defaults filled in.

        Raises InputError at the first fault.
        """
        unknown = [name for name in given if name not in self.attributes or name.startswith("_")]
        if unknown:
            public = (*COMMON, *self.public)
            raise AttributeFault(
                f"rule `{self.name}` has no attribute `{unknown[0]}`",
                hints=did_you_mean(unknown[0], public) or (f"it has: {', '.join(sorted(public))}",),
                attribute=unknown[0],
                kind="unknown-attribute",
            )
        values: dict[str, Any] = {}
        for name, attribute in self.attributes.items():
            value = given.get(name)
            if value is None:
                if attribute.mandatory:
                    raise InputError(
                        f"rule `{self.name}` needs the attribute `{name}`",
                        hints=(f"`{name}` is {TYPES[attribute.type]}",),
                        kind="missing-attribute",
                    )
                values[name] = attribute.default
            elif isinstance(value, Select):
                values[name] = self._select(name, value, attribute)
            else:
                plain = lang.to_python(value)
                values[name] = self._checked(name, plain, value)
        return values

    def settled(self, name: str, value: Any) -> Any:
        """Return the value of an attribute whose selects are settled; None is the default."""
        attribute = self.attributes[name]
        return attribute.default if value is None else self._checked(name, value, value)

    def _select(self, name: str, value: Select, attribute: Attribute) -> Select:
        """Return `value` with each branch checked, as far as it tells by itself."""
        if attribute.type in OUTPUTS:
            raise AttributeFault(
                f"attribute `{name}` of `{self.name}` cannot be a select: "
                "the outputs of a target do not depend on flags",
                attribute=name,
            )
        if value.operator and attribute.type not in _JOINED[value.operator]:
            raise AttributeFault(
                f"attribute `{name}` of `{self.name}` takes {TYPES[attribute.type]}: "
                f"selects are not joined there with `{value.operator}`",
                attribute=name,
            )

        def checked(branch: Any) -> Any:
            if branch is None:
                if attribute.mandatory:
                    raise AttributeFault(
                        f"rule `{self.name}` needs the attribute `{name}`, "
                        "and a branch of the select is None",
                        attribute=name,
                    )
                return None
            if value.operator and attribute.values:
                return branch  # the whole is what must be among them
            return self._checked(name, branch, branch)

        return value.mapped(checked)

    def _checked(self, name: str, plain: Any, value: Any) -> Any:
        """Return a plain value that is known to fit; `value` is how it was given, for errors."""
        attribute = self.attributes[name]
        plain = promoted(plain, attribute.type)
        if not fits(plain, attribute.type):
            shown = lang.from_python(value)
            raise AttributeFault(
                f"attribute `{name}` of `{self.name}` takes {TYPES[attribute.type]}, "
                f"not {lang.repr_of(shown)[:_SHOWN]} of type {lang.type_name(shown)}",
                hints=_advice(plain),
                attribute=name,
            )
        if attribute.values and plain not in attribute.values:
            allowed = ", ".join(map(lang.repr_of, attribute.values))
            near = did_you_mean(plain, attribute.values) if type(plain) is str else ()
            raise AttributeFault(
                f"attribute `{name}` of `{self.name}` cannot be {lang.repr_of(plain)}",
                hints=(*near, f"it is one of {allowed}"),
                attribute=name,
            )
        return plain


def _advice(plain: Any) -> tuple[str, ...]:
    items = plain.values() if type(plain) is dict else plain if type(plain) is list else ()
    if any(isinstance(item, Select) for item in items):
        return ("a select is a whole value: write `[…] + select({…})` or `{…} | select({…})`",)
    return ()


class AttributeFault(InputError):  # noqa: N818 - what is at fault, as the others
    """A fault of one keyword argument: `attribute` tells where in the call to point."""

    def __init__(
        self,
        message: str,
        *,
        attribute: str,
        hints: tuple[str, ...] = (),
        kind: str = "wrong-attribute",
    ) -> None:
        super().__init__(message, hints=hints, kind=kind)
        self.attribute = attribute


def promoted(value: Any, type_: str) -> Any:
    """Return a plain value as its type has it: an int for a float is a float."""
    if type_ != "float" or type(value) is not int:
        return value
    try:
        return float(value)
    except OverflowError:
        return value  # and does not fit


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
