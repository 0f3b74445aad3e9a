"""Options: reads the words of a command line. What is wrong with them is an InputError."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from mlbuild.errors import InputError, did_you_mean


@dataclass(frozen=True, slots=True)
class Option:
    """One option, as argparse is told of it."""

    names: tuple[str, ...]
    doc: str
    value: str = ""  # the name of its value in the help; "" for a switch
    dest: str = ""
    many: bool = False  # whether it may be given several times


FOLDER = Option(("-C",), "Work as if mlbuild had been started in DIR.", "DIR", "folder")
COLOR = Option(("--color",), "Colours: `auto`, `always` or `never`.", "WHEN", "color")
JSON = Option(("--json",), "Print one JSON object on stdout.", dest="json")
EXECUTOR = Option(
    ("--executor",),
    "How actions run: `auto`, `sandbox`, `docker` or `process`.",
    "KIND",
    "executor",
)
CONFIG = Option(
    ("--config",),
    "Use the flags and settings of `[config.NAME]`; a later one wins.",
    "NAME",
    "config",
    many=True,
)
DEFINE = Option(
    ("--define",), "Set a flag that `select` looks at.", "KEY=VALUE", "define", many=True
)
HELP = Option(("-h", "--help"), "Show this help.", dest="help")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command takes."""

    command: str
    words: str  # what it takes besides options, for the help
    doc: str
    options: tuple[Option, ...]
    most: int | None = 0  # how many such words; None is any number


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a command line, sorted out."""

    values: dict[str, str | bool]  # the options given, by dest
    rest: tuple[str, ...]
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)  # those given several times

    def text(self, dest: str) -> str:
        """Return the value of an option, "" when it is not given."""
        return str(self.values.get(dest, ""))

    def has(self, dest: str) -> bool:
        """Say whether an option is given."""
        return dest in self.values or dest in self.lists


def parse(usage: Usage, words: Sequence[str]) -> Words:
    """Sort out `words`. Raises InputError for an option that is unknown or lacks its value."""
    parser = _parser(usage)
    end = words.index("--") if "--" in words else len(words)
    marked = [f"\0{word}" if is_exclusion(word) else word for word in words[:end]]
    found, rest = parser.parse_known_args(marked)
    for word in rest:
        if word.startswith("-") and word != "-":
            name = word.partition("=")[0]
            known = [one for option in _all(usage) for one in option.names]
            raise InputError(
                f"`mlbuild {usage.command}` has no option `{name}`",
                hints=did_you_mean(name, known)
                or (f"see `mlbuild help {usage.command}` for those that it has",),
            )
    rest = [word.removeprefix("\0") for word in rest] + list(words[end + 1 :])
    values: dict[str, str | bool] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, value in vars(found).items():
        if isinstance(value, list):
            lists[name] = tuple(one.removeprefix("\0") for one in value)
        else:
            values[name] = value.removeprefix("\0") if isinstance(value, str) else value
    if usage.most is not None and len(rest) > usage.most and "help" not in values:
        raise InputError(
            f"`mlbuild {usage.command}` does not take `{rest[usage.most]}`",
            hints=(f"see `mlbuild help {usage.command}`",),
        )
    return Words(values, tuple(rest), lists)


def is_exclusion(word: str) -> bool:
    """Say whether a word that starts like an option is a pattern: `-//models/...`, `-:lenet`."""
    return word.startswith(("-//", "-:", "-..."))


def help_text(usage: Usage) -> str:
    """Return the help of a command."""
    return _parser(usage).format_help()


def _all(usage: Usage) -> tuple[Option, ...]:
    return (*usage.options, HELP)


def _parser(usage: Usage) -> argparse.ArgumentParser:
    head = f"mlbuild {usage.command}"
    parser = _Parser(
        prog=head,
        usage=" ".join(part for part in (head, "[OPTION]…", usage.words) if part),
        description=usage.doc,
        add_help=False,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=96),
    )
    for option in _all(usage):
        if option.value:
            parser.add_argument(
                *option.names,
                dest=option.dest,
                metavar=option.value,
                help=option.doc,
                action="append" if option.many else "store",
            )
        else:
            parser.add_argument(
                *option.names, dest=option.dest, action="store_true", help=option.doc
            )
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse complains about."""
        for pattern, said in _COMPLAINTS:
            if found := re.fullmatch(pattern, message, re.DOTALL):
                raise InputError(said(found), hints=(f"see `{self.prog} --help`",))
        raise InputError(message, hints=(f"see `{self.prog} --help`",))


_COMPLAINTS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"argument ([^/:]+)\S*: expected one argument", lambda found: f"`{found[1]}` needs a value"),
    (
        r"argument (?:[^:]*/)?([^/:]+): ignored explicit argument '?(.*?)'?",
        lambda found: f"`{found[1]}` takes no value, but `{found[2]}` was given",
    ),
)
