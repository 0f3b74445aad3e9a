"""What can go wrong, as data: a sentence, a place, a way out. Only `ui/diagnose.py` draws it."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text: workspace-relative path, 1-based line and column, length in characters."""

    path: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class MlbuildError(Exception):
    """A failure with its exit code. `message` is one sentence without a full stop.

    `kind` is a short stable name of what is wrong, for tools; "" where nobody tells them apart.
    `source` is the text that `span` points into, "" where that is the file of its path.
    """

    exit_code: ClassVar[int] = 37

    def __init__(
        self,
        message: str,
        *,
        span: Span | None = None,
        hints: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        kind: str = "",
        source: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hints = hints
        self.notes = notes
        self.kind = kind
        self.source = source


class InputError(MlbuildError):
    """Your files or words are wrong."""

    exit_code = 2


class ActionError(MlbuildError):
    """An action failed."""

    exit_code = 1


class GateError(MlbuildError):
    """A gate or a test failed."""

    exit_code = 3


class Interrupted(MlbuildError):  # noqa: N818 - a wish of the user, not an error
    """Stopped by Ctrl-C or SIGTERM."""

    exit_code = 8


class Hangup(KeyboardInterrupt):
    """The user has gone: SIGTERM, or a closed terminal. What other machines do may go on."""


class HostError(MlbuildError):
    """A host in trouble: disk, docker, sandbox."""

    exit_code = 36


def near(word: str, names: "list[str] | tuple[str, ...] | set[str] | frozenset[str]") -> str | None:
    """Return the name closest to `word`, or None when none is close."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed once something is wrong

    found = get_close_matches(word, sorted(names), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(
    word: str, names: "list[str] | tuple[str, ...] | set[str] | frozenset[str]"
) -> tuple[str, ...]:
    """Return a hint naming the closest of `names`, or none."""
    name = near(word, names)
    return (f"did you mean `{name}`?",) if name else ()
