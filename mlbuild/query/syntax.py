"""Syntax: what a query is made of, and the nodes that the parser makes."""

from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 100  # calls within calls, lets within lets


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a sign of a query. `start` and `end` count its characters from 0, quotes included.

    The type is a symbol of the grammar; `text` is without quotes.
    """

    type: str
    text: str
    start: int
    end: int


class QueryFault(Exception):  # noqa: N818 - it never leaves the package
    """What is wrong with the text of a query, and from where to where."""

    def __init__(self, message: str, start: int, end: int, *, hints: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hints = hints


@dataclass(frozen=True, slots=True)
class Word:
    """A pattern or, in a call, what the function takes for it."""

    token: Token
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of a name that a `let` around it defines."""

    name: str
    token: Token
    depth: int = 0


@dataclass(frozen=True, slots=True)
class SetOf:
    """`set(a b c)`: all that patterns select."""

    words: tuple[Token, ...]
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """`a + b - c`: operators and their right sides, applied one after the other."""

    first: "Expression"
    rest: tuple[tuple[str, "Expression"], ...]  # operator: + - ^
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Let:
    """`let name = value in body`."""

    name: Token
    value: "Expression"
    body: "Expression"
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what it is given; `functions.checked` has seen to it that they fit."""

    name: Token
    arguments: tuple["Expression", ...]
    depth: int = 0


Expression = Word | Variable | SetOf | Chain | Let | Call

_OPERATORS = {"union": "+", "intersect": "^", "except": "-"}


@dataclass(slots=True)
class _Links:
    """A chain while it is read."""

    first: Expression
    rest: list[tuple[str, Expression]] = field(default_factory=list)
    depth: int = 0


class Builder:
    """Makes a node of its children, once for each rule of the grammar."""

    def whole(self, parts: list[Any]) -> Expression:
        """Return the query."""
        expression: Expression = _closed(parts[0])
        return expression

    def joined(self, parts: list[Any]) -> _Links:
        """Return a chain with one more link."""
        left, operator, right = parts
        links = left if isinstance(left, _Links) else _Links(left, depth=left.depth)
        links.rest.append((_OPERATORS.get(operator.text, operator.text), _closed(right)))
        links.depth = max(links.depth, right.depth)
        return links

    def let(self, parts: list[Any]) -> Let:
        """Return a variable and where it holds."""
        let, name, _, value, _, body = parts
        if (
            not name.text.isidentifier()
            or not name.text.isascii()
            or name.end - name.start != len(name.text)
        ):
            raise QueryFault(
                f"`{name.text}` cannot be the name of a variable",
                name.start,
                name.end,
                hints=("write `let x = //models/... in deps($x)`",),
            )
        return Let(name, _closed(value), _closed(body), _below(let, value, body))

    def word(self, parts: list[Any]) -> Word | Variable:
        """Return a pattern, or the value of a variable."""
        (token,) = parts
        if token.text.startswith("$") and token.end - token.start == len(token.text):
            return Variable(token.text[1:], token)
        return Word(token)

    def call_empty(self, parts: list[Any]) -> Call:
        """Return the call of a function that is given nothing."""
        return Call(parts[0], ())

    def call(self, parts: list[Any]) -> Call:
        """Return the call of a function."""
        arguments = tuple(_closed(one) for one in parts[2])
        return Call(parts[0], arguments, _below(parts[0], *arguments))

    def inner(self, parts: list[Any]) -> Expression:
        """Return what stands in parentheses."""
        inner: Expression = _closed(parts[1])
        _below(parts[0], inner)
        return inner

    def set_empty(self, _: list[Any]) -> SetOf:
        """Return the empty set."""
        return SetOf(())

    def set_of(self, parts: list[Any]) -> SetOf:
        """Return the set of what words select."""
        return SetOf(tuple(parts[2]))

    def first(self, parts: list[Any]) -> list[Any]:
        """Return a list of one."""
        return [parts[0]]

    def more(self, parts: list[Any]) -> list[Any]:
        """Return a list with one more, whether or not a comma stands between."""
        parts[0].append(parts[-1])
        found: list[Any] = parts[0]
        return found


def _closed(node: Any) -> Any:
    """Return a node that is complete."""
    return Chain(node.first, tuple(node.rest), node.depth) if isinstance(node, _Links) else node


def _below(token: Token, *nodes: Any) -> int:
    """Return the depth of what holds `nodes`; raise QueryFault where it is more than is read."""
    depth: int = 1 + max(node.depth for node in nodes)
    if depth > MAX_DEPTH:
        raise QueryFault(f"the query is nested more than {MAX_DEPTH} deep", token.start, token.end)
    return depth
