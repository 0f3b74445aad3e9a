"""Texts for people: made harmless, made short, made coloured."""

import re
import unicodedata
from dataclasses import dataclass

from mlbuild.settings import EXECUTORS

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links and other strings
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]"
)
_UNITS = ("KiB", "MiB", "GiB", "TiB")
TENTH, MINUTE, HOUR = 0.1, 60, 3600  # seconds
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours texts, or leaves them alone."""

    color: bool

    def __call__(self, colours: str, text: str) -> str:
        """Return `text` in `colours`, words such as "red bold"."""
        if not self.color or not text:
            return text
        codes = ";".join(_COLOURS[colour] for colour in colours.split())
        return f"\x1b[{codes}m{text}\x1b[0m"


def clean(text: str) -> str:
    """Return one line of `text` in which nothing controls a terminal or hides what it says.

    What does not print, such as escapes, line breaks and marks that turn the direction of writing,
    is written out by its number.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _shown(letter) for letter in text)


def clean_log(line: str) -> str:
    """Return a line of a log: without its colours, and of a redrawn line only the last state."""
    if line.isprintable():
        return line
    plain = _ANSI.sub("", line).rstrip("\r\n")
    return clean(plain.rpartition("\r")[2].expandtabs(4))


def _shown(letter: str) -> str:
    if unicodedata.category(letter) == "Zs":
        return " "
    return letter.encode("unicode_escape", "surrogatepass").decode()


def width_of(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1


def seconds_text(seconds: float) -> str:
    """Return a duration as people say it: `0.02s`, `12.4s`, `3m 07s`, `2h 05m`."""
    if round(seconds, 2) < TENTH:
        return f"{seconds:.2f}s"
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE}m {whole % MINUTE:02}s"
    return f"{whole // HOUR}h {whole % HOUR // MINUTE:02}m"


def bytes_text(size: int) -> str:
    """Return a number of bytes with a unit: `512 B`, `1.4 MiB`."""
    power = min((size.bit_length() - 1) // 10, len(_UNITS)) if size else 0
    return f"{size / (1 << 10 * power):.1f} {_UNITS[power - 1]}" if power else f"{size} B"


def on_machine(executor: str) -> str:
    """Return ` on gpubox`, or "" for an executor of this machine."""
    return f" on {clean(executor)}" if executor and executor not in EXECUTORS else ""


def plural(count: int, noun: str) -> str:
    """Return `1 target` or `3 targets`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
