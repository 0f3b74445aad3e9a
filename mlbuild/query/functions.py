"""Functions of the query language: what each takes and gives, for checks, help and completion."""

from dataclasses import dataclass
from typing import Literal

from mlbuild.errors import near
from mlbuild.query.syntax import Call, Expression, QueryFault, Word

Kind = Literal["set", "word", "number"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """What stands in one place of a call: targets, a word, or a whole number."""

    name: str
    kind: Kind = "set"
    optional: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """A function: what it takes, and what it gives in a sentence."""

    parameters: tuple[Parameter, ...]
    doc: str
    example: str

    @property
    def least(self) -> int:
        """How many arguments must be given."""
        return sum(not one.optional for one in self.parameters)

    @property
    def most(self) -> int | None:
        """How many may be given; None is any number."""
        return None if any(one.many for one in self.parameters) else len(self.parameters)

    def parameter(self, index: int) -> Parameter:
        """Return what stands in the place `index`, the last one where there may be many."""
        return self.parameters[min(index, len(self.parameters) - 1)]

    def shown(self, name: str) -> str:
        """Return the call as documents write it: `deps(x[, n])`."""
        text = ""
        for index, one in enumerate(self.parameters):
            part = f"{', ' if index else ''}{one.name}{', …' if one.many else ''}"
            text += f"[{part}]" if one.optional else part
        return f"{name}({text})"


_X = Parameter("x")
_N = Parameter("n", "number", optional=True)
_PATTERN = Parameter("regex", "word")
FUNCTIONS: dict[str, Signature] = {
    "affected": Signature(
        (Parameter("rev", "word"),),
        "the targets that are defined otherwise than in the commit `rev`",
        "affected(main)",
    ),
    "allpaths": Signature(
        (Parameter("from"), Parameter("to")),
        "everything on any way from a target of `from` to one of `to`",
        "allpaths(//reports/..., //data:mnist)",
    ),
    "allrdeps": Signature(
        (_X, _N), "what depends on `x` in all of the workspace", "allrdeps(//data:mnist)"
    ),
    "attr": Signature(
        (Parameter("name", "word"), _PATTERN, _X),
        "the targets of `x` whose attribute `name` matches",
        'attr(tags, "[\\[ ]slow[,\\]]", //...)',
    ),
    "buildfiles": Signature(
        (_X,),
        "the BUILD.ml files that declare `x`, and the .bzl files that they load",
        "buildfiles(deps(//models:lenet))",
    ),
    "cached": Signature(
        (Parameter("x", optional=True),),
        "the targets, of `x` or of all, whose results are known",
        "cached()",
    ),
    "deps": Signature(
        (_X, _N), "`x` and all that it depends on, at most `n` steps away", "deps(//models:lenet)"
    ),
    "filter": Signature(
        (_PATTERN, _X), "what has a label that matches", 'filter("\\.csv$", deps(//models:lenet))'
    ),
    "inputs": Signature(
        (_X,),
        "the files and folders of the workspace that `x` is made from",
        "inputs(//models:lenet)",
    ),
    "kind": Signature(
        (_PATTERN, _X),
        "what is of a kind: `train rule`, `source file`, `generated file`, `package group`",
        "kind(train, //...)",
    ),
    "labels": Signature(
        (Parameter("name", "word"), _X),
        "what the attribute `name` of the targets of `x` names",
        "labels(data, //models:lenet)",
    ),
    "loadfiles": Signature(
        (_X,), "the .bzl files that the packages of `x` load", "loadfiles(//models:lenet)"
    ),
    "owner": Signature(
        (Parameter("file", "word"),),
        "the targets that name a file, or a folder that holds it",
        "owner(models/train.py)",
    ),
    "params": Signature(
        (Parameter("key", "word"), Parameter("value", "word"), _X),
        "the targets of `x` whose parameter `key` has a value",
        "params(optimizer.lr, 0.1, //...)",
    ),
    "rbuildfiles": Signature(
        (Parameter("file", "word", many=True),),
        "the BUILD.ml files that a BUILD.ml or .bzl file takes part in",
        "rbuildfiles(tools/defs.bzl)",
    ),
    "rdeps": Signature(
        (Parameter("universe"), _X, _N),
        "what depends on `x` among `universe` and all that it depends on",
        "rdeps(//reports/..., //data:mnist)",
    ),
    "same_pkg_direct_rdeps": Signature(
        (_X,),
        "the targets that name one of `x` and lie in its package",
        "same_pkg_direct_rdeps(//models:train.py)",
    ),
    "siblings": Signature(
        (_X,), "all targets and files of the packages of `x`", "siblings(//models:lenet)"
    ),
    "some": Signature(
        (_X, _N), "the first of `x` by label, or the first `n`", "some(kind(train, //...))"
    ),
    "somepath": Signature(
        (Parameter("from"), Parameter("to")),
        "a shortest way from a target of `from` to one of `to`",
        "somepath(//reports:paper, //data:mnist)",
    ),
    "stale": Signature(
        (Parameter("x", optional=True),),
        "the targets, of `x` or of all, that a build would run",
        "stale()",
    ),
    "tests": Signature(
        (_X,),
        "the checks among `x`, each test_suite replaced by what it lists",
        "tests(//...)",
    ),
    "visible": Signature(
        (Parameter("from"), _X),
        "what of `x` all of `from` may name",
        "visible(//reports:paper, //models:all)",
    ),
}


def checked(call: Call) -> Call:
    """Return `call` where its function takes what it is given; raise QueryFault where not."""
    name = call.name
    signature = FUNCTIONS.get(name.text)
    if signature is None:
        close = near(name.text, list(FUNCTIONS))
        hint = f"did you mean `{close}`?" if close else f"there are: {', '.join(FUNCTIONS)}"
        raise QueryFault(f"there is no function `{name.text}`", name.start, name.end, hints=(hint,))
    count, least, most = len(call.arguments), signature.least, signature.most
    if count < least or (most is not None and count > most):
        raise QueryFault(
            f"`{name.text}` takes {_amount(least, most)}, not {count}",
            name.start,
            name.end,
            hints=(f"it is `{signature.shown(name.text)}`", f"for example `{signature.example}`"),
        )
    for index, argument in enumerate(call.arguments):
        _check(name.text, signature.parameter(index), argument)
    return call


def _check(function: str, parameter: Parameter, argument: Expression) -> None:
    """Raise QueryFault where an argument is not what its place takes."""
    if parameter.kind == "set":
        return
    what = "a whole number" if parameter.kind == "number" else "a word"
    place = span_of(argument)
    if not isinstance(argument, Word):
        raise QueryFault(
            f"`{parameter.name}` of `{function}` is {what}, not an expression",
            *place,
            hints=(f"for example `{FUNCTIONS[function].example}`",),
        )
    text = argument.token.text
    if parameter.kind == "number" and not (text.isascii() and text.isdigit() and len(text) <= 9):  # noqa: PLR2004 - more is no depth
        raise QueryFault(
            f"`{parameter.name}` of `{function}` is {what}, not `{text}`",
            *place,
            hints=(f"it is `{FUNCTIONS[function].shown(function)}`",),
        )


def span_of(node: Expression) -> tuple[int, int]:
    """Return where the text of an expression begins, and the end of its first word."""
    while True:
        token = getattr(node, "token", None) or getattr(node, "name", None)
        if token is not None:
            return token.start, token.end
        words = getattr(node, "words", None)
        if words is not None:
            return (words[0].start, words[0].end) if words else (0, 1)
        node = node.first  # type: ignore[union-attr]  # a chain is what is left


def _amount(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least} argument{'' if least == 1 else 's'}"
    if least == most:
        return f"{least} argument{'' if least == 1 else 's'}"
    return f"{least} to {most} arguments" if most - least > 1 else f"{least} or {most} arguments"
