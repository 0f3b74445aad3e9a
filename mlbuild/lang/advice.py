"""What to say of a file that does not fit the grammar."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlbuild.lang import syntax
from mlbuild.lang.lexer import SyntaxFault
from mlbuild.lang.syntax import At, Name, Parameter, String, Token


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the parser could not go on."""

    token: Any  # the word that the grammar has no place for
    before: Any  # what was read last: a word, or all of an expression
    inside: str  # type of the word that opened what is being read: "LBRACE", "IF", …; or ""
    wanted: frozenset[str]  # the terminals that might have stood there

    @property
    def type(self) -> str:
        """The type of the word."""
        return str(self.token.type)

    def after(self, *types: str) -> bool:
        """Say whether the word before is of one of `types`."""
        return isinstance(self.before, Token) and self.before.type in types


def advise(token: Any, read: list[Any], wanted: set[str]) -> SyntaxFault:
    """Return what to say of a word that the grammar has no place for.

    `read` is what the parser has read and not yet put together, `wanted` what it could go on with.
    """
    before = read[-1] if read else None
    last = before[-1] if isinstance(before, list) and before else before
    opened = ["", *(one.type for one in read if isinstance(one, Token) and one.type in _OPENS)]
    inside = "LOAD" if opened[-2:] == ["LOAD", "LPAR"] else opened[-1]
    stop = Stop(token, last, inside, frozenset(wanted))
    at: At = getattr(token, "at", None) or getattr(before, "at", None) or (1, 1, 1, 2)
    shown = _shown(token)
    for applies, message, hints in _ADVICE:
        if applies(stop):
            return SyntaxFault(message.format(shown=shown), at, hints)
    missing = [_WANTED[one] for one in sorted(wanted) if one in _WANTED]
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


_ONLY_COLON = frozenset({"COLON"})
_OPENS = frozenset({"LPAR", "LSQB", "LBRACE", "IF", "ELIF", "FOR", "DEF", "LOAD", "LAMBDA"})
_STARTS = frozenset({"NAME", "STRING", "LITERAL", "LPAR", "LSQB", "LBRACE", "LAMBDA"})
_CLOSING = frozenset({"RPAR", "RSQB", "RBRACE"})

# The first that applies is said.
_ADVICE: tuple[tuple[Callable[[Stop], bool], str, tuple[str, ...]], ...] = (
    (
        lambda stop: isinstance(stop.token, String) and isinstance(stop.before, String),
        "two strings in a row",
        ("join strings with `+`; or is a comma missing?",),
    ),
    (
        lambda stop: (
            isinstance(stop.token, String)
            and isinstance(stop.before, Name)
            and stop.before.name.lower() in {"f", "rf", "fr", "u"}
        ),
        "there are no f-strings",
        ('write `"…".format(…)` or `"…" % …`',),
    ),
    (
        lambda stop: (
            stop.type in {"STRING", "LITERAL", "NAME"}
            and isinstance(stop.before, Name)
            and "NEWLINE" in stop.wanted
        ),
        "unexpected {shown}",
        ("the arguments of a call stand in parentheses",),
    ),
    (
        lambda stop: stop.type == "ASSIGN" and stop.inside == "LBRACE",
        "unexpected `=`",
        ("an entry of a dict is written `key: value`",),
    ),
    (
        lambda stop: (
            stop.type == "ASSIGN" and stop.inside == "LPAR" and isinstance(stop.before, String)
        ),
        "unexpected `=`",
        ("the name of an argument stands without quotes: `name = value`",),
    ),
    (
        lambda stop: (
            stop.type == "ASSIGN"
            and not stop.inside
            and isinstance(stop.before, syntax.TupleExpr | Name)
        ),
        "unexpected `=`",
        ("assign to one name at a time; compare with `==`",),
    ),
    (lambda stop: stop.type == "ASSIGN", "unexpected `=`", ("compare with `==`",)),
    (
        lambda stop: stop.type in {"COMMA", "FOR", "RBRACE"} and stop.wanted == _ONLY_COLON,
        "expected `:` but found {shown}",
        ("an entry of a dict is written `key: value`, a set `set([…])`",),
    ),
    (
        lambda stop: stop.type == "IF" and stop.wanted == _ONLY_COLON,
        "expected `:` but found `if`",
        ("write `elif`",),
    ),
    (
        lambda stop: (
            (stop.type == "SIGN" and stop.wanted == _ONLY_COLON)
            or (
                stop.type == "COLON"
                and isinstance(stop.before, Name | Parameter)
                and stop.inside != "LSQB"
            )
        ),
        "unexpected {shown}",
        ("there are no type annotations",),
    ),
    (
        lambda stop: stop.type == "POW" and "POW" not in stop.wanted,
        "unexpected `**`",
        ("there is no power operator: multiply",),
    ),
    (
        lambda stop: stop.type == "OP" and stop.after("OP") and stop.token.text in {"&", "|"},
        "unexpected {shown}",
        ("the operators of logic are `and`, `or` and `not`",),
    ),
    (
        lambda stop: stop.type in {"NEWLINE", "IN", "ASSIGN"} and stop.after("COMMA"),
        "a tuple without parentheses cannot end in a comma",
        ("a tuple of one value is written `(value,)`",),
    ),
    (
        lambda stop: stop.type == "COMMA" and "FOR" in stop.wanted and stop.inside == "FOR",
        "unexpected `,`",
        ("put the tuple in parentheses",),
    ),
    (
        lambda stop: stop.inside == "LOAD",
        "unexpected {shown}",
        ('write `load("//package:file.bzl", "name")`, or `other = "name"` for another name',),
    ),
    (
        lambda stop: stop.type != "INDENT" and stop.wanted == {"INDENT"},
        "expected an indented block",
        ("indent what belongs to the line above; an empty block is `pass`",),
    ),
    (
        lambda stop: stop.type == "INDENT",
        "unexpected indentation",
        ("only what follows a line that ends in `:` is indented more than that line",),
    ),
    (
        lambda stop: stop.type == "NEWLINE" and "ELSE" in stop.wanted and "IF" not in stop.wanted,
        "a conditional expression needs `else`",
        ("write `a if condition else b`",),
    ),
    (
        lambda stop: (
            "COMMA" in stop.wanted and not _CLOSING.isdisjoint(stop.wanted) and stop.type in _STARTS
        ),
        "unexpected {shown}",
        ("is a comma missing before it?",),
    ),
    (
        lambda stop: stop.type == "NEWLINE" and stop.wanted == _ONLY_COLON,
        "expected `:` at the end of the line",
        (),
    ),
)


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
