"""From the lines of a file to its text, laid out as buildifier lays out BUILD files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from mlbuild.lang.dialect import Dialect
from mlbuild.lang.format_read import (
    INDENT,
    Block,
    Group,
    Item,
    Line,
    Part,
    attribute_of,
    first_word,
    is_load,
    is_operand,
    lambdas_after,
)
from mlbuild.lang.format_words import Remark, Word

Start = tuple[int, int]  # line and column
Wrapped = Mapping[Start, Start]  # where an operation of several lines starts, and where it ends


def layout(block: Block, wrapped: Wrapped, *, dialect: Dialect) -> str:
    """Return the text of a file."""
    page = _Page(wrapped, dialect)
    page.block(block, 0)
    return "".join(f"{line}\n" for line in page.lines)


class _Page:
    def __init__(self, wrapped: Wrapped, dialect: Dialect) -> None:
        self.wrapped = wrapped
        self.is_build = dialect is Dialect.BUILD
        self.lines: list[str] = []
        self.current = ""  # the line that is being written
        self.behind: list[str] = []  # comments that it will end with

    # Statements

    def block(self, block: Block, depth: int) -> None:
        """Write the statements of one indentation and the comments below them."""
        margin = INDENT * depth
        before: Line | None = None
        for line in block.lines:
            self._own_lines(_above(before, line, targets=self.is_build and not depth), margin)
            self._line(line, depth)
            before = line
        self._own_lines(_trimmed(block.end.above, first=before is None, last=True), margin)

    def _line(self, line: Line, depth: int) -> None:
        """Write a statement and, if it has one, its body."""
        margin = INDENT * depth
        self.current = " " * margin
        if line.verbatim:
            self._write(line.verbatim)
        else:
            self._parts(line.parts, margin, flat=True)
        self._end()
        if line.body is not None:
            self.block(line.body, depth + 1)

    # Text

    def _write(self, text: str) -> None:
        *lines, last = text.split("\n")
        for line in lines:
            self.lines.append(self.current + line)
            self.current = ""
        self.current += last

    def _word(self, word: Word) -> None:
        self._write(quoted(word.text))
        if word.behind:
            self.behind.append(word.behind)

    def _end(self) -> None:
        """End the line that is being written."""
        self.lines.append("  ".join([self.current, *self.behind]))
        self.current = ""
        self.behind = []

    def _own_lines(self, comments: Iterable[str], margin: int) -> None:
        """Write comments and blank lines."""
        self.lines += [" " * margin + comment if comment else "" for comment in comments]

    # Expressions

    def _parts(
        self, parts: Sequence[Part], margin: int, *, flat: bool = False, index: bool = False
    ) -> None:
        """Write words and brackets in a row; the line breaks between them stay.

        `flat`: outside of all brackets, where only a backslash continues a line. `index`: colons
        are those of a slice.
        """
        inside: list[tuple[Start, int]] = []  # ends of wrapped operations, and their columns
        hang = margin
        broken = tight = False
        lambdas = 0
        for at, part in enumerate(parts):
            while inside and inside[-1][0] <= part.at[:2]:
                inside.pop()
            if at:
                broken = broken or _is_broken(parts, at)
                above = _trimmed(first_word(part).above, first=True, last=True)
                if broken and (above or not _is_glued(parts, at)):
                    column = inside[-1][1] if inside else margin
                    hang = column if inside and _is_operator(parts, at) else column + INDENT
                    self.current += " \\" if flat else ""
                    self._end()
                    self._own_lines(above, hang)
                    self.current = " " * hang
                    broken = False
                elif not tight and _is_spaced(parts, at):
                    self._write(" ")
            end = self.wrapped.get(part.at[:2])
            if end is not None:
                hang = len(self.current)
                inside.append((end, hang))
            tight = _is_tight(parts, at) or (_is(part, "COLON") and index and not lambdas)
            lambdas = lambdas_after(first_word(part).type, lambdas)
            if isinstance(part, Group):
                self._group(part, hang)
            else:
                self._word(part)

    # Brackets

    def _group(self, group: Group, margin: int) -> None:
        self._word(group.open)
        if self._is_spread(group):
            self._rows(group, margin)
        else:
            for at, item in enumerate(group.items):
                self._write(" " if at else "")
                self._parts(item.parts, margin, index=group.kind == "index")
                if at + 1 < len(group.items) or (group.kind == "tuple" and not at):
                    self._write(",")
        self._word(group.close)

    def _is_spread(self, group: Group) -> bool:
        """Say whether every item has a line of its own."""
        if group.remarked:
            return True
        if self.is_build and len(group.items) > 1 and _has_rows(group):
            return True
        if group.kind == "comprehension":
            parts = group.items[0].parts
            return group.broken or any(one.at[2] != two.at[0] for one, two in pairwise(parts))
        return group.broken and bool(group.items)

    def _rows(self, group: Group, margin: int) -> None:
        """Write each item on a line of its own."""
        inner = margin + (2 * INDENT if group.kind == "params" else INDENT)
        comment: tuple[Remark, ...] = ()  # above a comma that is moved to the end of its line
        items = group.items
        for at, item in enumerate(items):
            for row in _rows_of(group, item):
                self._end()
                above = (*comment, *first_word(row[0]).above)
                self._own_lines(_trimmed(above, first=at == 0, last=True), inner)
                self.current = " " * inner
                self._parts(row, inner, index=group.kind == "index")
                comment = ()
            if at + 1 < len(items) or _ends_in_comma(group, item):
                self._write(",")
            if item.comma is not None:
                comment = item.comma.above
                self.behind += [item.comma.behind] if item.comma.behind else []
        below = _trimmed((*comment, *group.close.above), first=not items, last=True)
        if group.kind != "params" or below:
            self._end()
            self._own_lines(below, inner)
            self.current = " " * margin


# Blank lines


def _above(before: Line | None, line: Line, *, targets: bool) -> list[str]:
    """Return the comments and blank lines between two statements.

    `targets`: they are statements of a BUILD file, outside of functions.
    """
    found = _trimmed(line.first.above, first=before is None, last=False)
    if before is None or found[:1] == [""] or not _is_apart(before, line, targets=targets):
        return found
    return ["", *found]


def _is_apart(before: Line, line: Line, *, targets: bool) -> bool:
    """Say whether a blank line stands between two statements in any case."""
    if is_load(before) != is_load(line) or "DEF" in {before.first.type, line.first.type}:
        return True
    if not targets or is_load(line):
        return False
    return not (_is_assignment(before) and _is_assignment(line))


def _is_assignment(line: Line) -> bool:
    return any(_is(part, "ASSIGN") or _is(part, "AUGMENT") for part in line.parts)


def _trimmed(remarks: Iterable[Remark], *, first: bool, last: bool) -> list[str]:
    """Return the texts of `remarks` with at most one blank line between comments.

    There is none before them if they come `first`, and none after them if they come `last`.
    """
    found: list[str] = []
    for remark in remarks:
        if remark.text or (found[-1] if found else not first):
            found.append(remark.text)
    if last and found and not found[-1]:
        found.pop()
    return found


# Words side by side

_GLUED = frozenset({"COMMA", "COLON", "ASSIGN", "AUGMENT", "OP", "IN"})


def _is(part: Part, type_: str) -> bool:
    return isinstance(part, Word) and part.type == type_


def _is_broken(parts: Sequence[Part], at: int) -> bool:
    """Say whether a part stands on another line than the part before it.

    A break between a dot and its name counts as one before the dot.
    """
    if _is_named_by(parts, at):
        return False
    below = at + 1 if _is_named_by(parts, at + 1) else at
    return parts[at - 1].at[2] != parts[below].at[0]


def _is_named_by(parts: Sequence[Part], at: int) -> bool:
    """Say whether a part is a name right after a dot, without a comment between them."""
    if at >= len(parts) or not _is(parts[at - 1], "DOT"):
        return False
    dot, name = first_word(parts[at - 1]), first_word(parts[at])
    return not dot.behind and not any(remark.text for remark in name.above)


def _is_glued(parts: Sequence[Part], at: int) -> bool:
    """Say whether a part is never the first of a line: a break before it moves behind it."""
    part = parts[at]
    if isinstance(part, Group):
        return False
    if part.type in {"SIGN", "STAR", "NOT"}:
        return is_operand(parts[at - 1])
    return part.type in _GLUED or _is_named_by(parts, at)


def _is_operator(parts: Sequence[Part], at: int) -> bool:
    """Say whether a break before a part is one between an operator and its operand."""
    return any(
        isinstance(part, Word) and part.type in {"OP", "SIGN", "STAR", "IN", "NOT", "IF", "ELSE"}
        for part in parts[at - 1 : at + 1]
    )


def _is_tight(parts: Sequence[Part], at: int) -> bool:
    """Say whether nothing separates a part from the next: a dot, or a sign with one side."""
    part = parts[at]
    if isinstance(part, Group) or part.type not in {"DOT", "SIGN", "TILDE", "STAR", "POW"}:
        return False
    return part.type == "DOT" or at == 0 or not is_operand(parts[at - 1])


def _is_spaced(parts: Sequence[Part], at: int) -> bool:
    """Say whether a space stands before a part that is on the line of the part before it."""
    part, before = parts[at], parts[at - 1]
    if isinstance(part, Group):
        return part.kind not in {"call", "index", "params", "load"}
    if part.type == "DOT":  # `1.x` would be a fraction
        return _is(before, "LITERAL") and first_word(before).text[-1] not in "\"'"
    return part.type not in {"COMMA", "COLON"}


# Items


def _has_rows(group: Group) -> bool:
    """Say whether the items of a bracket of a BUILD file are told apart by lines in any case.

    They are arguments with names, entries of a dict, or items of a list that are not just numbers.
    """
    if group.kind == "call":
        return any(attribute_of(item) for item in group.items)
    words = [part for item in group.items for part in item.parts]
    numbers = all(isinstance(part, Word) and _NUMBER.fullmatch(part.text) for part in words)
    return group.kind == "dict" or (group.kind == "list" and not numbers)


def _rows_of(group: Group, item: Item) -> list[Sequence[Part]]:
    """Return what stands on a line of its own: all of an item, or a clause of a comprehension."""
    if group.kind != "comprehension":
        return [item.parts]
    starts = _clauses(item.parts)
    ends = [*starts[1:], len(item.parts)]
    return [item.parts[start:end] for start, end in zip(starts, ends, strict=True)]


def _clauses(parts: Sequence[Part]) -> list[int]:
    """Return where the value and the clauses of a comprehension begin."""
    starts = [0]
    for at, part in enumerate(parts):
        if _is(part, "FOR") or (_is(part, "IF") and len(starts) > 1):
            starts.append(at)
    return starts


def _ends_in_comma(group: Group, item: Item) -> bool:
    """Say whether a comma follows the last item when it has a line of its own."""
    if group.kind in {"call", "list", "dict", "tuple", "load"}:
        return item.first.type not in {"STAR", "POW"}
    return False


_NUMBER = re.compile(r"[-+]|[0-9.]\S*|None|True|False")
_SINGLE = re.compile(r"(b?r?b?)('''|')((?:(?!\\').)*)\2", re.DOTALL)


def quoted(text: str) -> str:
    """Return a string in double quotes where nothing in it has to change for that."""
    found = _SINGLE.fullmatch(text)
    if found is None or '"' in found[3]:
        return text
    quote = '"' * len(found[2])
    return f"{found[1]}{quote}{found[3]}{quote}"
