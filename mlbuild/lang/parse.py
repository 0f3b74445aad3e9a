"""From the text of a file to its syntax tree. The only importer of lark."""

import os
from collections.abc import Iterator
from typing import Any

from lark import Lark
from lark import Token as LarkToken
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer

from mlbuild.errors import InputError, Span
from mlbuild.lang.advice import advise
from mlbuild.lang.lexer import SyntaxFault, words
from mlbuild.lang.syntax import At, Statement
from mlbuild.lang.tree import Builder


def parse(source: bytes, path: str) -> list[Statement]:
    """Return the statements of a file; raise InputError where it does not fit the grammar."""
    text = _decoded(source, path)
    parser = _parser()
    try:
        found: Any = parser.parse(text)  # what _Builder makes
    except SyntaxFault as fault:
        raise InputError(fault.message, span=span_of(path, fault.at), hints=fault.hints) from None
    except UnexpectedToken as error:
        read = error.interactive_parser.parser_state.value_stack
        wanted = sorted((error.accepts or set()) - {"END"})
        advice = _unclosed(text) or advise(error.token, read[-1] if read else None, wanted)
        span = span_of(path, advice.at)
        raise InputError(advice.message, span=span, hints=advice.hints) from None
    statements: list[Statement] = found
    return statements


def _unclosed(text: str) -> SyntaxFault | None:
    """Return the bracket or string that is never closed: what follows it only looks wrong."""
    try:
        for _ in words(text):
            pass
    except SyntaxFault as fault:
        return fault if fault.message.endswith(" is never closed") else None
    return None


def span_of(path: str, at: At) -> Span:
    """Return the Span of a place: of its first line only, where there are several."""
    line, column, last_line, last_column = at
    return Span(path, line, column, max(last_column - column, 1) if line == last_line else 1)


def _decoded(source: bytes, path: str) -> str:
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        before = source[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        raise InputError(
            "the file is not UTF-8",
            span=Span(path, before.count(b"\n") + 1, column),
            hints=("save it as UTF-8",),
        ) from None
    return text.replace("\r\n", "\n")


_built: list[Lark] = []


def _parser() -> Lark:
    """Return the parser: its tables are built once, when the first file is parsed."""
    if not _built:
        with open(
            os.path.join(os.path.dirname(__file__), "grammar.lark"), encoding="utf-8"
        ) as file:
            grammar = file.read()
        _built.append(
            Lark(
                grammar,
                parser="lalr",
                lexer=_Words,
                transformer=Builder(),
                propagate_positions=False,
                maybe_placeholders=False,
            )
        )
    return _built[0]


class _Words(Lexer):
    """Hands the lexer's words to lark."""

    def __init__(self, _conf: Any) -> None:
        """Take no notice of lark's configuration: the words are what they are."""

    def lex(self, text: str) -> Iterator[Any]:  # type: ignore[override]  # lark wraps it
        """Yield all words, and a last one that lark can read a position from."""
        yield from words(text)
        yield LarkToken("END", "")
