"""Regex: the regular expressions of queries."""

import re

from mlbuild.errors import InputError


def compiled(regex: str) -> re.Pattern[str]:
    """Return a regular expression; raise InputError for what is none."""
    try:
        return re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(
            f"`{regex}` is not a regular expression: {error}",
            hints=("a dot before `*` stands for any letter: `.*_eval`",)
            if regex.startswith("*")
            else (),
        ) from None
