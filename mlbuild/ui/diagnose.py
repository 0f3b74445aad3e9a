"""Draws what went wrong: an error with its place in the text, and the block of a failed action."""

import os
import stat
from dataclasses import dataclass

from mlbuild.core.event import ActionFailed, Failure
from mlbuild.errors import MlbuildError, Span
from mlbuild.ui.text import Paint, clean, clean_log, on_machine, seconds_text, width_of

TAIL = 20  # lines of a log in a failure's block
MAX_SOURCE = 4 << 20  # bytes: a longer text is not opened to show one line of it
LEAST_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how errors are drawn."""

    root: str  # folder that the paths of spans start from, "" for none
    paint: Paint
    columns: int = 100


def error_lines(error: MlbuildError, place: Place) -> list[str]:
    """Return the lines that show `error`: sentence, place, source line, hints, notes."""
    paint = place.paint
    lines = [f"{paint('red bold', 'error')}: {paint('bold', clean(error.message))}"]
    if error.span is not None:
        lines += _excerpt(error.span, place, error.source)
    lines += hint_lines(error.hints, paint)
    lines += [f"{paint('blue', 'note')}: {clean(note)}" for note in error.notes]
    return lines


def hint_lines(hints: tuple[str, ...], paint: Paint) -> list[str]:
    """Return one line a hint."""
    return [f"{paint('green', 'hint')}: {clean(hint)}" for hint in hints]


def failure_lines(event: ActionFailed, paint: Paint, *, executor: str = "") -> list[str]:
    """Return the block of a failed action: what, why, the end of its log, and how to go on.

    `executor` is the build's: it is named where it is none of this machine.
    """
    failure, label = event.failure, clean(event.owner)
    word = "GATE MISSED" if failure.kind == "gate" else "FAILED"
    title = f"{paint('red bold', word)} {paint('bold', label)} {clean(event.mnemonic)}"
    lines = [f"{title}: {clean(failure.reason)}{_after(failure)}"]
    tail = failure.tail[-TAIL:]
    lines += [f"  {paint('dim', '|')} {clean_log(line)}".rstrip() for line in tail]
    lines += [f"  {line}" for line in hint_lines(failure.hints, paint)]
    if failure.log:
        lines.append(f"  log: {clean(failure.log)}")
    if failure.sandbox:
        lines.append(f"  kept: {clean(failure.sandbox)} (what it read: work, what it wrote: out)")
        lines.append(f"  enter: mlbuild shell {_quoted(label)}{_which(event)}")
    there = f" --executor {clean(executor)}" if on_machine(executor) else ""
    lines.append(f"  again: mlbuild {_quoted(label)}{there}")
    return lines


def _which(event: ActionFailed) -> str:
    """Name the action, where it is not its target's first."""
    return "" if event.id == event.owner else f" --action {_quoted(clean(event.mnemonic))}"


def _after(failure: Failure) -> str:
    return f" after {seconds_text(failure.seconds)}" if failure.seconds else ""


def _quoted(label: str) -> str:
    """Return `label` as a shell reads it."""
    if all(letter.isalnum() or letter in "/:._-+@,=" for letter in label):
        return label
    return "'" + label.replace("'", "'\\''") + "'"


def _excerpt(span: Span, place: Place, source: str) -> list[str]:
    """Return the place and, where its text can be read, the line with carets under the word."""
    paint, number = place.paint, str(span.line)
    margin = " " * len(number)
    lines = [f"{margin}{paint('blue', '-->')} {clean(str(span))}"]
    text: str | None = None
    if source:
        text = source.split("\n")[span.line - 1]
    elif place.root:
        text = _line(os.path.join(place.root, span.path), span.line)
    if text is None:
        return lines
    bar = paint("blue", "|")
    before, word, after = _around(text, span, place.columns - len(number) - 4)
    carets = "^" * max(1, width_of(word))
    return [
        *lines,
        f"{margin} {bar}",
        f"{paint('blue', number)} {bar} {before}{word}{after}".rstrip(),
        f"{margin} {bar} {' ' * width_of(before)}{paint('red bold', carets)}",
    ]


def _line(path: str, number: int) -> str | None:
    """Return one line of a text without its end; None when it cannot be had."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_SOURCE:
            return None
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            lines = file.read().replace("\r\n", "\n").split("\n")
    except OSError:
        return None
    return lines[number - 1] if 0 < number <= len(lines) else None


def _around(text: str, span: Span, columns: int) -> tuple[str, str, str]:
    """Return what stands before, under and after the carets, cut to about `columns`."""
    start = min(max(span.column - 1, 0), len(text))
    end = min(start + max(span.length, 1), len(text))
    parts = (text[:start], text[start:end], text[end:])
    before, word, after = (clean(part.replace("\t", " ")) for part in parts)
    columns = max(columns, LEAST_WIDTH)
    if len(word) > columns // 2:
        word, after = word[: columns // 2] + "…", ""
    if len(before) + len(word) > columns:
        before = "…" + before[-(columns - len(word) - 1) :]
    room = max(columns - len(before) - len(word), 0)
    if len(after) > room:
        after = after[: max(room - 1, 0)] + "…"
    return before, word, after
