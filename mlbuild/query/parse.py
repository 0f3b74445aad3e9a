"""From the text of a query to its expression: an LALR parser, driven by tables of the grammar."""

import json
import os
from functools import cache
from typing import Any

from mlbuild.errors import InputError, Span
from mlbuild.query.functions import checked
from mlbuild.query.lexer import tokens
from mlbuild.query.syntax import Builder, Call, Expression, QueryFault, Token

PATH = "query"  # what places in a query are called
_BUILDER = Builder()
_HINT = "for example `deps(//models:lenet)`, `//models/... - //models:old`"


def parse(text: str) -> Expression:
    """Return the expression of a query; raise InputError that points at what does not fit."""
    try:
        return _parsed(text)
    except QueryFault as fault:
        raise fault_error(text, fault) from None


def fault_error(text: str, fault: QueryFault) -> InputError:
    """Return what is told of a fault in the text of a query."""
    return InputError(
        fault.message,
        span=place_of(text, fault.start, fault.end),
        hints=fault.hints,
        source=text,
        kind="query",
    )


def place_of(text: str, start: int, end: int) -> Span:
    """Return the place of some characters of a query."""
    before = text[:start]
    column = start - (before.rfind("\n") + 1) + 1
    length = len(text[start:end].partition("\n")[0])
    return Span(PATH, before.count("\n") + 1, column, max(length, 1))


def _parsed(text: str) -> Expression:
    rules, table = _tables()
    states = [0]
    values: list[Any] = []  # what the states but the first have read
    for token in tokens(text):
        while (action := table[states[-1]].get(token.type)) is None or action < 0:
            if action is None:
                raise _unexpected(token, values, set(table[states[-1]]))
            _reduce(rules[~action], table, states, values)
        states.append(action)
        values.append(token)
    _reduce(rules[~table[states[-1]]["$END"]], table, states, values)
    expression: Expression = values[0]
    return expression


def _reduce(
    rule: tuple[str, int, str], table: list[dict[str, int]], states: list[int], values: list[Any]
) -> None:
    """Put the last values together by `rule`."""
    symbol, length, name = rule
    children = values[-length:]
    del values[-length:], states[-length:]
    node = children[0] if name == "same" else getattr(_BUILDER, name)(children)
    values.append(checked(node) if isinstance(node, Call) else node)
    states.append(table[states[-1]].get(symbol, 0))


def _unexpected(token: Token, values: list[Any], wanted: set[str]) -> QueryFault:
    """Return what to say of a token that has no place after what has been read."""
    before = values[-1] if values and isinstance(values[-1], Token) else None
    if token.type == "END":
        return _ended(token, values, wanted)
    if token.type == "RPAR" and not any(_opens(one) for one in values):
        return QueryFault("this parenthesis closes nothing", token.start, token.end)
    if before is not None and before.type == "SET":
        return _said("`set` is followed by `(`", token, "for example `set(//a:b //c:d)`")
    if "LET" in wanted:
        after = f" after `{before.text}`" if before is not None and before.text else ""
        return _said(f"an expression is expected{after}, not `{token.text}`", token, _HINT)
    if token.type == "WORD" and not {"OP", "COMMA"}.isdisjoint(wanted):
        return _said(
            f"`{token.text}` has no place here",
            token,
            "write `+` between two patterns, or `set(//a:b //c:d)`",
        )
    if token.type == "LPAR":
        return _said("`(` follows the name of a function only", token, _HINT)
    return _said(f"`{token.text}` has no place here", token, _expected(wanted))


def _ended(token: Token, values: list[Any], wanted: set[str]) -> QueryFault:
    """Return what to say of a query that ends too early."""
    opened = next((one for one in reversed(values) if _opens(one)), None)
    place = (max(token.start - 1, 0), max(token.start, 1))
    if not values:
        return QueryFault("the query is empty", *place, hints=(_HINT,))
    if "LET" in wanted and not (isinstance(values[-1], Token) and values[-1].type == "LPAR"):
        return QueryFault("the query ends where an expression is expected", *place, hints=(_HINT,))
    if opened is not None:
        return QueryFault("this parenthesis is never closed", opened.start, opened.end)
    return QueryFault("the query ends too early", *place, hints=(_expected(wanted),))


def _opens(value: Any) -> bool:
    return isinstance(value, Token) and value.type == "LPAR"


_WORDS = {"ASSIGN": "`=`", "IN": "`in`", "WORD": "a word", "RPAR": "`)`", "COMMA": "`,`"}


def _expected(wanted: set[str]) -> str:
    named = [word for symbol, word in _WORDS.items() if symbol in wanted]
    return f"{' or '.join(named)} is expected" if named else _HINT


def _said(message: str, token: Token, hint: str) -> QueryFault:
    return QueryFault(message, token.start, token.end, hints=(hint,))


@cache
def _tables() -> tuple[list[tuple[str, int, str]], list[dict[str, int]]]:
    """Return the rules and the states of the parser."""
    place = os.path.join(os.path.dirname(__file__), "tables.json")
    with open(place, encoding="utf-8") as file:
        found = json.load(file)
    return [tuple(rule) for rule in found["rules"]], found["states"]
