"""The syntax tree of a file: frozen nodes, each with the place it stands at.

Nodes are named tuples: they are made by the hundred thousand, and a frozen dataclass costs five
times as much. `Name`, `String` and `Literal` are also tokens: the lexer makes them and the parser
takes them as they are, by their `type`.
"""

from typing import Any, NamedTuple

At = tuple[int, int, int, int]  # first line and column, last line and column after; all from 1


class Token(NamedTuple):
    """A word of the file that is no expression by itself."""

    type: str
    text: str
    at: At


class Name(NamedTuple):
    """An identifier, in an expression or bound."""

    name: str
    at: At

    @property
    def type(self) -> str:
        """The terminal that this is in the grammar."""
        return "NAME"


class String(NamedTuple):
    """A string literal."""

    value: str
    at: At

    @property
    def type(self) -> str:
        """The terminal that this is in the grammar."""
        return "STRING"


class Literal(NamedTuple):
    """A literal of int, float or bytes."""

    value: int | float | bytes
    at: At

    @property
    def type(self) -> str:
        """The terminal that this is in the grammar."""
        return "LITERAL"


class TupleExpr(NamedTuple):
    """A tuple, with or without parentheses."""

    items: "list[Expr]"
    at: At


class ListExpr(NamedTuple):
    """`[a, b]`."""

    items: "list[Expr]"
    at: At


class DictExpr(NamedTuple):
    """`{a: b}`."""

    entries: "list[tuple[Expr, Expr]]"
    at: At


class Clause(NamedTuple):
    """`for variables in source`, or `if source` where there are no variables."""

    variables: "Expr | None"
    source: "Expr"


class Comprehension(NamedTuple):
    """`[value for …]`, or `{key: value for …}`."""

    key: "Expr | None"
    value: "Expr"
    clauses: list[Clause]
    at: At


class Unary(NamedTuple):
    """`-a`, `+a`, `~a`, `not a`."""

    operator: str
    operand: "Expr"
    at: At


class Binary(NamedTuple):
    """`a + b`, and so on with every binary operator."""

    left: "Expr"
    operator: str
    right: "Expr"
    at: At
    operator_at: At


class Conditional(NamedTuple):
    """`then if condition else otherwise`."""

    condition: "Expr"
    then: "Expr"
    otherwise: "Expr"
    at: At


class Dot(NamedTuple):
    """`value.name`."""

    value: "Expr"
    name: str
    at: At
    name_at: At


class Index(NamedTuple):
    """`value[key]`."""

    value: "Expr"
    key: "Expr"
    at: At


class Slice(NamedTuple):
    """`value[start:stop:step]`."""

    value: "Expr"
    start: "Expr | None"
    stop: "Expr | None"
    step: "Expr | None"
    at: At


class Argument(NamedTuple):
    """One argument of a call: `kind` is "" for `a`, "=" for `name = a`, "*" or "**"."""

    kind: str
    name: str
    value: "Expr"
    at: At


class Call(NamedTuple):
    """`function(arguments)`."""

    function: "Expr"
    arguments: list[Argument]
    at: At


class Parameter(NamedTuple):
    """One parameter: `kind` is "", "*" (with an empty name: only a mark) or "**"."""

    kind: str
    name: str
    default: "Expr | None"
    at: At


class Lambda(NamedTuple):
    """`lambda parameters: value`."""

    parameters: list[Parameter]
    value: "Expr"
    at: At


class Expression(NamedTuple):
    """An expression as a statement."""

    value: "Expr"
    at: At


class Assign(NamedTuple):
    """`target = value`."""

    target: "Expr"
    value: "Expr"
    at: At


class Augment(NamedTuple):
    """`target += value`; the operator is without `=`."""

    target: "Expr"
    operator: str
    value: "Expr"
    at: At


class Return(NamedTuple):
    """`return value`."""

    value: "Expr | None"
    at: At


class Jump(NamedTuple):
    """`break`, `continue` or `pass`."""

    word: str
    at: At


class LoadName(NamedTuple):
    """One name of a load: `local = "exported"`."""

    local: str
    exported: str
    at: At


class LoadStatement(NamedTuple):
    """`load("module", names)`."""

    module: str
    names: list[LoadName]
    at: At
    module_at: At


class Def(NamedTuple):
    """`def name(parameters): body`."""

    name: str
    parameters: list[Parameter]
    body: "list[Statement]"
    at: At


class If(NamedTuple):
    """`if` with its `elif`s, and the `else`."""

    branches: "list[tuple[Expr, list[Statement]]]"
    otherwise: "list[Statement]"
    at: At


class For(NamedTuple):
    """`for variables in source: body`."""

    variables: "Expr"
    source: "Expr"
    body: "list[Statement]"
    at: At


Expr = (
    Name
    | String
    | Literal
    | TupleExpr
    | ListExpr
    | DictExpr
    | Comprehension
    | Unary
    | Binary
    | Conditional
    | Dot
    | Index
    | Slice
    | Call
    | Lambda
)
Statement = Expression | Assign | Augment | Return | Jump | LoadStatement | Def | If | For


def join(first: At, last: At) -> At:
    """Return the place from the start of `first` to the end of `last`."""
    return (first[0], first[1], last[2], last[3])


def deepest(tree: Any, *, limit: int) -> At | None:
    """Return the place of the first node that lies more than `limit` nodes deep."""
    pending: list[tuple[Any, int, At | None]] = [(tree, 0, None)]
    while pending:
        node, depth, near = pending.pop()
        at: At | None = getattr(node, "at", near)
        if depth > limit and at is not None:
            return at
        if isinstance(node, tuple | list):
            below = depth + hasattr(node, "at")
            pending.extend(
                (child, below, at) for child in reversed(node) if child.__class__ not in _LEAVES
            )
    return None


_LEAVES = frozenset({int, str, float, bytes, type(None)})
