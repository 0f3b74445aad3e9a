"""The nodes of the syntax tree, made as the parser finds them."""

# ruff: noqa: D102 - each method is told by the alternative of the grammar that it is named after
from typing import Any

from mlbuild.lang import syntax
from mlbuild.lang.lexer import SyntaxFault
from mlbuild.lang.syntax import At, Expr, Name, Parameter, Statement, Token, join


class _Negation(tuple[Token, Any]):
    """`not` and what follows: how far it reaches is known when its chain is."""

    __slots__ = ()


class Builder:
    """Makes the nodes: a method per alternative of the grammar, given its children."""

    @staticmethod
    def empty(_: list[Any]) -> list[Statement]:
        return []

    @staticmethod
    def whole(children: list[Any]) -> list[Statement]:
        return children[0]  # type: ignore[no-any-return]

    @staticmethod
    def lines_first(children: list[Any]) -> list[Statement]:
        return children[0]  # type: ignore[no-any-return]

    @staticmethod
    def lines_more(children: list[Any]) -> list[Statement]:
        children[0] += children[1]
        return children[0]  # type: ignore[no-any-return]

    line = suite_line = whole

    @staticmethod
    def suite_block(children: list[Any]) -> list[Statement]:
        return children[2]  # type: ignore[no-any-return]

    @staticmethod
    def first(children: list[Any]) -> list[Any]:
        return [children[0]]

    @staticmethod
    def more(children: list[Any]) -> list[Any]:
        children[0].append(children[2])
        return children[0]  # type: ignore[no-any-return]

    @staticmethod
    def pair(children: list[Any]) -> list[Any]:
        return [children[0], children[2]]

    @staticmethod
    def nothing(_: list[Any]) -> None:
        return None

    # Statements

    @staticmethod
    def def_plain(children: list[Any]) -> list[Statement]:
        word, name, _, end, _, body = children
        return [syntax.Def(name.name, [], body, join(word.at, end.at))]

    @staticmethod
    def def_params(children: list[Any]) -> list[Statement]:
        return [
            syntax.Def(
                children[1].name, children[3], children[-1], join(children[0].at, children[-3].at)
            )
        ]

    @staticmethod
    def for_loop(children: list[Any]) -> list[Statement]:
        word, variables, _, source, _, body = children
        _check_target(variables)
        return [syntax.For(variables, source, body, join(word.at, source.at))]

    @staticmethod
    def if_plain(children: list[Any]) -> list[Statement]:
        branches, at = children[0]
        return [syntax.If(branches, [], at)]

    @staticmethod
    def if_else(children: list[Any]) -> list[Statement]:
        branches, at = children[0]
        return [syntax.If(branches, children[3], at)]

    @staticmethod
    def branch_first(children: list[Any]) -> tuple[list[Any], At]:
        word, condition, _, body = children
        return [(condition, body)], word.at

    @staticmethod
    def branch_more(children: list[Any]) -> tuple[list[Any], At]:
        found, _, condition, _, body = children
        found[0].append((condition, body))
        return found  # type: ignore[no-any-return]

    @staticmethod
    def expression(children: list[Any]) -> Statement:
        return syntax.Expression(children[0], children[0].at)

    @staticmethod
    def assign(children: list[Any]) -> Statement:
        target, _, value = children
        _check_target(target)
        return syntax.Assign(target, value, join(target.at, value.at))

    @staticmethod
    def augment(children: list[Any]) -> Statement:
        target, operator, value = children
        if type(target) not in {Name, syntax.Index, syntax.Dot}:
            raise SyntaxFault(f"`{operator.text}` takes one variable on its left", target.at)
        return syntax.Augment(target, operator.text[:-1], value, join(target.at, value.at))

    @staticmethod
    def return_none(children: list[Any]) -> Statement:
        return syntax.Return(None, children[0].at)

    @staticmethod
    def return_value(children: list[Any]) -> Statement:
        return syntax.Return(children[1], join(children[0].at, children[1].at))

    @staticmethod
    def break_(children: list[Any]) -> Statement:
        return syntax.Jump(children[0].text, children[0].at)

    continue_ = pass_ = break_

    @staticmethod
    def load(children: list[Any]) -> Statement:
        module, end = children[2], children[-1]
        at = join(children[0].at, end.at)
        return syntax.LoadStatement(module.value, children[4], at, module.at)

    @staticmethod
    def load_name(children: list[Any]) -> syntax.LoadName:
        (exported,) = children
        return syntax.LoadName(exported.value, exported.value, exported.at)

    @staticmethod
    def load_renamed(children: list[Any]) -> syntax.LoadName:
        local, _, exported = children
        return syntax.LoadName(local.name, exported.value, exported.at)

    # Parameters and arguments

    @staticmethod
    def param_plain(children: list[Any]) -> Parameter:
        (name,) = children
        return Parameter("", name.name, None, name.at)

    @staticmethod
    def param_default(children: list[Any]) -> Parameter:
        name, _, default = children
        return Parameter("", name.name, default, name.at)

    @staticmethod
    def param_star(children: list[Any]) -> Parameter:
        return Parameter("*", "", None, children[0].at)

    @staticmethod
    def param_args(children: list[Any]) -> Parameter:
        return Parameter("*", children[1].name, None, children[1].at)

    @staticmethod
    def param_kwargs(children: list[Any]) -> Parameter:
        return Parameter("**", children[1].name, None, children[1].at)

    @staticmethod
    def arg_plain(children: list[Any]) -> syntax.Argument:
        return syntax.Argument("", "", children[0], children[0].at)

    @staticmethod
    def arg_named(children: list[Any]) -> syntax.Argument:
        name, _, value = children
        return syntax.Argument("=", name.name, value, name.at)

    @staticmethod
    def arg_args(children: list[Any]) -> syntax.Argument:
        return syntax.Argument("*", "", children[1], join(children[0].at, children[1].at))

    @staticmethod
    def arg_kwargs(children: list[Any]) -> syntax.Argument:
        return syntax.Argument("**", "", children[1], join(children[0].at, children[1].at))

    # Expressions

    @staticmethod
    def tuple_(children: list[Any]) -> Expr:
        items = children[0]
        return syntax.TupleExpr(items, join(items[0].at, items[-1].at))

    @staticmethod
    def conditional(children: list[Any]) -> Expr:
        then, _, condition, _, otherwise = children
        return syntax.Conditional(condition, then, otherwise, join(then.at, otherwise.at))

    @staticmethod
    def lambda_plain(children: list[Any]) -> Expr:
        return syntax.Lambda([], children[2], join(children[0].at, children[2].at))

    @staticmethod
    def lambda_params(children: list[Any]) -> Expr:
        return syntax.Lambda(children[1], children[-1], join(children[0].at, children[-1].at))

    @staticmethod
    def operation(children: list[Any]) -> list[Any]:
        children[0] += children[1:]
        return children[0]  # type: ignore[no-any-return]

    @staticmethod
    def operation_not_in(children: list[Any]) -> list[Any]:
        chain, word, in_, right = children
        chain += [Token("OP", "not in", join(word.at, in_.at)), right]
        return chain  # type: ignore[no-any-return]

    @staticmethod
    def ordered(children: list[Any]) -> Expr:
        chain = children[0]
        if len(chain) == 1 and type(chain[0]) is not _Negation:
            return chain[0]  # type: ignore[no-any-return]
        return _ordered(chain)

    @staticmethod
    def unary(children: list[Any]) -> Expr:
        sign, operand = children
        if type(operand) is _Negation:
            raise SyntaxFault("`not` cannot stand here", operand[0].at, ("put it in parentheses",))
        return syntax.Unary(sign.text, operand, join(sign.at, operand.at))

    @staticmethod
    def negation(children: list[Any]) -> _Negation:
        return _Negation(children)

    @staticmethod
    def dot(children: list[Any]) -> Expr:
        value, _, name = children
        return syntax.Dot(value, name.name, join(value.at, name.at), name.at)

    @staticmethod
    def call_plain(children: list[Any]) -> Expr:
        return syntax.Call(children[0], [], join(children[0].at, children[2].at))

    @staticmethod
    def call(children: list[Any]) -> Expr:
        return syntax.Call(children[0], children[2], join(children[0].at, children[-1].at))

    @staticmethod
    def index(children: list[Any]) -> Expr:
        return syntax.Index(children[0], children[2], join(children[0].at, children[3].at))

    @staticmethod
    def slice_(children: list[Any]) -> Expr:
        value, _, start, _, stop, end = children
        return syntax.Slice(value, start, stop, None, join(value.at, end.at))

    @staticmethod
    def slice_step(children: list[Any]) -> Expr:
        value, _, start, _, stop, _, step, end = children
        return syntax.Slice(value, start, stop, step, join(value.at, end.at))

    @staticmethod
    def paren_empty(children: list[Any]) -> Expr:
        return syntax.TupleExpr([], join(children[0].at, children[1].at))

    @staticmethod
    def paren(children: list[Any]) -> Expr:
        left, value, right = children
        return value._replace(at=join(left.at, right.at))  # type: ignore[no-any-return]

    @staticmethod
    def paren_one(children: list[Any]) -> Expr:
        return syntax.TupleExpr([children[1]], join(children[0].at, children[3].at))

    @staticmethod
    def paren_tuple(children: list[Any]) -> Expr:
        return syntax.TupleExpr(children[1], join(children[0].at, children[3].at))

    @staticmethod
    def list_empty(children: list[Any]) -> Expr:
        return syntax.ListExpr([], join(children[0].at, children[1].at))

    @staticmethod
    def list_(children: list[Any]) -> Expr:
        return syntax.ListExpr(children[1], join(children[0].at, children[-1].at))

    @staticmethod
    def list_comprehension(children: list[Any]) -> Expr:
        left, value, clauses, right = children
        return syntax.Comprehension(None, value, clauses, join(left.at, right.at))

    @staticmethod
    def dict_empty(children: list[Any]) -> Expr:
        return syntax.DictExpr([], join(children[0].at, children[1].at))

    @staticmethod
    def dict_(children: list[Any]) -> Expr:
        return syntax.DictExpr(children[1], join(children[0].at, children[-1].at))

    @staticmethod
    def dict_comprehension(children: list[Any]) -> Expr:
        left, key, _, value, clauses, right = children
        return syntax.Comprehension(key, value, clauses, join(left.at, right.at))

    @staticmethod
    def entry_first(children: list[Any]) -> list[Any]:
        return [(children[0], children[2])]

    @staticmethod
    def entry_more(children: list[Any]) -> list[Any]:
        children[0].append((children[2], children[4]))
        return children[0]  # type: ignore[no-any-return]

    @staticmethod
    def clause_first(children: list[Any]) -> list[Any]:
        _check_target(children[1])
        return [syntax.Clause(children[1], children[3])]

    @staticmethod
    def clause_for(children: list[Any]) -> list[Any]:
        _check_target(children[2])
        children[0].append(syntax.Clause(children[2], children[4]))
        return children[0]  # type: ignore[no-any-return]

    @staticmethod
    def clause_if(children: list[Any]) -> list[Any]:
        children[0].append(syntax.Clause(None, children[2]))
        return children[0]  # type: ignore[no-any-return]


_NOT = 3
_COMPARISON = 4
_BINDS = {
    "or": 1,
    "and": 2,
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "in", "not in"), _COMPARISON),
    "|": 5,
    "^": 6,
    "&": 7,
    "<<": 8,
    ">>": 8,
    "+": 9,
    "-": 9,
    "*": 10,
    "/": 10,
    "//": 10,
    "%": 10,
}


def _ordered(chain: list[Any]) -> Expr:
    """Return the tree of operands, at even places, and operators, by how strongly they bind."""
    operands: list[Any] = []
    waiting: list[tuple[int, Token]] = []
    _operand(chain[0], operands, waiting)
    for place in range(1, len(chain), 2):
        operator = chain[place]
        strength = _BINDS[operator.text]
        while waiting and waiting[-1][0] >= strength:
            if waiting[-1][0] == strength == _COMPARISON:
                raise SyntaxFault(
                    "comparisons cannot be chained", operator.at, ("write `a < b and b < c`",)
                )
            _reduce(operands, waiting)
        waiting.append((strength, operator))
        _operand(chain[place + 1], operands, waiting)
    while waiting:
        _reduce(operands, waiting)
    return operands[0]  # type: ignore[no-any-return]


def _operand(operand: Any, operands: list[Any], waiting: list[tuple[int, Token]]) -> None:
    while type(operand) is _Negation:
        word, operand = operand
        if waiting and waiting[-1][0] > _NOT:
            raise SyntaxFault("`not` cannot stand here", word.at, ("put it in parentheses",))
        waiting.append((_NOT, word))
    operands.append(operand)


def _reduce(operands: list[Any], waiting: list[tuple[int, Token]]) -> None:
    strength, operator = waiting.pop()
    right = operands.pop()
    if strength == _NOT:
        operands.append(syntax.Unary("not", right, join(operator.at, right.at)))
        return
    left = operands.pop()
    operands.append(syntax.Binary(left, operator.text, right, join(left.at, right.at), operator.at))


def _check_target(target: Expr) -> None:
    """Raise where `target` is not something that can be assigned to."""
    if isinstance(target, Name):
        if target.name in CONSTANTS:
            raise SyntaxFault(f"`{target.name}` cannot be assigned to", target.at)
    elif isinstance(target, syntax.TupleExpr | syntax.ListExpr):
        for item in target.items:
            _check_target(item)
    elif not isinstance(target, syntax.Index | syntax.Dot):
        what = _ASSIGNED.get(type(target), "an expression")
        raise SyntaxFault(f"{what} cannot be assigned to", target.at)


_ASSIGNED: dict[type, str] = {
    syntax.Call: "a call",
    syntax.String: "a string",
    syntax.Literal: "a literal",
    syntax.DictExpr: "a dict",
    syntax.Slice: "a slice",
    syntax.Comprehension: "a comprehension",
}
CONSTANTS = frozenset({"None", "True", "False"})
