"""From the words of a command line to the text of a query: short forms, and lists of patterns."""

import re
from collections.abc import Sequence

from mlbuild.core.label import parse_pattern
from mlbuild.errors import InputError
from mlbuild.query.functions import FUNCTIONS
from mlbuild.query.lexer import BARE, KEYWORDS, quoted
from mlbuild.query.parse import fault_error
from mlbuild.query.syntax import QueryFault

_BARE = re.compile(BARE)
_OPERATORS = frozenset({"+", "-", "^", "union", "except", "intersect"})
_NO_LABEL = re.compile(r"[\s()\"']|[+^=]/|[+^=]:")  # what only an expression has


def query_text(words: Sequence[str]) -> str:
    """Return the query that the words of a command line mean.

    `deps //models:lenet` is `deps(//models:lenet)`, likewise for every function; patterns side by
    side, `-` before those that are taken away, are a chain of them; all else is one expression.
    Raises InputError for words that no query can hold.
    """
    try:
        signature = FUNCTIONS.get(words[0]) if words else None
        if signature is not None and (len(words) > 1 or not signature.least):
            return f"{words[0]}({', '.join(_arguments(words[0], words[1:]))})"
        if words and words[0] == "set" and len(words) > 1 and not words[1].startswith("("):
            return f"set({' '.join(quoted(word) for word in words[1:])})"
        if all(_is_pattern(word.removeprefix("-")) for word in words):
            return patterns_text(words)
        return " ".join(words)
    except QueryFault as fault:
        raise fault_error(" ".join(words), fault) from None


def patterns_text(words: Sequence[str]) -> str:
    """Return the query for patterns, each added to or taken away from those before."""
    text = ""
    for word in words:
        pattern = quoted(word.removeprefix("-"))
        if word.startswith("-"):
            text = f"{text or 'set()'} - {pattern}"
        else:
            text = f"{text} + {pattern}" if text else pattern
    return text


def _arguments(function: str, words: Sequence[str]) -> list[str]:
    """Return the arguments of a short form; what operators join is one."""
    signature = FUNCTIONS[function]
    found: list[str] = []
    open_end = False  # whether the last argument ends in an operator
    for word in words:
        operator = word in _OPERATORS
        takes_away = word.startswith("-") and _is_pattern(word[1:])
        if found and signature.parameter(len(found) - 1).kind == "set":
            if takes_away:
                found[-1] += f" - {_argument(word[1:])}"
            elif operator or open_end:
                found[-1] += f" {word if operator else _argument(word)}"
            if takes_away or operator or open_end:
                open_end = operator
                continue
        kind = signature.parameter(len(found)).kind
        found.append(_argument(word) if kind == "set" else quoted(word))
    return found


def _argument(word: str) -> str:
    """Return a word as an expression: a label in quotes where it needs them."""
    return quoted(word) if _is_pattern(word) else word


def _is_pattern(word: str) -> bool:
    """Say whether a word of the command line is a pattern as a whole, and no expression."""
    if _BARE.fullmatch(word):
        return word not in KEYWORDS
    if not word.startswith(("//", ":")) or _NO_LABEL.search(word):
        return False
    try:
        parse_pattern(word, package="")
    except InputError:
        return False
    return True
