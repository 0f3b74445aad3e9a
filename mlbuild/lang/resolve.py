"""Which variable each name means, and the rules of a dialect that the grammar does not know."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from mlbuild.lang import syntax
from mlbuild.lang.dialect import Dialect
from mlbuild.lang.lexer import SyntaxFault
from mlbuild.lang.syntax import At, Expr, Name, Parameter, Statement

CONSTANTS = frozenset({"None", "True", "False"})
RESERVED = frozenset({"__builtins__", "__debug__"})  # Python gives them a meaning of its own
MAX_CLAUSES = 100  # of a comprehension


@dataclass(slots=True)
class Resolved:
    """What the names of a file mean."""

    bound: dict[str, At] = field(default_factory=dict)  # globals, and where they are first bound
    loaded: dict[str, At] = field(default_factory=dict)  # local names of loads
    free: dict[str, At] = field(default_factory=dict)  # what the host must provide: first uses


def resolve(statements: list[Statement], *, dialect: Dialect) -> Resolved:
    """Return what the names of a file mean; raise SyntaxFault where its dialect is violated."""
    resolver = _Resolver(dialect)
    resolver.file(statements)
    return resolver.found


class _Resolver:
    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.found = Resolved()
        self.scopes: list[set[str]] = []  # names of functions and comprehensions, outermost first
        self.functions = 0  # how many are around
        self.loops = 0  # in the same function
        self.uses: list[Name] = []  # of names that no function binds

    def file(self, statements: list[Statement]) -> None:
        """Resolve a whole file."""
        self._loads(statements)
        for name in _bindings(statements):
            self._bind(name)
        self.block(statements)
        for use in self.uses:
            if use.name not in self.found.bound and use.name not in self.found.loaded:
                self.found.free.setdefault(use.name, use.at)

    def _loads(self, statements: list[Statement]) -> None:
        for index, one in enumerate(statements):
            if type(one) is not syntax.LoadStatement:
                continue
            before = statements[:index] if self.dialect is Dialect.BZL else []
            if any(
                type(other) is not syntax.LoadStatement and not _is_text(other) for other in before
            ):
                raise SyntaxFault(
                    "load stands at the top of the file", one.at, ("move it above all else",)
                )
            for name in one.names:
                if name.exported.startswith("_"):
                    raise SyntaxFault(
                        f"`{name.exported}` cannot be loaded: it begins with `_`", name.at
                    )
                if not name.exported.isidentifier():
                    raise SyntaxFault(f"`{name.exported}` is not a name", name.at)
                _check_name(name.local, name.at)
                if name.local in self.found.loaded:
                    raise SyntaxFault(f"`{name.local}` is loaded twice", name.at)
                self.found.loaded[name.local] = name.at

    def _bind(self, name: Name) -> None:
        if name.name in self.found.loaded:
            raise SyntaxFault(
                f"`{name.name}` is loaded at line {self.found.loaded[name.name][0]}",
                name.at,
                ('load it by another name: `load("…", other = "name")`',),
            )
        first = self.found.bound.setdefault(name.name, name.at)
        if first != name.at and self.dialect is Dialect.BZL:
            raise SyntaxFault(
                f"`{name.name}` is already assigned at line {first[0]}",
                name.at,
                ("a global is assigned once",),
            )

    def block(self, statements: Iterable[Statement]) -> None:
        """Resolve statements in the current scope."""
        for one in statements:
            _STATEMENTS[type(one)](self, one)

    def expression(self, one: syntax.Expression) -> None:
        """Resolve an expression that stands alone."""
        self.expr(one.value)

    def assign(self, one: syntax.Assign) -> None:
        """Resolve an assignment."""
        self.expr(one.value)
        self.target(one.target)

    def augment(self, one: syntax.Augment) -> None:
        """Resolve an augmented assignment, which reads what it assigns to."""
        target = one.target
        if not self.functions and isinstance(target, Name) and self.dialect is Dialect.BZL:
            raise SyntaxFault(
                f"`{target.name}` is a global, which is assigned once",
                one.at,
                (f"write `{target.name} {one.operator} …` where it is first assigned",),
            )
        self.expr(target)
        self.expr(one.value)

    def return_(self, one: syntax.Return) -> None:
        """Resolve a return."""
        if not self.functions:
            raise SyntaxFault("`return` outside of a function", one.at)
        if one.value is not None:
            self.expr(one.value)

    def jump(self, one: syntax.Jump) -> None:
        """Check that break and continue stand in a loop."""
        if one.word != "pass" and not self.loops:
            raise SyntaxFault(f"`{one.word}` outside of a loop", one.at)

    def load(self, one: syntax.LoadStatement) -> None:
        """Check that a load stands at the top level; what it binds is known."""
        first = one.names[0]
        if self.found.loaded.get(first.local) != first.at:
            raise SyntaxFault(
                "load stands at the top of the file",
                one.at,
                ("move it out of the function, `if` or `for`",),
            )

    def def_(self, one: syntax.Def) -> None:
        """Resolve a function."""
        if self.dialect is Dialect.BUILD:
            raise SyntaxFault(
                "functions are not defined in a BUILD file",
                one.at,
                ("put it in a .bzl file and load it",),
            )
        _check_name(one.name, one.at)
        self._function(one.parameters, lambda: self.block(one.body), _bindings(one.body))

    def if_(self, one: syntax.If) -> None:
        """Resolve all branches of an if."""
        if not self.functions and self.dialect is not Dialect.PLAIN:
            raise SyntaxFault(
                "`if` stands in a function only", one.at, ("write `a if condition else b`",)
            )
        for condition, body in one.branches:
            self.expr(condition)
            self.block(body)
        self.block(one.otherwise)

    def for_(self, one: syntax.For) -> None:
        """Resolve a loop."""
        if not self.functions and self.dialect is not Dialect.PLAIN:
            hint = "write a comprehension: `[… for x in …]`"
            raise SyntaxFault("`for` stands in a function only", one.at, (hint,))
        self.expr(one.source)
        self.target(one.variables)
        self.loops += 1
        self.block(one.body)
        self.loops -= 1

    def target(self, one: Expr) -> None:
        """Resolve what is assigned to: names are bound already."""
        if isinstance(one, syntax.TupleExpr | syntax.ListExpr):
            for item in one.items:
                self.target(item)
        elif not isinstance(one, Name):
            self.expr(one)

    def expr(self, one: Expr) -> None:
        """Resolve an expression."""
        _EXPRESSIONS[type(one)](self, one)

    def name(self, one: Name) -> None:
        """Note the use of a name that no function around binds."""
        name = one.name
        if name not in CONSTANTS and not any(name in scope for scope in self.scopes):
            self.uses.append(one)

    def nothing(self, one: Expr) -> None:
        """Resolve a literal: there is nothing to resolve."""

    def items(self, one: syntax.TupleExpr | syntax.ListExpr) -> None:
        """Resolve the items of a tuple or list."""
        for item in one.items:
            self.expr(item)

    def dict_(self, one: syntax.DictExpr) -> None:
        """Resolve the keys and values of a dict."""
        for key, value in one.entries:
            self.expr(key)
            self.expr(value)

    def comprehension(self, one: syntax.Comprehension) -> None:
        """Resolve a comprehension: all but its first source see its variables."""
        if len(one.clauses) > MAX_CLAUSES:
            raise SyntaxFault("the comprehension is nested too deeply", one.at)
        self.expr(one.clauses[0].source)
        names: set[str] = set()
        for clause in one.clauses:
            if clause.variables is not None:
                names.update(name.name for name in _names(clause.variables))
        self.scopes.append(names)
        for index, clause in enumerate(one.clauses):
            if index:
                self.expr(clause.source)
            if clause.variables is not None:
                self.target(clause.variables)
        if one.key is not None:
            self.expr(one.key)
        self.expr(one.value)
        self.scopes.pop()

    def unary(self, one: syntax.Unary) -> None:
        """Resolve the operand."""
        self.expr(one.operand)

    def binary(self, one: syntax.Binary) -> None:
        """Resolve the operands; a long chain leans to the left and is walked without recursion."""
        right: list[Expr] = []
        left: Expr = one
        while type(left) is syntax.Binary:
            right.append(left.right)
            left = left.left
        self.expr(left)
        for operand in reversed(right):
            self.expr(operand)

    def conditional(self, one: syntax.Conditional) -> None:
        """Resolve the three parts."""
        self.expr(one.condition)
        self.expr(one.then)
        self.expr(one.otherwise)

    def dot(self, one: syntax.Dot) -> None:
        """Resolve the value; the name is looked up when it is evaluated."""
        self.expr(one.value)

    def index(self, one: syntax.Index) -> None:
        """Resolve the value and the key."""
        self.expr(one.value)
        self.expr(one.key)

    def slice_(self, one: syntax.Slice) -> None:
        """Resolve the value and the bounds."""
        self.expr(one.value)
        for bound in (one.start, one.stop, one.step):
            if bound is not None:
                self.expr(bound)

    def call(self, one: syntax.Call) -> None:
        """Resolve a call and check the order of its arguments."""
        self.expr(one.function)
        before = ""
        names: set[str] = set()
        for argument in one.arguments:
            kind = argument.kind
            if (
                before == "**"
                or (kind == "" and before)
                or (kind == "=" and before == "*")
                or (kind == "*" and before == "*")
            ):
                raise SyntaxFault(
                    f"{_KINDS[kind]} after {_KINDS[before]}",
                    argument.at,
                    ("the order is: positional, named, *args, **kwargs",),
                )
            if kind == "=":
                if argument.name in names:
                    raise SyntaxFault(f"argument `{argument.name}` is given twice", argument.at)
                _check_name(argument.name, argument.at)
                names.add(argument.name)
            before = kind or before
            self.expr(argument.value)

    def lambda_(self, one: syntax.Lambda) -> None:
        """Resolve a lambda."""
        if self.dialect is Dialect.BUILD:
            raise SyntaxFault(
                "functions are not defined in a BUILD file",
                one.at,
                ("put it in a .bzl file and load it",),
            )
        self._function(one.parameters, lambda: self.expr(one.value), ())

    def _function(
        self, parameters: list[Parameter], body: Callable[[], None], bound: Iterable[Name]
    ) -> None:
        _check_parameters(parameters)
        for parameter in parameters:
            if parameter.default is not None:
                self.expr(parameter.default)
        names = {parameter.name for parameter in parameters}
        for name in bound:
            _check_name(name.name, name.at)
            names.add(name.name)
        self.scopes.append(names)
        loops, self.loops = self.loops, 0
        self.functions += 1
        body()
        self.functions -= 1
        self.loops = loops
        self.scopes.pop()


_KINDS = {"": "a positional argument", "=": "a named argument", "*": "`*args`", "**": "`**kwargs`"}


def _check_parameters(parameters: list[Parameter]) -> None:
    seen: set[str] = set()
    optional = star = False
    for index, one in enumerate(parameters):
        if one.name:
            _check_name(one.name, one.at)
            if one.name in seen:
                raise SyntaxFault(f"parameter `{one.name}` is given twice", one.at)
            seen.add(one.name)
        if index and parameters[index - 1].kind == "**":
            raise SyntaxFault("no parameter follows `**kwargs`", one.at)
        if one.kind == "*":
            if star:
                raise SyntaxFault("there is one `*` parameter at most", one.at)
            star = True
            if not one.name and (index + 1 == len(parameters) or parameters[index + 1].kind):
                raise SyntaxFault("a named parameter must follow `*`", one.at)
        elif not one.kind and not star:
            if optional and one.default is None:
                raise SyntaxFault(
                    f"parameter `{one.name}` needs a default, as the one before it has", one.at
                )
            optional = one.default is not None


def _check_name(name: str, at: At) -> None:
    if name in CONSTANTS or name in RESERVED:
        raise SyntaxFault(f"`{name}` cannot be assigned to", at)


def _is_text(one: Statement) -> bool:
    return type(one) is syntax.Expression and type(one.value) is syntax.String


def _bindings(statements: Iterable[Statement]) -> list[Name]:
    """Return the names that statements bind in their own scope, in order."""
    found: list[Name] = []
    for one in statements:
        match one:
            case syntax.Assign():
                found += _names(one.target)
            case syntax.Augment():
                found += _names(one.target)
            case syntax.Def():
                found.append(Name(one.name, one.at))
            case syntax.For():
                found += [*_names(one.variables), *_bindings(one.body)]
            case syntax.If():
                for _, body in one.branches:
                    found += _bindings(body)
                found += _bindings(one.otherwise)
            case _:
                pass
    return found


def _names(target: Expr) -> list[Name]:
    """Return the names that a target binds."""
    if isinstance(target, Name):
        _check_name(target.name, target.at)
        return [target]
    if isinstance(target, syntax.TupleExpr | syntax.ListExpr):
        return [name for item in target.items for name in _names(item)]
    return []


_STATEMENTS: dict[type, Callable[[_Resolver, Any], None]] = {
    syntax.Expression: _Resolver.expression,
    syntax.Assign: _Resolver.assign,
    syntax.Augment: _Resolver.augment,
    syntax.Return: _Resolver.return_,
    syntax.Jump: _Resolver.jump,
    syntax.LoadStatement: _Resolver.load,
    syntax.Def: _Resolver.def_,
    syntax.If: _Resolver.if_,
    syntax.For: _Resolver.for_,
}
_EXPRESSIONS: dict[type, Callable[[_Resolver, Any], None]] = {
    Name: _Resolver.name,
    syntax.String: _Resolver.nothing,
    syntax.Literal: _Resolver.nothing,
    syntax.TupleExpr: _Resolver.items,
    syntax.ListExpr: _Resolver.items,
    syntax.DictExpr: _Resolver.dict_,
    syntax.Comprehension: _Resolver.comprehension,
    syntax.Unary: _Resolver.unary,
    syntax.Binary: _Resolver.binary,
    syntax.Conditional: _Resolver.conditional,
    syntax.Dot: _Resolver.dot,
    syntax.Index: _Resolver.index,
    syntax.Slice: _Resolver.slice_,
    syntax.Call: _Resolver.call,
    syntax.Lambda: _Resolver.lambda_,
}
