"""`$(location NAME)` and its like in command lines and shell texts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mlbuild.core.action import InputRef, OutputRef, Word
from mlbuild.core.manifest import canonical_float
from mlbuild.errors import InputError, did_you_mean

_Ref = TypeVar("_Ref", InputRef, OutputRef)
_REFERENCE = re.compile(r"\$(?:\$|\((\w+)(?: ([^()]*))?\)|([@<]))")


class Located(Protocol):
    """An artifact as far as a reference to it goes."""

    path: str
    short: str


@dataclass(frozen=True, slots=True)
class Names:
    """What references can name."""

    inputs: Mapping[str, Sequence[Located]]
    params: Mapping[str, Any]
    outputs: Mapping[str, Located]


def expand_words(texts: Sequence[str], names: Names) -> list[Word]:
    """Return the words of a command line; a lone `$(locations X)` becomes one word a file."""
    words: list[Word] = []
    for text in texts:
        whole = _REFERENCE.fullmatch(text)
        if whole and whole[1] == "locations":
            words += [(InputRef(file.path),) for file in _input(names, whole[2] or "")]
        else:
            words.append(_expanded(text, names, srcs=(), outs=()))
    return words


def expand_shell(
    text: str, names: Names, *, srcs: Sequence[InputRef], outs: Sequence[OutputRef]
) -> Word:
    """Return a shell text with `$(SRCS)`, `$(OUTS)`, `$@`, `$<` and `$(location X)` filled in."""
    return _expanded(text, names, srcs=srcs, outs=outs)


def _expanded(
    text: str, names: Names, *, srcs: Sequence[InputRef], outs: Sequence[OutputRef]
) -> Word:
    parts: list[str | InputRef | OutputRef] = []
    at = 0
    for found in _REFERENCE.finditer(text):
        parts.append(text[at : found.start()])
        at = found.end()
        parts += _reference(found, names, srcs=srcs, outs=outs)
    parts.append(text[at:])
    return tuple(part for part in parts if part != "")


def _reference(
    found: re.Match[str], names: Names, *, srcs: Sequence[InputRef], outs: Sequence[OutputRef]
) -> list[str | InputRef | OutputRef]:
    verb, operand, short = found[1], found[2] or "", found[3]
    if found[0] == "$$":
        return ["$"]
    match short or verb:
        case "location":
            return [InputRef(_one(_input(names, operand), operand).path)]
        case "locations":
            return _spaced([InputRef(file.path) for file in _input(names, operand)])
        case "output":
            if operand not in names.outputs:
                raise _unknown("output", operand, list(names.outputs))
            return [OutputRef(operand)]
        case "param":
            return [_param(names, operand)]
        case "SRCS":
            return _spaced(srcs)
        case "OUTS":
            return _spaced(outs)
        case "@":
            return [_only(outs, "$@", "output")]
        case "<":
            return [_only(srcs, "$<", "source")]
        case _:
            raise InputError(
                f"`{found[0]}` is not known here",
                hints=(
                    "known are $(location X), $(locations X), $(output X), $(param X)",
                    "a genrule also knows $(SRCS), $(OUTS), $@ and $<; `$$` is a dollar sign",
                ),
            )


def _input(names: Names, operand: str) -> Sequence[Located]:
    if operand not in names.inputs:
        raise _unknown("input", operand, list(names.inputs))
    return names.inputs[operand]


def _one(files: Sequence[Located], operand: str) -> Located:
    if len(files) != 1:
        raise InputError(
            f"`{operand}` is {len(files)} files, not one",
            hints=(f"write `$(locations {operand})` for all of them",),
        )
    return files[0]


def _only(refs: Sequence[_Ref], written: str, what: str) -> _Ref:
    if len(refs) != 1:
        raise InputError(f"`{written}` needs exactly one {what}; there are {len(refs)}")
    return refs[0]


def _spaced(refs: Sequence[InputRef | OutputRef]) -> list[str | InputRef | OutputRef]:
    parts: list[str | InputRef | OutputRef] = []
    for ref in refs:
        parts += [" ", ref] if parts else [ref]
    return parts


def _param(names: Names, operand: str) -> str:
    value: Any = names.params
    for key in operand.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise _unknown("param", operand, list(names.params))
        value = value[key]
    return canonical_float(value, operand) if isinstance(value, float) else str(value)


def _unknown(what: str, operand: str, known: list[str]) -> InputError:
    hints = did_you_mean(operand, known)
    return InputError(
        f"there is no {what} named `{operand}`",
        hints=hints or (f"there is: {', '.join(sorted(known)) or 'none'}",),
    )
