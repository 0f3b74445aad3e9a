"""From `grammar.lark` to `tables.json`, as `lang.grammar` does it for the BUILD language.

Whoever changes the grammar runs `python -m mlbuild.query.grammar`; a test holds the two together.
"""

import os

from mlbuild.lang import grammar

FOLDER = os.path.dirname(__file__)


def tables() -> str:
    """Return the text of `tables.json`: the same for the same grammar."""
    return grammar.tables(FOLDER)


if __name__ == "__main__":
    text = tables()
    with open(os.path.join(FOLDER, "tables.json"), "w", encoding="utf-8") as out:
        out.write(text)
