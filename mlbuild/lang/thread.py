"""Who is evaluating: the steps left, the functions entered, and the places they are at.

Compiled files are Python code whose lines and columns are those of the file, so that the place of
an error is read from the traceback, and costs nothing as long as there is none.
"""

import os
import sys
from _thread import _local
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any

from mlbuild.errors import InputError, Span

STEPS = 50_000_000  # calls and iterations of one evaluation
MEMORY = 1 << 30  # bytes that this process may grow by in one evaluation
MAX_SIZE = 1 << 26  # characters of a string, bytes
MAX_ITEMS = 1 << 24  # items of a list or tuple that one operation makes
MAX_BITS = 1 << 17  # of an int
_CHEAP = 64  # characters or items that an operation goes through in one step
_BATCH = 8192  # steps from one look at the memory to the next

MODULE = "<module>"
PLACES = "$places"  # global of compiled files: positions by the id() of their code objects
_INNER = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"})


class Thread:
    """One evaluation: of a file, or of a function that the host calls."""

    __slots__ = ("entered", "grown_from", "later", "print", "steps")

    def __init__(self, print_: Callable[[str], None], steps: int) -> None:
        self.print = print_
        self.steps = min(steps, _BATCH)  # left until the next look at the memory
        self.later = steps - self.steps  # left after that
        self.grown_from = 0  # bytes of this process at the first look
        self.entered: dict[int, str] = {}  # id() of code -> name, in the order of the calls


_PAGE = os.sysconf("SC_PAGESIZE")


class _Local(_local):
    thread: Thread | None = None


LOCAL = _Local()


def spend(steps: int) -> None:
    """Count `steps` towards the limit; raise InputError beyond it."""
    thread = LOCAL.thread
    if thread is not None:
        thread.steps -= steps
        if thread.steps < 0:
            _go_on(thread)


def _go_on(thread: Thread) -> None:
    """Begin the next batch of steps; raise InputError where a limit is passed."""
    more = min(thread.later, _BATCH - thread.steps)
    thread.later -= more
    thread.steps += more
    if thread.steps < 0:
        thread.steps = 0
        raise InputError(
            "this takes too many steps", hints=("is a loop larger than it was meant to be?",)
        )
    used = _memory()
    thread.grown_from = thread.grown_from or used
    if used - thread.grown_from > MEMORY:
        raise InputError(
            f"this takes more than {MEMORY >> 20} MiB of memory",
            hints=("does a list or a string grow more than it was meant to?",),
        )


def _memory() -> int:
    """Return the bytes of memory that this process uses, 0 where the host does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def spend_on(size: int) -> None:
    """Count steps for an operation that goes through `size` characters or items."""
    if size > _CHEAP:
        spend(size // _CHEAP)


def check_size(size: int, *, limit: int, what: str) -> None:
    """Refuse to make a string or list of `size`; count steps for what is not small."""
    if size > _CHEAP:
        if size > limit:
            raise InputError(f"the {what} would have a length of {size}; the limit is {limit}")
        spend(size // _CHEAP)


def call_span() -> Span | None:
    """Return the place of the call that is being evaluated; None outside of any evaluation."""
    for frame in _frames(sys._getframe(1)):  # noqa: SLF001 - documented for such use
        return _span(frame, frame.f_lasti)
    return None


def call_stack() -> tuple[tuple[str, Span], ...]:
    """Return the functions being evaluated and the places they are at, innermost first."""
    places = [(frame, frame.f_lasti) for frame in _frames(sys._getframe(1))]  # noqa: SLF001 - as above
    return _stack(places)


def span_of(frame: FrameType) -> Span | None:
    """Return the place that the innermost compiled frame is at, from `frame` outwards."""
    for one in _frames(frame):
        return _span(one, one.f_lasti)
    return None


def stack_of(traceback: TracebackType | None) -> tuple[tuple[tuple[str, Span], ...], bool]:
    """Return the stack at an error, innermost first, and whether a nested evaluation raised it.

    A nested evaluation has already told the places that lie within it.
    """
    places: list[tuple[FrameType, int]] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code in BORDERS:
            return _stack(places[::-1]), True
        if PLACES in frame.f_globals:
            places.append((frame, traceback.tb_lasti))
        traceback = traceback.tb_next
    return _stack(places[::-1]), False


BORDERS: set[CodeType] = set()  # code of the functions that begin an evaluation


def is_compiled(frame: FrameType) -> bool:
    """Say whether `frame` runs the code of a file."""
    return PLACES in frame.f_globals


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of compiled files from `frame` outwards, up to where the file began."""
    while frame is not None:
        if PLACES in frame.f_globals:
            yield frame
            if frame.f_code.co_name == MODULE:
                return
        frame = frame.f_back


def _stack(places: list[tuple[FrameType, int]]) -> tuple[tuple[str, Span], ...]:
    """Name the frames; a comprehension is a place in its function."""
    found: list[tuple[str, Span]] = []
    inner: Span | None = None
    for frame, instruction in places:
        name = frame.f_code.co_name
        span = inner or _span(frame, instruction)
        if name in _INNER:
            inner = span
            continue
        inner = None
        found.append(("the file" if name == MODULE else name, span))
    return tuple(found)


def _span(frame: FrameType, instruction: int) -> Span:
    code = frame.f_code
    positions: dict[int, list[Any]] = frame.f_globals[PLACES]
    known = positions.get(id(code))
    if known is None:
        known = positions[id(code)] = list(code.co_positions())
    line, last_line, column, last_column = known[instruction // 2]
    if line is None or column is None or last_column is None:
        return Span(code.co_filename, line or frame.f_lineno or 1, 1)
    length = last_column - column if last_line == line else 1
    return Span(code.co_filename, line, column + 1, max(length, 1))
