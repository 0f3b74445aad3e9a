"""Words, indentation and literals of a file, by one regular expression."""

import re
from collections.abc import Iterator

from mlbuild.lang.syntax import At, Literal, Name, String, Token

MAX_NESTING = 200  # brackets within brackets, and blocks within blocks
MAX_DIGITS = 30_000  # of a number

Word = Token | Name | String | Literal


class SyntaxFault(Exception):  # noqa: N818 - it never leaves the package
    """What is wrong with the text of a file, and where."""

    def __init__(self, message: str, at: At, hints: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hints = hints


def words(text: str) -> Iterator[Word]:
    """Yield the tokens of a file; blocks come as INDENT and DEDENT. Lines end in a line feed."""
    match = _WORD.match
    at = _skip(_BLANK_LINES, text, 0)
    line = text.count("\n", 0, at) + 1
    start = begun = at  # where the line begins, and its first word
    brackets: list[Token] = []
    indents = [0]
    yield from _indentation(text, at, line, indents)
    while (found := match(text, at)) is not None:
        kind = found.lastindex or 0
        first, at = found.span(kind)
        if kind == _NAME:
            name = found[kind]
            place = (line, first - start + 1, line, at - start + 1)
            type_ = _KEYWORDS.get(name)
            if type_ is None:
                yield Name(name, place)
            elif type_ == "RESERVED":
                raise SyntaxFault(f"`{name}` is a reserved word", place, _RESERVED[name])
            else:
                yield Token(type_, name, place)
        elif kind == _SIGN:
            sign = found[kind]
            token = Token(_SIGNS[sign], sign, (line, first - start + 1, line, at - start + 1))
            if sign in _OPENS:
                brackets.append(token)
                if len(brackets) > MAX_NESTING:
                    raise SyntaxFault(f"brackets are nested more than {MAX_NESTING} deep", token.at)
            elif sign in _CLOSES:
                if not brackets or brackets[-1].text != _CLOSES[sign]:
                    raise _unbalanced(token, brackets)
                brackets.pop()
            yield token
        elif kind == _QUOTED:
            raw = found[kind]
            lines = raw.count("\n")
            column = first - start + 1
            if lines:
                start = first + raw.rfind("\n") + 1
            yield _string(raw, (line, column, line + lines, at - start + 1))
            line += lines
        elif kind == _NEWLINE:
            if not brackets:
                column = first - start + 1
                yield Token("NEWLINE", "", (line, column, line, column + 1))
                end = _skip(_BLANK_LINES, text, at)
                line += text.count("\n", at, end)
                at = begun = end
                yield from _indentation(text, at, line + 1, indents)
            line += 1
            start = at
        elif kind == _NUMBER:
            place = (line, first - start + 1, line, at - start + 1)
            yield _number(found[kind], place, _word_at(text, at))
        elif kind == _CONTINUED:
            line += 1
            start = at
        else:
            raise _strange(text[first], (line, first - start + 1, line, first - start + 2))
    if brackets:
        raise SyntaxFault(f"`{brackets[-1].text}` is never closed", brackets[-1].at)
    place = (line, at - start + 1, line, at - start + 2)
    if at != begun:
        yield Token("NEWLINE", "", place)
    for _ in indents[1:]:
        yield Token("DEDENT", "", place)


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Return where `pattern`, which also matches nothing, ends."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _indentation(text: str, at: int, line: int, indents: list[int]) -> list[Token]:
    """Return the INDENT or the DEDENTs between the last line and the one that starts at `at`."""
    end = _skip(_SPACES, text, at)
    last = _skip(_COMMENT, text, end) == len(text)
    width = 0 if last else end - at
    place = (line, 1, line, width + 1)
    if text[end : end + 1] == "\t" and not last:
        raise SyntaxFault(
            "there is a tab in the indentation",
            (line, end - at + 1, line, end - at + 2),
            ("indent with spaces",),
        )
    if width > indents[-1]:
        indents.append(width)
        if len(indents) > MAX_NESTING:
            raise SyntaxFault(f"blocks are nested more than {MAX_NESTING} deep", place)
        return [Token("INDENT", "", place)]
    known = " or ".join(str(one) for one in indents)
    closed: list[Token] = []
    while width < indents[-1]:
        indents.pop()
        closed.append(Token("DEDENT", "", place))
    if width != indents[-1]:
        raise SyntaxFault(
            "the indentation matches no outer line",
            place,
            (f"the line has {width} spaces; around it are blocks of {known}",),
        )
    return closed


def _word_at(text: str, at: int) -> str:
    """Return the letters and digits that begin at `at`."""
    return text[at : _skip(_LETTERS, text, at)]


def _unbalanced(token: Token, brackets: list[Token]) -> SyntaxFault:
    if not brackets:
        return SyntaxFault(f"`{token.text}` closes nothing", token.at)
    opened = brackets[-1]
    return SyntaxFault(
        f"`{token.text}` does not close `{opened.text}`",
        token.at,
        (f"`{opened.text}` was opened at line {opened.at[0]}, column {opened.at[1]}",),
    )


def _strange(sign: str, place: At) -> SyntaxFault:
    """Return what to say of a character that begins no word."""
    if sign in "\"'":
        return SyntaxFault(
            "the string is never closed", place, ('a string of several lines stands between `"""`',)
        )
    if sign == "\0":
        return SyntaxFault("there is a NUL character here", place, ("is this a text file?",))
    if sign == "\ufeff":
        return SyntaxFault(
            "there is a byte order mark here", place, ("save the file as UTF-8 without one",)
        )
    if sign == "\\":
        return SyntaxFault("something follows a backslash, which must end its line", place)
    shown = f"U+{ord(sign):04X}" if sign == "`" or not sign.isprintable() else f"`{sign}`"
    return SyntaxFault(f"unexpected character {shown}", place, _STRANGE.get(sign, ()))


def _number(text: str, place: At, after: str) -> Literal:
    if after and after not in _KEYWORDS:
        hints = ("numbers are written without `_`",) if after[0] == "_" else ()
        whole = (*place[:3], place[3] + len(after))
        raise SyntaxFault(f"`{text}{after}` is not a number", whole, hints)
    if len(text) > MAX_DIGITS:
        raise SyntaxFault("the number is too large", place)
    if text[:2].lower() in {"0x", "0o", "0b"}:
        return Literal(int(text, 0), place)
    if not text.isdigit():
        value = float(text)
        if value == float("inf"):
            raise SyntaxFault("the number is too large for a float", place)
        return Literal(value, place)
    if len(text) > 1 and text[0] == "0":
        raise SyntaxFault(
            f"`{text}` is not a number",
            place,
            (f"octal numbers are written 0o{text.lstrip('0') or '0'}",),
        )
    return Literal(decimal(text), place)


def decimal(digits: str) -> int:
    """Return the int of decimal digits, also where they are more than Python reads at once."""
    if len(digits) <= _CHUNK:
        return int(digits)
    half = len(digits) // 2
    scale: int = 10**half
    return decimal(digits[:-half]) * scale + decimal(digits[-half:])


def _string(text: str, place: At) -> String | Literal:
    quote = text[-1]
    head = text.index(quote)
    prefix = text[:head]
    width = 3 if text.startswith(quote * 3, head) else 1
    if len(text) < head + 2 * width:
        width = 1  # the empty string
    body = text[head + width : -width]
    plain = "r" in prefix or "\\" not in body
    inner = (place[0], place[1] + head + width)
    if "b" not in prefix:
        if plain:
            return String(body, place)
        return String(_ESCAPE.sub(lambda found: _escaped(found, inner, limit=127), body), place)
    if plain:
        return Literal(body.encode(), place)
    pieces: list[bytes] = []
    last = 0
    for found in _ESCAPE.finditer(body):
        value = _escaped(found, inner, limit=255)
        pieces += [
            body[last : found.start()].encode(),
            value.encode("latin-1" if found[1] else "utf-8"),
        ]
        last = found.end()
    pieces.append(body[last:].encode())
    return Literal(b"".join(pieces), place)


def _escaped(found: re.Match[str], inner: tuple[int, int], *, limit: int) -> str:
    """Return what an escape sequence stands for; an octal or hexadecimal one is at most `limit`.

    `inner` is the line and column of the first character between the quotes.
    """
    text = found[0][1:]
    value = 0
    if found[1]:
        value = int(text[1:], 16) if text[0] == "x" else int(text, 8)
        if value <= limit:
            return chr(value)
        raise SyntaxFault(
            f"`\\{text}` is more than {limit}",
            _within(found, inner),
            ("write a character as \\u and four digits",),
        )
    plain = _ESCAPES.get(text)
    if plain is not None:
        return plain
    if text[0] in _HEX:
        if len(text) == 1:
            raise SyntaxFault(
                f"`\\{text}` needs {_HEX[text]} hexadecimal digits", _within(found, inner)
            )
        value = int(text[1:], 16)
        if value > _LAST or value in _SURROGATES:
            raise SyntaxFault(f"U+{value:04X} is not a character", _within(found, inner))
        return chr(value)
    raise SyntaxFault(
        f"`\\{text}` is not an escape sequence",
        _within(found, inner),
        (f'write `\\\\{text}` for a backslash, or a raw string: r"…"',),
    )


def _within(found: re.Match[str], inner: tuple[int, int]) -> At:
    """Return the place of an escape in a string."""
    before = found.string[: found.start()]
    lines = before.count("\n")
    line = inner[0] + lines
    column = len(before) - before.rfind("\n") if lines else inner[1] + len(before)
    return (line, column, line, column + len(found[0]))


_QUOTES = ("strings stand between `\"` or `'`",)
_STRANGE: dict[str, tuple[str, ...]] = {
    "!": ("negation is written `not`",),
    "?": ("a choice is written `a if condition else b`",),
    "@": ("there are no decorators",),
    "$": ("a variable is its name alone",),
    **dict.fromkeys("`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb", _QUOTES),
}
_LAST, _SURROGATES = 0x10FFFF, range(0xD800, 0xE000)
_CHUNK = 4000
_NAME, _SIGN, _QUOTED, _NEWLINE, _NUMBER, _CONTINUED = range(1, 7)
_WORD = re.compile(
    r"""[ \t\r]*+(?:\#[^\n]*+)?+(?:
      (?!r?b?["']|br["'])([^\W\d]\w*+)
    | (<<=|>>=|//=|\*\*|//|<<|>>|[<>=!]=|[+\-*/%&|^]=|[()\[\]{},:;.=+\-*/%<>&|^~](?<!\.(?=[0-9])))
    | ((?:r?b?|br)(?:\"\"\"[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+\"\"\"
                 |'''[^'\\]*+(?:(?:\\.|'(?!''))[^'\\]*+)*+'''
                 |"(?!"")[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|'(?!'')[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'))
    | (\n)
    | (0[xX][0-9a-fA-F]++|0[oO][0-7]++|0[bB][01]++
      |(?:[0-9]++\.[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?|[0-9]++[eE][+-]?[0-9]++|[0-9]++)
    | (\\\n)
    | ([^\n])
    )""",
    re.VERBOSE | re.DOTALL,
)
_BLANK_LINES = re.compile(r"(?:[ \t\r]*+(?:#[^\n]*+)?\n)*+")
_LETTERS = re.compile(r"\w*+")
_SPACES = re.compile(r" *+")
_COMMENT = re.compile(r"[ \t\r]*+(?:#[^\n]*+)?")
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3}|x[0-9a-fA-F]{2})|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL
)
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "\n": "",
}
_HEX = {"x": 2, "u": 4, "U": 8}
_CLOSES = {")": "(", "]": "[", "}": "{"}
_OPENS = frozenset("([{")
_SIGNS = {
    "(": "LPAR",
    ")": "RPAR",
    "[": "LSQB",
    "]": "RSQB",
    "{": "LBRACE",
    "}": "RBRACE",
    ",": "COMMA",
    ":": "COLON",
    ";": "SEMICOLON",
    ".": "DOT",
    "=": "ASSIGN",
    "*": "STAR",
    "**": "POW",
    "+": "SIGN",
    "-": "SIGN",
    "~": "TILDE",
    **dict.fromkeys(("/", "//", "%", "<<", ">>", "&", "|", "^"), "OP"),
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">="), "OP"),
    **dict.fromkeys(
        ("+=", "-=", "*=", "/=", "//=", "%=", "&=", "|=", "^=", "<<=", ">>="), "AUGMENT"
    ),
}
_RESERVED: dict[str, tuple[str, ...]] = {
    "as": (),
    "assert": ("write `if not …: fail(…)`",),
    "async": (),
    "await": (),
    "class": ("make values with struct(…)",),
    "del": ("remove an entry with `.pop(key)`",),
    "except": ("there are no exceptions: test before you act",),
    "finally": (),
    "from": ('write `load("//package:file.bzl", "name")`',),
    "global": ("a function cannot assign to globals: return the value",),
    "import": ('write `load("//package:file.bzl", "name")`',),
    "is": ("compare with `==`",),
    "nonlocal": ("a function cannot assign to variables of another: return the value",),
    "raise": ("write `fail(…)`",),
    "try": ("there are no exceptions: test before you act",),
    "while": ("write `for i in range(…):`",),
    "with": (),
    "yield": ("collect the values in a list and return it",),
}
_KEYWORDS = {
    **{
        word: word.upper()
        for word in (
            "break",
            "continue",
            "def",
            "elif",
            "else",
            "for",
            "if",
            "in",
            "lambda",
            "load",
            "not",
            "pass",
            "return",
        )
    },
    "and": "OP",
    "or": "OP",
    **dict.fromkeys(_RESERVED, "RESERVED"),
}
