"""Names of types, and the errors that several operations share."""

from collections.abc import Mapping
from types import CodeType
from typing import Any

from mlbuild.errors import InputError, did_you_mean

FROZEN = -1  # in `held` of a value; above 0, it is the number of loops that iterate over it


def type_name(value: Any) -> str:
    """Return what `type(value)` is in the language."""
    kind = type(value)
    name = _PYTHONS.get(kind)
    if name is None:
        name = getattr(value, "type_name", kind.__name__)
    return name


_PYTHONS: dict[type, str] = {
    type(None): "NoneType",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    bytes: "bytes",
    tuple: "tuple",
}


def a_type(value: Any) -> str:
    """Return the type of `value` for a sentence: "a list"."""
    if value is None:
        return "None"
    name = type_name(value)
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def no_attribute(value: Any, name: str, known: list[str]) -> InputError:
    """Return the error of `value.name` where there is none; `known` are the names it has."""
    if type_name(value) == "struct":
        return InputError(f"struct has no field `{name}`", hints=did_you_mean(name, known))
    return InputError(f"{a_type(value)} has no `{name}`", hints=did_you_mean(name, known))


def not_callable(value: Any) -> InputError:
    """Return the error of `value()`."""
    return InputError(f"{a_type(value)} cannot be called")


def held(value: Any) -> InputError:
    """Return the error of changing a value that is frozen or iterated over."""
    name = type_name(value)
    if value.held == FROZEN:
        return InputError(
            f"the {name} is frozen",
            hints=(f"it belongs to a loaded file: change a copy, {name}(…)",),
        )
    return InputError(
        f"the {name} cannot change while a loop iterates over it",
        hints=(f"iterate over a copy, {name}(…)",),
    )


def changeable(value: Any) -> None:
    """Raise InputError where `value` is frozen or iterated over."""
    if value.held:
        raise held(value)


def index_in(index: Any, length: int, value: Any) -> int:
    """Return the index into a sequence of `length`, from 0; raise InputError outside."""
    if type(index) is not int:
        raise InputError(f"an index of {a_type(value)} is an int, not {a_type(index)}")
    found = index + length if index < 0 else index
    if 0 <= found < length:
        return found
    shown = f"index {index}" if index.bit_length() <= _SHORT else "the index"
    raise InputError(f"{shown} is outside of the {type_name(value)} of length {length}")


def misfit(
    name: str,
    function: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    bound: bool = False,
) -> InputError:
    """Return the error of arguments that do not fit the parameters of a function."""
    inner = getattr(function, "__func__", function)  # of a Python method
    code: CodeType | None = getattr(inner, "__code__", None)
    if code is None:
        return InputError(f"`{name}` cannot take these arguments")
    skipped = 1 if bound or inner is not function else 0
    names = code.co_varnames
    positional = names[skipped : code.co_argcount]
    by_position = names[skipped : max(code.co_posonlyargcount, skipped)]
    keyword = names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    by_name = [one for one in (*positional, *keyword) if one not in by_position]
    for given in kwargs:
        if given in positional[: len(args)] and given in by_name:
            return InputError(f"`{name}` is given `{given}` twice: by position and by name")
        if given not in by_name and not code.co_flags & _VARKEYWORDS:
            if given in by_position:
                return InputError(f"`{name}` takes `{given}` by position, not by name")
            hints = did_you_mean(given, by_name)
            if not hints and by_name:
                hints = (f"it takes {', '.join(by_name)}",)
            return InputError(f"`{name}` has no parameter `{given}`", hints=hints)
    if len(args) > len(positional) and not code.co_flags & _VARARGS:
        most = len(positional)
        return InputError(
            f"`{name}` takes {_count(most, 'positional argument')}, not {len(args)}"
            if not inner.__defaults__
            else f"`{name}` takes at most {_count(most, 'positional argument')}, not {len(args)}"
        )
    optional = len(inner.__defaults__ or ())
    required = positional[: len(positional) - optional][len(args) :]
    defaults = inner.__kwdefaults__ or {}
    missing = [one for one in required if one not in kwargs]
    missing += [one for one in keyword if one not in kwargs and one not in defaults]
    shown = " and ".join(f"`{one}`" for one in missing)
    return InputError(f"`{name}` needs {shown or 'other arguments'}")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


_SHORT = 64  # bits of an int that is shown
_VARARGS, _VARKEYWORDS = 0x04, 0x08
