"""The words and signs of a query, as Bazel's query language has them."""

import re
from collections.abc import Iterator

from mlbuild.query.syntax import QueryFault, Token

# Letters that a word may hold without quotes; it starts with neither `-` nor `*`.
_START = r"A-Za-z0-9/@._:$~\[\]"
BARE = rf"[{_START}][{_START}*\-]*"
_TOKEN = re.compile(
    rf"\s*(?:(?P<WORD>{BARE})|(?P<LPAR>\()|(?P<RPAR>\))|(?P<COMMA>,)|(?P<OP>[-+^])"
    r"|(?P<ASSIGN>=)|(?P<QUOTED>\"[^\"]*\"|'[^']*')|(?P<REST>\S)|(?P<END>\Z))"
)
KEYWORDS = {
    "except": "OP",
    "in": "IN",
    "intersect": "OP",
    "let": "LET",
    "set": "SET",
    "union": "OP",
}


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a query, END last; raise QueryFault for a letter that fits nowhere."""
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        assert found is not None, "REST and END leave nothing"
        kind = found.lastgroup or ""
        start, at = found.span(kind)
        word = found[kind]
        if kind == "REST":
            raise _stray(text, start)
        if kind == "QUOTED":
            yield Token("WORD", word[1:-1], start, at)
        elif kind == "WORD":
            yield Token(KEYWORDS.get(word, "WORD"), word, start, at)
        else:
            yield Token(kind, word, start, at)
        if kind == "END":
            return


def quoted(word: str) -> str:
    """Return `word` as a query holds it; raise QueryFault where no quotes can hold it."""
    if re.fullmatch(BARE, word) and word not in KEYWORDS:
        return word
    for quote in ('"', "'"):
        if quote not in word:
            return f"{quote}{word}{quote}"
    raise QueryFault("a word cannot hold both kinds of quotes", 0, len(word))


def _stray(text: str, at: int) -> QueryFault:
    letter = text[at]
    if letter in "\"'":
        return QueryFault("this quote is never closed", at, at + 1)
    if letter == "*":
        return QueryFault(
            "a word cannot start with `*`", at, at + 1, hints=('put it in quotes: `"*.csv"`',)
        )
    return QueryFault(
        f"`{letter}` must stand in quotes",
        at,
        at + 1,
        hints=('put the whole word in quotes: `"//data:a,b.csv"`, `".*_eval"`',),
    )
