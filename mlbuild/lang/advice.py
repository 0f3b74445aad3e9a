"""What to say of a file that does not fit the grammar."""

from collections.abc import Callable
from typing import Any

from mlbuild.lang import syntax
from mlbuild.lang.lexer import SyntaxFault
from mlbuild.lang.syntax import At, Name, String, Token


def advise(token: Any, before: Any, wanted: list[str]) -> SyntaxFault:
    """Return what to say of a word that the grammar has no place for.

    `before` is what the parser has read last, `wanted` the terminals that might have followed.
    """
    at: At = getattr(token, "at", None) or getattr(before, "at", None) or (1, 1, 1, 2)
    shown = _shown(token)
    for applies, message, hints in _ADVICE:
        if applies(token, before, wanted):
            return SyntaxFault(message.format(shown=shown), at, hints)
    missing = [_WANTED[one] for one in wanted if one in _WANTED]
    if len(wanted) == 1 and missing:
        return SyntaxFault(f"expected {missing[0]} but found {shown}", at)
    return SyntaxFault(f"unexpected {shown}", at)


def _shown(token: Any) -> str:
    match token:
        case Name():
            return f"`{token.name}`"
        case String():
            return "string"
        case syntax.Literal():
            return f"`{token.value!r}`"
        case Token(type="NEWLINE"):
            return "end of line"
        case Token(type="INDENT"):
            return "indented line"
        case Token(type="DEDENT"):
            return "end of block"
        case Token():
            return f"`{token.text}`"
        case _:
            return "end of file"


def _last(value: Any) -> Any:
    """Return the last operand of what the parser has read so far."""
    return value[-1] if isinstance(value, list) and value else value


_ADVICE: tuple[tuple[Callable[[Any, Any, list[str]], bool], str, tuple[str, ...]], ...] = (
    (
        lambda token, before, _: isinstance(token, String) and isinstance(_last(before), String),
        "two strings in a row",
        ("join strings with `+`; or is a comma missing?",),
    ),
    (
        lambda token, before, _: (
            isinstance(token, String)
            and isinstance(_last(before), Name)
            and _last(before).name.lower() in {"f", "rf", "fr", "u"}
        ),
        "there are no f-strings",
        ('write `"…".format(…)` or `"…" % …`',),
    ),
    (
        lambda token, _, wanted: token.type == "ASSIGN" and "COLON" in wanted,
        "unexpected `=`",
        ("compare with `==`",),
    ),
    (
        lambda token, before, _: (
            token.type == "ASSIGN" and isinstance(_last(before), syntax.TupleExpr | Name)
        ),
        "unexpected `=`",
        ("assign to one name at a time; compare with `==`",),
    ),
    (lambda token, _, __: token.type == "ASSIGN", "unexpected `=`", ("compare with `==`",)),
    (
        lambda token, _, wanted: token.type != "INDENT" and wanted == ["INDENT"],
        "expected an indented block",
        ("indent what belongs to the line above; an empty block is `pass`",),
    ),
    (
        lambda token, _, __: token.type == "INDENT",
        "unexpected indentation",
        (),
    ),
    (
        lambda token, _, wanted: (
            token.type == "NEWLINE" and "ELSE" in wanted and "IF" not in wanted
        ),
        "a conditional expression needs `else`",
        ("write `a if condition else b`",),
    ),
    (
        lambda token, _, wanted: (
            "COMMA" in wanted
            and not {"RPAR", "RSQB", "RBRACE"}.isdisjoint(wanted)
            and _starts(token)
        ),
        "unexpected {shown}",
        ("is a comma missing before it?",),
    ),
    (
        lambda token, _, wanted: token.type == "NEWLINE" and wanted == ["COLON"],
        "expected `:` at the end of the line",
        (),
    ),
)


def _starts(token: Any) -> bool:
    return token.type in {"NAME", "STRING", "LITERAL", "LPAR", "LSQB", "LBRACE", "LAMBDA"}


_WANTED = {
    "COLON": "`:`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "RSQB": "`]`",
    "RBRACE": "`}`",
    "COMMA": "`,`",
    "ELSE": "`else`",
    "IN": "`in`",
    "NAME": "a name",
    "STRING": "a string",
    "NEWLINE": "the end of the line",
    "ASSIGN": "`=`",
}
