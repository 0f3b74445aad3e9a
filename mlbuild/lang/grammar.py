"""From `grammar.lark` to `tables.json`, which the parser reads. The only importer of lark.

Whoever changes the grammar runs `python -m mlbuild.lang.grammar`; a test holds the two together.
"""

import json
import os
from typing import Any

from lark import Lark
from lark.lexer import Lexer

FOLDER = os.path.dirname(__file__)


def tables(folder: str = FOLDER) -> str:
    """Return the text of `tables.json` for the grammar in `folder`: the same for the same grammar.

    `states` has, for each state, what to do by the next symbol: a number from 0 on is the state to
    go to, ~n stands for the end of rule n. `rules` are (symbol, number of children, method of
    Builder that makes the node). The first state is the one to start from.
    """
    with open(os.path.join(folder, "grammar.lark"), encoding="utf-8") as file:
        parser: Any = Lark(file.read(), parser="lalr", lexer=_NoLexer).parser.parser
    found = parser._parse_table  # noqa: SLF001 - the only way to lark's tables
    start = found.start_states["start"]
    order = _order(found.states, start)
    rules = sorted(
        {
            what
            for actions in found.states.values()
            for _, what in actions.values()
            if not isinstance(what, int)
        },
        key=_written,
    )
    states = [
        {
            symbol: ~rules.index(what) if not isinstance(what, int) else order[what]
            for symbol, (_, what) in sorted(found.states[state].items())
        }
        for state in order
    ]
    described = [(one.origin.name, len(one.expansion), one.alias or _plain(one)) for one in rules]
    lines = [
        '{"rules": [',
        ",\n".join(json.dumps(one) for one in described),
        '], "states": [',
        ",\n".join(json.dumps(one, separators=(",", ":")) for one in states),
        "]}",
    ]
    return "\n".join(lines) + "\n"


def _order(states: Any, start: int) -> dict[int, int]:
    """Return new numbers for the states, by how they are reached: those of lark vary."""
    order = {start: 0}
    pending = [start]
    while pending:
        here = pending.pop(0)
        for _, (_, what) in sorted(states[here].items()):
            if isinstance(what, int) and what not in order:
                order[what] = len(order)
                pending.append(what)
    return order


def _plain(rule: Any) -> str:
    """Return the method for a rule without a name of its own: its child is its value."""
    assert len(rule.expansion) == 1, f"{_written(rule)} needs a name"
    return "same"


def _written(rule: Any) -> str:
    return f"{rule.origin.name}: {' '.join(one.name for one in rule.expansion)}"


class _NoLexer(Lexer):
    """Stands in for a lexer: nothing is parsed with lark."""

    def __init__(self, _: Any) -> None:
        """Take no notice of lark's configuration."""

    def lex(self, *_: Any) -> Any:
        """Yield nothing."""
        return iter(())


if __name__ == "__main__":
    text = tables()
    with open(os.path.join(FOLDER, "tables.json"), "w", encoding="utf-8") as out:
        out.write(text)
