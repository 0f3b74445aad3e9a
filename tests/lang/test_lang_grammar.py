"""The tables that the parser reads are those of the grammar."""

import os

from mlbuild.lang import grammar


def test_the_tables_are_those_of_the_grammar() -> None:
    with open(os.path.join(grammar.FOLDER, "tables.json"), encoding="utf-8") as file:
        kept = file.read()

    assert kept == grammar.tables(), "run `python -m mlbuild.lang.grammar`"
