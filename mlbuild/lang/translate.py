"""From a syntax tree to Python code whose lines and columns are those of the file.

A name of the file is the same name in Python. What the operators do is called by names that no
file can have: they begin with `$`.
"""

import ast
from collections.abc import Callable
from types import CodeType
from typing import Any

from mlbuild.lang import syntax
from mlbuild.lang.resolve import CONSTANTS
from mlbuild.lang.syntax import At, Expr, Name, Parameter, Statement


def translate(statements: list[Statement], path: str) -> CodeType:
    """Return the code of a file; its loads are left to who runs it."""
    body = [line for one in statements if not _is_text(one) for line in _statement(one)]
    return compile(ast.Module(body, []), path, "exec", dont_inherit=True, optimize=0)


def _is_text(one: Statement) -> bool:
    return type(one) is syntax.Expression and type(one.value) is syntax.String


def _statement(one: Statement) -> list[ast.stmt]:
    return _STATEMENTS[type(one)](one)


def _block(statements: list[Statement]) -> list[ast.stmt]:
    return [line for one in statements for line in _statement(one)]


def _expression(one: syntax.Expression) -> list[ast.stmt]:
    return [ast.Expr(_expr(one.value), **_place(one.at))]


def _assign(one: syntax.Assign) -> list[ast.stmt]:
    target, value = one.target, _expr(one.value)
    if _is_compound(target):
        value = _call("unpack", [value, _shape(target)], one.at)
    return [ast.Assign([_target(target)], value, **_place(one.at))]


def _augment(one: syntax.Augment) -> list[ast.stmt]:
    target, at = one.target, one.at
    operator = _constant(one.operator, at)
    if isinstance(target, syntax.Index):
        place = _call("place", [_expr(target.value), _expr(target.key)], target.at)
        parts = [operator, place, _expr(one.value)]
        return [ast.Expr(_call("augment_item", parts, at), **_place(at))]
    if isinstance(target, syntax.Dot):
        return [ast.Assign([_target(target)], _expr(one.value), **_place(at))]
    value = _call("augment", [operator, _expr(target), _expr(one.value)], at)
    return [ast.Assign([_target(target)], value, **_place(at))]


def _return(one: syntax.Return) -> list[ast.stmt]:
    return [ast.Return(None if one.value is None else _expr(one.value), **_place(one.at))]


def _jump(one: syntax.Jump) -> list[ast.stmt]:
    kind = {"break": ast.Break, "continue": ast.Continue, "pass": ast.Pass}[one.word]
    return [kind(**_place(one.at))]


def _load(_: syntax.LoadStatement) -> list[ast.stmt]:
    return []


def _def(one: syntax.Def) -> list[ast.stmt]:
    place = _place(one.at)
    body = _block(one.body)
    kwargs = next((each for each in one.parameters if each.kind == "**"), None)
    if kwargs is not None:
        name = ast.Name(kwargs.name, ast.Store(), **_place(kwargs.at))
        start = 1 if _is_text(one.body[0]) else 0
        body.insert(start, ast.Assign([name], _kwargs(kwargs), **_place(kwargs.at)))
    decorator = ast.Name("$function", ast.Load(), **place)
    parameters = _parameters(one.parameters)
    return [ast.FunctionDef(one.name, parameters, body, [decorator], **place)]


def _kwargs(parameter: Parameter) -> ast.expr:
    given = ast.Name(parameter.name, ast.Load(), **_place(parameter.at))
    return _call("kwargs_dict", [given], parameter.at)


def _parameters(parameters: list[Parameter]) -> ast.arguments:
    found = ast.arguments([], [], None, [], [], None, [])
    star = False
    for one in parameters:
        arg = ast.arg(one.name, **_place(one.at))
        if one.kind == "**":
            found.kwarg = arg
        elif one.kind == "*":
            star = True
            found.vararg = arg if one.name else None
        elif star:
            found.kwonlyargs.append(arg)
            found.kw_defaults.append(None if one.default is None else _expr(one.default))
        else:
            found.args.append(arg)
            if one.default is not None:
                found.defaults.append(_expr(one.default))
    return found


def _if(one: syntax.If) -> list[ast.stmt]:
    otherwise = _block(one.otherwise)
    for condition, body in reversed(one.branches):
        otherwise = [ast.If(_expr(condition), _block(body), otherwise, **_place(condition.at))]
    return otherwise


def _for(one: syntax.For) -> list[ast.stmt]:
    source = _iterated(one.variables, one.source)
    return [
        ast.For(_target(one.variables), source, _block(one.body), [], **_place(one.variables.at))
    ]


def _iterated(variables: Expr, source: Expr) -> ast.expr:
    if _is_compound(variables):
        return _call("iterate_apart", [_expr(source), _shape(variables)], source.at)
    return _call("iterate", [_expr(source)], source.at)


def _is_compound(target: Expr) -> bool:
    return isinstance(target, syntax.TupleExpr | syntax.ListExpr)


def _shape(target: Expr) -> ast.expr:
    return _constant(_shape_of(target), target.at)


def _shape_of(target: Expr) -> tuple[Any, ...] | None:
    if isinstance(target, syntax.TupleExpr | syntax.ListExpr):
        return tuple(_shape_of(item) for item in target.items)
    return None


def _target(target: Expr) -> ast.expr:
    place = _place(target.at)
    match target:
        case Name():
            return ast.Name(target.name, ast.Store(), **place)
        case syntax.TupleExpr() | syntax.ListExpr():
            return ast.Tuple([_target(item) for item in target.items], ast.Store(), **place)
        case syntax.Index():
            value = _call("assignable", [_expr(target.value)], target.at)
            return ast.Subscript(value, _expr(target.key), ast.Store(), **place)
        case syntax.Dot():
            parts = [_expr(target.value), _constant(target.name, target.at)]
            refusal = _call("assign_attribute", parts, target.at)
            return ast.Subscript(refusal, _constant(None, target.at), ast.Store(), **place)
        case _:
            raise AssertionError(target)


# Expressions


def _expr(one: Expr) -> ast.expr:
    return _EXPRESSIONS[type(one)](one)


def _name(one: Name) -> ast.expr:
    if one.name in CONSTANTS:
        return _constant(_VALUES[one.name], one.at)
    return ast.Name(one.name, _LOAD, **_place(one.at))


def _literal(one: syntax.String | syntax.Literal) -> ast.expr:
    return ast.Constant(one.value, **_place(one.at))


def _tuple(one: syntax.TupleExpr) -> ast.expr:
    return ast.Tuple([_expr(item) for item in one.items], _LOAD, **_place(one.at))


def _list(one: syntax.ListExpr) -> ast.expr:
    items = ast.List([_expr(item) for item in one.items], _LOAD, **_place(one.at))
    return _call("new_list", [items], one.at)


def _dict(one: syntax.DictExpr) -> ast.expr:
    flat = [_expr(part) for entry in one.entries for part in entry]
    return _call("new_dict", [ast.List(flat, _LOAD, **_place(one.at))], one.at)


def _comprehension(one: syntax.Comprehension) -> ast.expr:
    place = _place(one.at)
    loops: list[ast.comprehension] = []
    for clause in one.clauses:
        if clause.variables is None:
            loops[-1].ifs.append(_expr(clause.source))
        else:
            source = _iterated(clause.variables, clause.source)
            loops.append(ast.comprehension(_target(clause.variables), source, [], 0))
    if one.key is None:
        return _call("new_list", [ast.ListComp(_expr(one.value), loops, **place)], one.at)
    pair = ast.Tuple([_expr(one.key), _expr(one.value)], _LOAD, **place)
    return _call("new_dict_of", [ast.ListComp(pair, loops, **place)], one.at)


def _unary(one: syntax.Unary) -> ast.expr:
    operand = _expr(one.operand)
    if one.operator == "not":
        return ast.UnaryOp(ast.Not(), operand, **_place(one.at))
    return _call(_UNARY[one.operator], [operand], one.at)


def _binary(one: syntax.Binary) -> ast.expr:
    chain: list[syntax.Binary] = []
    left: Expr = one
    while type(left) is syntax.Binary:
        chain.append(left)
        left = left.left
    found = _expr(left)
    for node in reversed(chain):
        right = _expr(node.right)
        at = node.at if node.at[0] == node.at[2] else node.operator_at
        if node.operator in _BOOLEAN:
            found = ast.BoolOp(_BOOLEAN[node.operator], [found, right], **_place(at))
        else:
            found = _call(node.operator, [found, right], at)
    return found


def _conditional(one: syntax.Conditional) -> ast.expr:
    then, otherwise = _expr(one.then), _expr(one.otherwise)
    return ast.IfExp(_expr(one.condition), then, otherwise, **_place(one.at))


def _dot(one: syntax.Dot) -> ast.expr:
    at = one.name_at
    return _call("attribute", [_expr(one.value), _constant(one.name, at)], at)


def _index(one: syntax.Index) -> ast.expr:
    return _call("item", [_expr(one.value), _expr(one.key)], one.at)


def _slice(one: syntax.Slice) -> ast.expr:
    bounds = [
        _constant(None, one.at) if bound is None else _expr(bound)
        for bound in (one.start, one.stop, one.step)
    ]
    return _call("part", [_expr(one.value), *bounds], one.at)


def _function_call(one: syntax.Call) -> ast.expr:
    function = _expr(one.function)
    at = _head(one)
    place = _place(at)
    positional: list[ast.expr] = []
    named: list[ast.keyword] = []
    star: ast.expr | None = None
    kwargs: ast.expr | None = None
    for argument in one.arguments:
        value = _expr(argument.value)
        match argument.kind:
            case "":
                positional.append(value)
            case "=":
                named.append(ast.keyword(argument.name, value, **_place(argument.at)))
            case "*":
                star = _call("star_args", [value], argument.at)
            case _:
                kwargs = _call("star_kwargs", [value], argument.at)
    if (star is not None and named) or isinstance(function, ast.Constant | ast.Tuple):
        # Python would evaluate `*args` before the named arguments that stand in front of it,
        # and it warns where what is called is a literal.
        parts = [
            function,
            ast.Tuple(positional, _LOAD, **place),
            ast.Dict(
                [_constant(each.arg, at) for each in named], [each.value for each in named], **place
            ),
            star or ast.Tuple([], _LOAD, **place),
            kwargs or ast.Dict([], [], **place),
        ]
        return _call("apply", parts, at)
    if star is not None:
        positional.append(ast.Starred(star, _LOAD, **place))
    if kwargs is not None:
        named.append(ast.keyword(None, kwargs, **place))
    return ast.Call(function, positional, named, **place)


def _head(one: syntax.Call) -> At:
    """Return the place of a call: of the function only, where the call has several lines."""
    at = one.at
    node: Expr = one
    while at[0] != at[2] and isinstance(node, syntax.Call):
        node = node.function
        at = node.at
    if at[0] != at[2] and isinstance(node, syntax.Dot):
        return node.name_at
    return at


def _lambda(one: syntax.Lambda) -> ast.expr:
    place = _place(one.at)
    body = _expr(one.value)
    kwargs = next((each for each in one.parameters if each.kind == "**"), None)
    if kwargs is not None:
        only = ast.arguments([], [ast.arg(kwargs.name, **place)], None, [], [], None, [])
        body = ast.Call(ast.Lambda(only, body, **place), [_kwargs(kwargs)], [], **place)
    return _call("function", [ast.Lambda(_parameters(one.parameters), body, **place)], one.at)


def _call(helper: str, args: list[ast.expr], at: At) -> ast.expr:
    place = _place(at)
    return ast.Call(ast.Name(f"${helper}", _LOAD, **place), args, [], **place)


def _constant(value: Any, at: At) -> ast.expr:
    return ast.Constant(value, **_place(at))


def _place(at: At) -> Any:
    return {
        "lineno": at[0],
        "col_offset": at[1] - 1,
        "end_lineno": at[2],
        "end_col_offset": at[3] - 1,
    }


_LOAD = ast.Load()
_VALUES = {"None": None, "True": True, "False": False}
_UNARY = {"-": "negative", "+": "positive", "~": "inverse"}
_BOOLEAN: dict[str, ast.boolop] = {"and": ast.And(), "or": ast.Or()}
_STATEMENTS: dict[type, Callable[[Any], list[ast.stmt]]] = {
    syntax.Expression: _expression,
    syntax.Assign: _assign,
    syntax.Augment: _augment,
    syntax.Return: _return,
    syntax.Jump: _jump,
    syntax.LoadStatement: _load,
    syntax.Def: _def,
    syntax.If: _if,
    syntax.For: _for,
}
_EXPRESSIONS: dict[type, Callable[[Any], ast.expr]] = {
    Name: _name,
    syntax.String: _literal,
    syntax.Literal: _literal,
    syntax.TupleExpr: _tuple,
    syntax.ListExpr: _list,
    syntax.DictExpr: _dict,
    syntax.Comprehension: _comprehension,
    syntax.Unary: _unary,
    syntax.Binary: _binary,
    syntax.Conditional: _conditional,
    syntax.Dot: _dot,
    syntax.Index: _index,
    syntax.Slice: _slice,
    syntax.Call: _function_call,
    syntax.Lambda: _lambda,
}
