"""`mlbuild starlark`: evaluate a plain file. This is how the language is tested from outside."""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlbuild import lang
from mlbuild.cli.options import COLOR, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, current_folder
from mlbuild.errors import InputError, Span, did_you_mean
from mlbuild.graph.files import MAX_FILE, read_source
from mlbuild.lang.faults import not_callable
from mlbuild.lang.values import equal
from mlbuild.ui.diagnose import error_lines
from mlbuild.ui.text import clean

USAGE = Usage(
    "starlark",
    "FILE",
    "Evaluate a plain file of the language that BUILD.ml is written in; `-` reads it from stdin. "
    "The file sees `assert_eq(x, y)`, `assert_(x)` and `assert_fails(f, regex)`, prints to stderr, "
    "and may load files of its own folder and those below.",
    (JSON, COLOR, FOLDER),
    most=1,
)
STDIN = "<stdin>"
_SHOWN = 60  # characters of two values that fit into a sentence
_MOST = 2000  # characters of a value that a note shows


def run(words: Words, screen: Screen) -> int:
    """Evaluate the file; show the first error, if there is one."""
    if not words.rest:
        raise InputError(
            "no file is named",
            hints=("for example `mlbuild starlark checks.star`; `-` reads stdin",),
        )
    folder = current_folder(words.text("folder"))
    began = time.monotonic()
    error: InputError | None = None
    try:
        evaluate(words.rest[0], folder, say=lambda text: screen.err.lines([clean(text)]))
    except InputError as found:
        error = found
        screen.err.lines(error_lines(error, replace(screen.place, root=folder)))
    if words.has("json"):
        seconds = round(time.monotonic() - began, 3)
        report = {"ok": error is None, "error": error and _record(error), "seconds": seconds}
        screen.out.lines([json.dumps(report)])
    return error.exit_code if error else 0


def evaluate(name: str, folder: str, *, say: Callable[[str], None]) -> lang.Module:
    """Evaluate the file `name`, relative to `folder`, and those that it loads.

    `say` is given what they print. Raises InputError for the first error.
    """
    files = _Files(folder, say)
    if name == "-":
        return files.module(STDIN, sys.stdin.buffer.read(MAX_FILE + 1))
    return files.module(name, _read(os.path.join(folder, name), name))


def _read(path: str, name: str) -> bytes:
    """Return the bytes of the file that the user names, which may be a pipe."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        known: list[str] = []
        if isinstance(error, FileNotFoundError):
            near = os.path.dirname(path)
            known = os.listdir(near) if os.path.isdir(near) else []
        raise InputError(
            f"cannot read `{name}`: {(error.strerror or 'error').lower()}",
            hints=did_you_mean(os.path.basename(path), known),
        ) from error


class _Files:
    """The modules of one run, each evaluated once."""

    def __init__(self, folder: str, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._modules: dict[str, lang.Module] = {}
        self._loading: list[str] = []

    def module(self, name: str, source: bytes) -> lang.Module:
        """Return what a file defines. Its loads start from its own folder."""
        if len(source) > MAX_FILE:
            raise InputError(f"`{name}` is too large: at most {MAX_FILE} bytes are read")
        near = "" if name == STDIN else os.path.dirname(name)
        self._loading.append(name)
        try:
            found = lang.execute(
                lang.compile_file(source, name, dialect=lang.Dialect.PLAIN),
                predeclared=PREDECLARED,
                load=lambda text, span: self._load(text, span, near=near),
                print=self._say,
            )
        finally:
            self._loading.pop()
        self._modules[name] = found
        return found

    def _load(self, text: str, span: Span, *, near: str) -> lang.Module:
        """Return the module that `load(text)` names in a file of the folder `near`."""
        parts = text.removeprefix(":").split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise InputError(
                f"`{text}` cannot be loaded: it is not the path of a file in this folder",
                span=span,
                hints=('write `load("other.star", "name")`: files of this folder and below',),
            )
        name = os.path.join(near, *parts)
        if name in self._modules:
            return self._modules[name]
        if name in self._loading:
            cycle = [*self._loading[self._loading.index(name) :], name]
            raise InputError("load cycle: " + " → ".join(cycle), span=span)
        path = os.path.join(self._folder, name)
        if not os.path.isfile(path):
            beside = os.path.dirname(path)
            known = os.listdir(beside) if os.path.isdir(beside) else []
            hints = did_you_mean(parts[-1], known)
            raise InputError(f"there is no file `{name}` to load", span=span, hints=hints)
        return self.module(name, read_source(path, shown=name, span=span))


def _record(error: InputError) -> dict[str, Any]:
    """Return an error as `--json` shows it."""
    span = error.span
    return {
        "message": error.message,
        "path": span.path if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "hints": list(error.hints),
        "notes": list(error.notes),
    }


# What a plain file sees besides what all files see


def _assert(condition: Any, message: Any = "", /) -> None:
    if not condition:
        said = lang.str_of(message) if message else f"{lang.repr_of(condition)} is not true"
        raise InputError(f"assert_: {said}")


def _assert_eq(found: Any, wanted: Any, /) -> None:
    if equal(found, wanted):
        return
    one, other = lang.repr_of(found), lang.repr_of(wanted)
    if len(one) + len(other) <= _SHOWN:
        raise InputError(f"assert_eq: {one} is not {other}")
    notes = (f"x is {_cut(one)}", f"y is {_cut(other)}")
    raise InputError("assert_eq: x and y differ", notes=notes)


def _assert_fails(function: Any, pattern: Any, /) -> None:
    if type(pattern) is not str:
        raise InputError(
            f"assert_fails takes a regular expression as a string, not {lang.repr_of(pattern)}"
        )
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise InputError(f"`{pattern}` is not a regular expression: {error.msg}") from None
    if not callable(function):
        raise not_callable(function)
    try:
        found = lang.call(function, (), {})
    except InputError as error:
        if wanted.search(error.message):
            return
        raise InputError(
            f"assert_fails: it fails with `{error.message}`, in which `{pattern}` is not found",
            notes=(f"it fails at {error.span}",) if error.span else (),
        ) from None
    raise InputError(f"assert_fails: it does not fail, it gives {_cut(lang.repr_of(found))}")


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


PREDECLARED = {
    "assert_": lang.builtin("assert_", _assert),
    "assert_eq": lang.builtin("assert_eq", _assert_eq),
    "assert_fails": lang.builtin("assert_fails", _assert_fails),
}
