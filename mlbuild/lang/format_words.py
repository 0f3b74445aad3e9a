"""The words of a file as they are written, each with the comments that belong to it."""

import re
from typing import NamedTuple

from mlbuild.lang.lexer import Word as Token
from mlbuild.lang.lexer import words
from mlbuild.lang.syntax import At


class Remark(NamedTuple):
    """A comment on a line of its own or, where its text is empty, a blank line."""

    text: str
    column: int  # from 0
    end: int  # offset in the file


class Word(NamedTuple):
    """A word as it is written."""

    type: str  # the terminal that it is in the grammar
    text: str
    at: At
    start: int  # offsets in the file
    end: int  # behind the comment of its line, if there is one
    above: tuple[Remark, ...] = ()  # the lines between the word before, or its line, and this one
    behind: str = ""  # the comment on the rest of its line


def read_words(text: str) -> list[Word]:
    """Return the words of a file, which fits the grammar and ends in a line feed.

    The last word is END. Comments at the end of a block stand above its DEDENT.
    """
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    reader = _Reader(text)
    for token in words(text):
        first_line, column, last_line, last_column = token.at
        start = starts[first_line - 1] + column - 1
        reader.add(token, start, starts[last_line - 1] + last_column - 1)
    reader.add(None, len(text), len(text))
    return reader.found


def comment_words(text: str) -> list[str]:
    """Return the words of all comments of a file, sorted: two comments may come on one line."""
    found: list[str] = []
    for word in read_words(text):
        for comment in (*(remark.text for remark in word.above), word.behind):
            found += comment.split()
    return sorted(found)


class _Reader:
    """Gives what stands between two words, which is space and comments, to one of them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[Word] = []
        self.end = 0  # of the last word that takes room
        self.fresh = True  # that word was the end of a line
        self.indents: list[int] = []
        self.closed: list[int] = []  # indents of the blocks that the next word is not in

    def add(self, token: Token | None, start: int, end: int) -> None:
        """Add a token that reaches from `start` to `end`, or the END."""
        if token is not None and token.type == "INDENT":
            self.indents.append(token.at[3] - 1)
            self.found.append(Word("INDENT", "", token.at, start, start))
        elif token is not None and token.type == "DEDENT":
            self.closed.append(self.indents.pop())
            self.found.append(Word("DEDENT", "", token.at, start, start))
        else:
            self._add(token, start, end)

    def _add(self, token: Token | None, start: int, end: int) -> None:
        above, behind = self._between(start)
        is_line_end = token is not None and token.type == "NEWLINE"
        if is_line_end:  # a comment below a backslash is the last of its line
            behind = behind or next((remark.text for remark in above if remark.text), "")
            above = []
        if behind:
            last = self.found[-1]
            self.found[-1] = last._replace(behind=behind, end=start)
        above = self._below_blocks(above)
        if token is None:
            self.found.append(Word("END", "", (0, 0, 0, 0), start, end, tuple(above)))
        else:
            text = "" if is_line_end else self.text[start:end]
            reach = start if is_line_end else end
            self.found.append(Word(token.type, text, token.at, start, reach, tuple(above)))
        self.end, self.fresh = end, is_line_end

    def _between(self, start: int) -> tuple[list[Remark], str]:
        """Return the remarks above the word at `start`, and the comment behind the one before."""
        above: list[Remark] = []
        behind = ""
        at = self.end
        lines = self.text[at:start].split("\n")
        for number, line in enumerate(lines):
            text = line.strip()
            if number == 0 and not self.fresh:
                behind = text if text.startswith("#") else ""
            elif text.startswith("#"):
                above.append(Remark(text, len(line) - len(line.lstrip()), at + len(line.rstrip())))
            elif not text and number < len(lines) - 1:
                above.append(Remark("", 0, at))
            at += len(line) + 1
        return above, behind

    def _below_blocks(self, above: list[Remark]) -> list[Remark]:
        """Give remarks that are indented like a closed block to its DEDENT; return the others."""
        first = len(self.found) - len(self.closed)
        for place, indent in enumerate(self.closed, first):
            count = 0
            for number, remark in enumerate(above, 1):
                if remark.text and remark.column < indent:
                    break
                count = number if remark.text else count
            self.found[place] = self.found[place]._replace(above=tuple(above[:count]))
            above = above[count:]
        self.closed.clear()
        return above
