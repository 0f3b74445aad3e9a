"""Running compiled files and functions, and telling where in a file something went wrong."""

import marshal
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, MappingProxyType
from typing import Any

from mlbuild.errors import InputError, Span, did_you_mean
from mlbuild.lang import arithmetic, iterate, operate
from mlbuild.lang.builtins import UNIVERSAL
from mlbuild.lang.convert import (
    freeze,
)
from mlbuild.lang.program import Program
from mlbuild.lang.thread import BORDERS, LOCAL, PLACES, STEPS, Thread, is_compiled, stack_of
from mlbuild.lang.values import Builtin, Function

_PRINT = "$print"  # global of compiled files: what their functions print to
_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class Module:
    """What a file has defined: its globals, frozen, without what it loaded."""

    path: str
    globals: Mapping[str, Any]
    doc: str = ""


def execute(
    program: Program,
    *,
    predeclared: Mapping[str, object],
    load: Callable[[str, Span], Module],
    print: Callable[[str], None],  # noqa: A002 - it is what print() calls
    steps: int = STEPS,
) -> Module:
    """Run a file and return what it defines.

    `load` is given each label text and its place, before the file runs. `predeclared` are names
    that the file sees; it may hide them by its own. Raises InputError with the place in the file.
    """
    code, free, bound, doc = marshal.loads(program.code)  # noqa: S302 - compiled by us
    namespace: dict[str, Any] = {**_BASE, **predeclared}
    for name in bound:
        namespace.pop(name, None)
    for one in program.loads:
        module = _loaded(load, one.module, one.span)
        for local, exported, span in one.names:
            namespace[local] = _exported(module, exported, span)
    for name, *at in free:
        if name not in namespace:
            span = Span(program.path, *at)
            raise _undefined(name, span, [*predeclared, *UNIVERSAL, *bound])
    namespace["__builtins__"] = {}
    namespace[PLACES] = {}
    namespace[_PRINT] = print
    _evaluate(FunctionType(code, namespace), (), {}, thread=Thread(print, steps))
    found = {name: freeze(namespace[name]) for name in bound if name in namespace}
    return Module(program.path, MappingProxyType(found), doc)


def undefined_names(program: Program, *, predeclared: Mapping[str, object]) -> list[InputError]:
    """Return an error for each name that nothing would define if `program` was run."""
    _, free, bound, _ = marshal.loads(program.code)  # noqa: S302 - compiled by us
    loaded = [local for load in program.loads for local, _, _ in load.names]
    known = [*predeclared, *UNIVERSAL, *bound, *loaded]
    names = frozenset(known)
    return [
        _undefined(name, Span(program.path, *at), known) for name, *at in free if name not in names
    ]


def _undefined(name: str, span: Span, known: list[str]) -> InputError:
    return InputError(
        f"name `{name}` is not defined",
        span=span,
        hints=_ELSEWHERE.get(name) or did_you_mean(name, known),
        kind="undefined-name",
    )


def call(
    function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, steps: int = STEPS
) -> Any:
    """Call a function of the language from Python and return its result, frozen.

    Within an evaluation, the call counts towards its steps. Raises InputError with the place of
    the error in the function's file, and the calls that led there as notes.
    """
    thread = LOCAL.thread
    if thread is None:
        says = function.python.__globals__[_PRINT] if type(function) is Function else _silent
        thread = Thread(says, steps)
    return freeze(_evaluate(function, args, kwargs, thread=thread))


def builtin(name: str, function: Callable[..., Any], *, doc: str = "") -> Builtin:
    """Return a value that calls `function` with the arguments as they are."""
    return Builtin(name, function, doc)


def _silent(_: str) -> None:
    """Print nowhere."""


def _evaluate(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    thread: Thread,
) -> Any:
    """Return function(*args, **kwargs), evaluated by `thread`."""
    outer, LOCAL.thread = LOCAL.thread, thread
    entered = len(thread.entered)
    try:
        return function(*args, **kwargs)
    except InputError as error:
        _tell_place(error)
        raise
    except (RecursionError, MemoryError, NameError, TypeError) as error:
        told = _as_input_error(error)
        if told is None:
            _tell_python_place(error)
            raise
        raise told from None
    except Exception as error:
        _tell_python_place(error)
        raise
    finally:
        LOCAL.thread = outer
        assert len(thread.entered) == entered, "a function was left without leaving it"


BORDERS.add(_evaluate.__code__)


def _loaded(load: Callable[[str, Span], Module], module: str, span: Span) -> Module:
    try:
        return load(module, span)
    except InputError as error:
        if error.span is None:
            error.span = span
        elif error.span != span:
            error.notes = (*error.notes, f"loaded at {span}")
        raise


def _exported(module: Module, name: str, span: Span) -> Any:
    if name not in module.globals:
        public = [one for one in module.globals if not one.startswith("_")]
        raise InputError(
            f"`{module.path}` defines no `{name}`",
            span=span,
            hints=did_you_mean(name, public),
            kind="bad-load",
        )
    return module.globals[name]


def _tell_place(error: InputError) -> None:
    """Add the place to an error that has none, and the calls that led there."""
    traceback = error.__traceback__
    stack, nested = stack_of(traceback.tb_next if traceback else None)
    if not stack:
        return
    if not nested:
        if error.span is None:
            error.span = stack[0][1]
        stack = stack[1:]
    error.notes = (*error.notes, *_calls(stack))


def _calls(stack: tuple[tuple[str, Span], ...]) -> tuple[str, ...]:
    """Return a note for each call that led to an error, innermost first."""
    notes = [
        f"called at {span}" + ("" if name == "the file" else f" in `{name}`")
        for name, span in stack[:_MOST_NOTES]
    ]
    if len(stack) > _MOST_NOTES:
        notes.append(f"and {len(stack) - _MOST_NOTES} more calls")
    return tuple(notes)


def _tell_python_place(error: BaseException) -> None:
    """Note on an error of Python's, which is a fault of ours, what was being evaluated."""
    stack, _ = stack_of(error.__traceback__.tb_next if error.__traceback__ else None)
    for _, span in stack[:1]:
        error.add_note(f"while evaluating {span}")


def _as_input_error(error: Exception) -> InputError | None:
    """Return what an error of Python's means in the language; None where it is a fault of ours."""
    message = _meaning(error)
    if message is None:
        return None
    told = InputError(message)
    told.__traceback__ = error.__traceback__
    _tell_place(told)
    return told.with_traceback(None)


def _meaning(error: Exception) -> str | None:
    if isinstance(error, RecursionError):
        return "this is nested too deeply"
    if isinstance(error, MemoryError):
        return "this takes more memory than there is"
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return None
    frame = traceback.tb_frame
    if not is_compiled(frame) and frame.f_code is not operate.apply.__code__:
        return None
    text = str(error)
    if isinstance(error, NameError):
        name = _QUOTED.search(text)
        return f"`{name[1] if name else text}` is used before it is assigned"
    found = _NOT_CALLABLE.search(text)
    if found:
        return f"{_TYPES.get(found[1], found[1])} cannot be called"
    found = _TWICE.search(text)
    return f"argument `{found[1]}` is given twice" if found else None


_QUOTED = re.compile(r"'([^']*)'")
_NOT_CALLABLE = re.compile(r"^'(\w+)' object is not callable")
_TWICE = re.compile(r"got multiple values for keyword argument '([^']*)'")
_TYPES = {
    "NoneType": "None",
    "str": "a string",
    "int": "an int",
    "float": "a float",
    "bool": "a bool",
    "bytes": "a bytes",
    "tuple": "a tuple",
}
_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "open": ("files are read by actions, not by BUILD files",),
    "input": ("BUILD files ask no questions",),
    "object": ("make values with struct(…)",),
    "sum": ("add up in a loop of a function",),
    "map": ("write `[f(x) for x in …]`",),
    "filter": ("write `[x for x in … if …]`",),
    "true": ("write `True`",),
    "false": ("write `False`",),
    **dict.fromkeys(("null", "nil", "none", "undefined"), ("write `None`",)),
    "isinstance": ('write `type(x) == "list"`',),
}
_BASE: dict[str, Any] = {
    **UNIVERSAL,
    "$function": Function,
    **{f"${sign}": function for sign, function in operate.OPERATORS.items()},
    **{
        f"${function.__name__}": function
        for function in (
            iterate.iterate,
            iterate.iterate_apart,
            iterate.unpack,
            operate.apply,
            operate.assign_attribute,
            operate.assignable,
            operate.attribute,
            operate.augment,
            operate.augment_item,
            arithmetic.inverse,
            operate.item,
            operate.kwargs_dict,
            arithmetic.negative,
            operate.new_dict,
            operate.new_dict_of,
            operate.new_list,
            operate.part,
            operate.place,
            arithmetic.positive,
            operate.star_args,
            operate.star_kwargs,
        )
    },
}
