"""The lines and brackets of a file, as its author laid them out."""

from typing import NamedTuple

from mlbuild.lang.format_words import Word, read_words
from mlbuild.lang.syntax import At

INDENT = 4
_HEADS = frozenset({"DEF", "FOR", "IF", "ELIF", "ELSE"})
_OPENS = frozenset({"LPAR", "LSQB", "LBRACE"})
_CLOSES = frozenset({"RPAR", "RSQB", "RBRACE"})
_ALONE = frozenset({"fmt: skip", "buildifier: leave-alone"})


class Item(NamedTuple):
    """What stands between two commas of a bracket."""

    parts: "tuple[Word | Group, ...]"
    comma: Word | None

    @property
    def first(self) -> Word:
        """The word that it begins with."""
        return first_word(self.parts[0])


class Group(NamedTuple):
    """A pair of brackets and what they hold."""

    kind: str  # call, load, params, index, list, dict, paren, tuple or comprehension
    open: Word
    items: tuple[Item, ...]
    close: Word
    broken: bool  # the author began a line at an item or at the closing bracket
    remarked: bool  # a comment stands in it, and in no bracket within

    @property
    def at(self) -> At:
        """Where it stands."""
        return (*self.open.at[:2], *self.close.at[2:])


Part = Word | Group


class Line(NamedTuple):
    """A simple statement, or the head of a block with its body."""

    parts: tuple[Part, ...]
    body: "Block | None" = None
    verbatim: str = ""  # what the author wants left alone, with the comment behind it

    @property
    def first(self) -> Word:
        """The word that it begins with."""
        return first_word(self.parts[0])


class Block(NamedTuple):
    """Statements of one indentation."""

    lines: tuple[Line, ...]
    end: Word  # a DEDENT or END: comments below the last line stand above it


def read(text: str) -> Block:
    """Return the statements of a file, which fits the grammar and ends in a line feed."""
    return _Reader(text).block(0)


def first_word(part: Part) -> Word:
    """Return the word that `part` begins with."""
    return part.open if isinstance(part, Group) else part


def last_word(part: Part) -> Word:
    """Return the word that `part` ends with."""
    return part.close if isinstance(part, Group) else part


def attribute_of(item: Item) -> str:
    """Return the name of a named argument, "" for any other item."""
    if len(item.parts) < 2:  # noqa: PLR2004 - the name and `=`
        return ""
    sign = item.parts[1]
    return item.first.text if isinstance(sign, Word) and sign.type == "ASSIGN" else ""


def is_load(line: "Line") -> bool:
    """Say whether `line` is a load."""
    return line.first.type == "LOAD"


def is_operand(part: Part) -> bool:
    """Say whether `part` ends a value, so that a sign after it has two sides."""
    return isinstance(part, Group) or part.type in {"NAME", "STRING", "LITERAL"}


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.words = read_words(text)
        self.place = 0

    def block(self, depth: int) -> Block:
        """Read statements up to the end of their block."""
        lines: list[Line] = []
        while self.words[self.place].type not in {"DEDENT", "END"}:
            lines += self._statement(depth)
        return Block(tuple(lines), self._next())

    def _statement(self, depth: int) -> list[Line]:
        """Read a statement with its body, or the simple ones that share a line."""
        begin = self.place
        lines = self._lines(depth)
        end = begin
        while self.words[end].type != "NEWLINE":
            end += 1
        alone = _is_alone_above(self.words[begin])
        if not alone and not _is_alone(self.words[end - 1].behind):
            return lines
        head = lines[0].parts
        if end == self.place - 1:
            return [Line(head, verbatim=self._verbatim(begin, end))]
        if alone and self.words[begin].at[1] - 1 == INDENT * depth:
            while self.words[self.place].type in {"ELIF", "ELSE"}:
                self._lines(depth)
            return [Line(head, verbatim=self._verbatim(begin, self.place))]
        return [Line(head, lines[0].body, self._verbatim(begin, end))]

    def _verbatim(self, begin: int, end: int) -> str:
        """Return the words from `begin` up to `end` as they are written."""
        some = self.words[begin:end]
        below = [remark.end for word in some[1:] for remark in word.above if remark.text]
        last = max([*(word.end for word in some if word.text), *below])
        return self.text[some[0].start : last].rstrip()

    def _lines(self, depth: int) -> list[Line]:
        """Read a head with its body, or the simple statements of a line."""
        if self.words[self.place].type not in _HEADS:
            return self._simple()
        head = (*self._parts(frozenset({"COLON"})), self._next())
        if self.words[self.place].type != "NEWLINE":
            lines = tuple(self._simple())
            return [Line(head, Block(lines, self.words[self.place - 1]))]
        self.place += 2  # also the INDENT
        return [Line(head, self.block(depth + 1))]

    def _simple(self) -> list[Line]:
        """Read simple statements up to the end of the line."""
        found = [Line(self._parts(_ENDS))]
        while (end := self._next()).type == "SEMICOLON":
            if self.words[self.place].type == "NEWLINE":
                found[-1] = _with_behind(found[-1], end.behind)
            else:
                found.append(Line(self._parts(_ENDS)))
        return found

    def _parts(self, ends: frozenset[str]) -> tuple[Part, ...]:
        """Read up to a word of `ends` that belongs to no bracket and no lambda."""
        parts: list[Part] = []
        lambdas = 0
        while (type_ := self.words[self.place].type) not in ends or (lambdas and type_ == "COLON"):
            lambdas = lambdas_after(type_, lambdas)
            parts.append(self._part(parts))
        return tuple(parts)

    def _part(self, before: list[Part]) -> Part:
        """Read a word or a bracket; `before` are the parts to its left."""
        word = self._next()
        return self._group(word, _kind(word, before)) if word.type in _OPENS else word

    def _group(self, opened: Word, kind: str) -> Group:
        """Read what the bracket `opened` holds, and its end."""
        items: list[Item] = []
        parts: list[Part] = []
        lambdas = 0
        while (word := self.words[self.place]).type not in _CLOSES:
            if word.type == "COMMA" and not lambdas and kind not in {"index", "comprehension"}:
                items.append(Item(tuple(parts), self._next()))
                parts = []
                continue
            lambdas = lambdas_after(word.type, lambdas)
            kind = "comprehension" if word.type == "FOR" else kind
            parts.append(self._part(parts))
        if parts:
            items.append(Item(tuple(parts), None))
        if kind == "paren" and (not items or items[0].comma is not None):
            kind = "tuple"
        found, close = tuple(items), self._next()
        remarked = _is_remarked(opened, found, close)
        return Group(kind, opened, found, close, _is_broken(opened, found, close), remarked)

    def _next(self) -> Word:
        self.place += 1
        return self.words[self.place - 1]


_ENDS = frozenset({"NEWLINE", "SEMICOLON"})


def lambdas_after(type_: str, lambdas: int) -> int:
    """Return how many lambdas wait for their colon after a word, when `lambdas` did before it."""
    if type_ == "LAMBDA":
        return lambdas + 1
    return lambdas - 1 if type_ == "COLON" and lambdas else lambdas


def _kind(opened: Word, before: list[Part]) -> str:
    """Return what a bracket after the parts `before` is, as far as they tell."""
    called = bool(before) and is_operand(before[-1])
    if opened.type == "LSQB":
        return "index" if called else "list"
    if opened.type == "LBRACE":
        return "dict"
    if before and first_word(before[0]).type == "DEF":
        return "params"
    if before and first_word(before[-1]).type == "LOAD":
        return "load"
    return "call" if called else "paren"


def _is_broken(opened: Word, items: tuple[Item, ...], close: Word) -> bool:
    line = opened.at[2]
    for item in items:
        if item.first.at[0] != line:
            return True
        line = item.parts[-1].at[2]
    return close.at[0] != line


def _is_remarked(opened: Word, items: tuple[Item, ...], close: Word) -> bool:
    inner = [word for item in items for part in item.parts for word in _outside(part)]
    commas = [item.comma for item in items if item.comma is not None]
    return (
        bool(opened.behind)
        or any(word.behind for word in [*inner, *commas])
        or any(remark.text for word in [*inner, *commas, close] for remark in word.above)
    )


def _outside(part: Part) -> tuple[Word, ...]:
    """Return the words of `part` whose comments stand outside of its brackets."""
    if isinstance(part, Word):
        return (part,)
    return (part.open._replace(behind=""), part.close._replace(above=()))


def _with_behind(line: Line, comment: str) -> Line:
    """Return `line` with a comment behind its last word."""
    last = line.parts[-1]
    if isinstance(last, Group):
        changed: Part = last._replace(close=last.close._replace(behind=comment))
    else:
        changed = last._replace(behind=comment)
    return line._replace(parts=(*line.parts[:-1], changed))


def _is_alone_above(word: Word) -> bool:
    """Say whether the comment right above `word` wants what it begins left alone."""
    for remark in reversed(word.above):
        if not remark.text:
            return False
        if _is_alone(remark.text):
            return True
    return False


def _is_alone(comment: str) -> bool:
    return comment.lstrip("# ").rstrip() in _ALONE
