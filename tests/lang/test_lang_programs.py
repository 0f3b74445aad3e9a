"""Every section of the language's specification, as programs that check themselves.

`mlbuild starlark` runs them. SECTIONS tells which program covers which section.
"""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from mlbuild import lang
from mlbuild.cli.main import main
from mlbuild.lang.builtins import UNIVERSAL

FOLDER = os.path.join(os.path.dirname(__file__), "programs")
PROGRAMS = sorted(name for name in os.listdir(FOLDER) if name.endswith(".star"))
SECTIONS = {
    "Lexical elements": ["literals"],
    "String literals, bytes literals": ["literals"],
    "Data types": ["truth", "builtins"],
    "None, booleans": ["truth", "comparison"],
    "Integers, floating-point numbers": ["numbers"],
    "Strings": ["strings"],
    "Bytes": ["bytes"],
    "Lists, tuples": ["lists"],
    "Dictionaries": ["dicts"],
    "Sets": ["sets"],
    "Functions": ["functions"],
    "Built-in functions": ["builtins", "functions"],
    "Name binding and variables": ["scopes"],
    "Identity and mutation": ["lists", "statements"],
    "Freezing a value": ["freezing"],
    "Hashing": ["dicts", "sets"],
    "Collection types, indexing": ["lists", "strings", "ranges"],
    "Literals, parenthesized expressions": ["literals"],
    "Dictionary and list expressions": ["dicts", "lists"],
    "Unary and binary operators": ["numbers", "comparison", "truth"],
    "String interpolation": ["formatting"],
    "Conditional expressions": ["truth"],
    "Comprehensions": ["comprehensions"],
    "Function and method calls": ["functions"],
    "Dot expressions": ["strings", "builtins"],
    "Index and slice expressions": ["strings", "lists", "ranges"],
    "Lambda expressions": ["functions"],
    "Assignments, augmented assignments": ["statements"],
    "Function definitions, return statements": ["functions"],
    "If statements, for loops, break and continue": ["statements"],
    "Load statements, module execution": ["loads", "freezing"],
    "Built-in constants and functions": ["builtins"],
    "Methods of strings": ["strings", "formatting"],
    "Methods of bytes": ["bytes"],
    "Methods of lists": ["lists"],
    "Methods of dicts": ["dicts"],
    "Methods of sets": ["sets"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_finds_nothing_wrong(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["starlark", "-C", FOLDER, name])

    assert capsys.readouterr().err == ""
    assert code == 0


def test_the_programs_are_run_by_the_real_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlbuild", "starlark", "statements.star"],
        cwd=FOLDER,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_each_program_covers_a_section_and_each_section_has_a_program() -> None:
    covering = {f"{name}.star" for names in SECTIONS.values() for name in names}

    assert covering == set(PROGRAMS)


@pytest.mark.parametrize(
    ("value", "programs"),
    [
        ("''", SECTIONS["Methods of strings"]),
        ("b''", SECTIONS["Methods of bytes"]),
        ("[]", SECTIONS["Methods of lists"]),
        ("{}", SECTIONS["Methods of dicts"]),
        ("set()", SECTIONS["Methods of sets"]),
    ],
)
def test_every_method_is_called_in_the_programs_of_its_type(
    value: str, programs: list[str], run: Callable[..., lang.Module]
) -> None:
    names = lang.to_python(run(f"names = dir({value})\n").globals["names"])
    text = "".join(read(f"{program}.star") for program in programs)

    assert names
    assert [name for name in names if f".{name}(" not in text] == []


def test_every_built_in_function_is_called_in_a_program() -> None:
    text = "".join(read(name) for name in PROGRAMS)

    assert [name for name in UNIVERSAL if f"{name}(" not in text] == []


def read(name: str) -> str:
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()
