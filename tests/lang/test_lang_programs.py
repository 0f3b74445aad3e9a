"""Every section of the language's specification, as programs that check themselves."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from mlbuild import lang
from mlbuild.errors import InputError

FOLDER = os.path.join(os.path.dirname(__file__), "programs")
PROGRAMS = sorted(name for name in os.listdir(FOLDER) if name.endswith(".star"))


def check(condition: Any, message: str = "it is false") -> None:
    if not condition:
        raise InputError(message)


def check_equal(found: Any, wanted: Any) -> None:
    same = lang.repr_of(found) == lang.repr_of(wanted)
    if lang.type_name(found) != lang.type_name(wanted) or not same:
        raise InputError(f"{lang.repr_of(found)} is not {lang.repr_of(wanted)}")


def check_fails(function: Callable[[], Any], message: str) -> None:
    try:
        found = lang.call(function, (), {})
    except InputError as error:
        if message in error.message:
            return
        raise InputError(f"it fails with {error.message!r}, not {message!r}") from None
    raise InputError(f"it gives {lang.repr_of(found)} instead of failing")


NAMES = {
    "assert_": lang.builtin("assert_", check),
    "assert_eq": lang.builtin("assert_eq", check_equal),
    "assert_fails": lang.builtin("assert_fails", check_fails),
    "freeze": lang.builtin("freeze", lang.freeze),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_finds_nothing_wrong(name: str, run: Callable[..., lang.Module]) -> None:
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        source = file.read()

    module = run(source, path=name, names=NAMES)

    assert module.doc, "each program says what it is about"
