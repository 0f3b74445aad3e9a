"""attr: how .bzl files say which attributes a rule has."""

from typing import Any

from mlbuild import lang
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.schema import EMPTY, LABELS, TYPES, Attribute, fits, promoted
from mlbuild.graph.select import Select

_ENUMERABLE = ("string", "int", "float")  # types that may be held to a few values


class AttributeValue(lang.Value):
    """What attr.string() and its like return: a schema, opaque to the BUILD language."""

    type_name = "attribute"

    def __init__(self, schema: Attribute) -> None:
        self.schema = schema

    def __repr__(self) -> str:
        return f"<attr.{self.schema.type}>"


class AttrModule(lang.Value):
    """The `attr` of .bzl files: one constructor per type of attribute."""

    type_name = "attr"

    def attribute(self, name: str) -> Any:
        """Return the constructor `attr.<name>`."""
        if name not in _CONSTRUCTORS:
            raise InputError(f"attr has no `{name}`", hints=did_you_mean(name, list(TYPES)))
        return _CONSTRUCTORS[name]

    def attributes(self) -> list[str]:
        """Return the types of attributes."""
        return list(TYPES)


def _constructor(type_: str) -> lang.Builtin:
    def construct(
        *, default: Any = None, mandatory: Any = False, values: Any = None, doc: Any = ""
    ) -> AttributeValue:
        if type(mandatory) is not bool:
            raise InputError(f"`mandatory` is True or False, not {lang.repr_of(mandatory)[:60]}")
        if type(doc) is not str:
            raise InputError(f"`doc` is a string, not {lang.repr_of(doc)[:60]}")
        if mandatory and default is not None:
            raise InputError(
                "an attribute is mandatory or has a default, not both",
                hints=("leave out one of `mandatory` and `default`",),
            )
        allowed = _allowed(type_, values)
        plain = _empty(type_) if default is None else _default(type_, default)
        if default is not None and allowed and plain not in allowed:
            raise InputError(
                f"the default of attr.{type_}, {lang.repr_of(default)}, is not among its `values`"
            )
        return AttributeValue(Attribute(type_, plain, mandatory, allowed, doc))

    return lang.builtin(f"attr.{type_}", construct)


def _allowed(type_: str, values: Any) -> tuple[Any, ...]:
    if values is None:
        return ()
    if type_ not in _ENUMERABLE:
        raise InputError(
            f"attr.{type_} takes no `values`", hints=(f"{_listed(_ENUMERABLE)} attributes do",)
        )
    given = lang.to_python(values)
    if type(given) not in {list, tuple} or not given:
        raise InputError(f"`values` is a list of what attr.{type_} may be")
    allowed = tuple(promoted(one, type_) for one in given)
    for one in allowed:
        if not fits(one, type_):
            raise InputError(
                f"`values` of attr.{type_} holds {lang.repr_of(one)}, not {TYPES[type_]}"
            )
    return allowed


def _default(type_: str, default: Any) -> Any:
    if isinstance(default, Select):
        raise InputError(
            "the default of an attribute cannot be a select",
            hints=("give the select to the attribute of a target",),
        )
    plain = promoted(lang.to_python(default), type_)
    if not fits(plain, type_):
        raise InputError(
            f"the default of attr.{type_} must be {TYPES[type_]}, "
            f"not {lang.repr_of(default)[:60]} of type {lang.type_name(default)}"
        )
    return plain


def _empty(type_: str) -> Any:
    if type_.endswith("_list"):
        return []
    return {} if type_.endswith("_dict") else EMPTY.get(type_)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"


def rooted(attribute: Attribute, *, folder: str) -> Attribute:
    """Return `attribute` with the labels of its default seen from `folder`, as its .bzl file is."""
    if attribute.type not in LABELS or not attribute.default:
        return attribute

    def full(text: str) -> str:
        if text.startswith(("//", "@")):
            return text
        return f"{folder}:{text.removeprefix(':')}"

    value = attribute.default
    if attribute.type == "label":
        default: Any = full(value)
    elif attribute.type == "label_list":
        default = [full(text) for text in value]
    else:
        default = {key: full(text) for key, text in value.items()}
    return Attribute(attribute.type, default, attribute.mandatory, attribute.values, attribute.doc)


_CONSTRUCTORS = {type_: _constructor(type_) for type_ in TYPES}
ATTR = AttrModule()
