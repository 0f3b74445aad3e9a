"""From the text of a file to its syntax tree: an LALR parser, driven by tables of the grammar."""

import json
import os
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any

from mlbuild.errors import InputError, Span
from mlbuild.lang.advice import advise
from mlbuild.lang.lexer import SyntaxFault, words
from mlbuild.lang.syntax import At, Literal, Name, Statement, String, Token
from mlbuild.lang.tree import Builder

Actions = dict[str, int]  # what to do by the next symbol, as `grammar.tables` tells
Rule = tuple[str, int, Callable[[list[Any]], Any] | None]  # None: the child is the value

_TYPES: dict[type, str] = {Name: "NAME", String: "STRING", Literal: "LITERAL"}
_LAST = Token("END", "", (0, 0, 0, 0))
_NOTHING = "$END"  # the symbol after the last one


def parse(source: bytes, path: str) -> list[Statement]:
    """Return the statements of a file; raise InputError where it does not fit the grammar."""
    text = _decoded(source, path)
    try:
        return _parsed(text)
    except SyntaxFault as fault:
        raise InputError(fault.message, span=span_of(path, fault.at), hints=fault.hints) from None


def _parsed(text: str) -> list[Statement]:
    rules, table = _tables()
    states = [0]
    values: list[Any] = []  # what the states but the first have read
    for word in chain(words(text), (_LAST,)):
        kind = _TYPES.get(word.__class__) or word.type
        while (action := table[states[-1]].get(kind, _NO_ACTION)) < 0:
            if action == _NO_ACTION:
                raise _unclosed(text) or _unexpected(word, states, values)
            _reduce(rules[~action], table, states, values)
        states.append(action)
        values.append(word)
    _reduce(rules[~table[states[-1]][_NOTHING]], table, states, values)
    statements: list[Statement] = values[0]
    return statements


def _reduce(rule: Rule, table: list[Actions], states: list[int], values: list[Any]) -> None:
    """Put the last values together by `rule`."""
    symbol, length, make = rule
    if make is None:
        states.pop()
    elif length:
        children = values[-length:]
        del values[-length:], states[-length:]
        values.append(make(children))
    else:
        values.append(make([]))
    states.append(table[states[-1]].get(symbol, 0))


def _unexpected(word: Any, states: list[int], values: list[Any]) -> SyntaxFault:
    """Return what to say of a word that has no place after what has been read."""
    rules, table = _tables()
    wanted = {
        symbol
        for symbol in table[states[-1]]
        if symbol.isupper() and symbol != _NOTHING and _fits(symbol, states, rules, table)
    }
    return advise(word, values, wanted - {"END"})


def _fits(symbol: str, states: list[int], rules: list[Rule], table: list[Actions]) -> bool:
    """Say whether `symbol` can follow, once the rules that end before it are put together."""
    states = list(states)
    while (action := table[states[-1]].get(symbol, _NO_ACTION)) < 0:
        if action == _NO_ACTION:
            return False
        origin, length, _ = rules[~action]
        del states[len(states) - length :]
        states.append(table[states[-1]][origin])
    return True


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


_NO_ACTION = -1_000_000


@cache
def _tables() -> tuple[list[Rule], list[Actions]]:
    """Return the rules and the states of the parser."""
    place = os.path.join(os.path.dirname(__file__), "tables.json")
    with open(place, encoding="utf-8") as file:
        found = json.load(file)
    rules = [
        (symbol, length, None if name == "same" else getattr(Builder, name))
        for symbol, length, name in found["rules"]
    ]
    return rules, found["states"]
