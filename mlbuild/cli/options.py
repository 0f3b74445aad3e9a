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
    "How actions run: `auto`, `sandbox`, `docker`, `process`, or a NAME of `[executors.NAME]`.",
    "NAME",
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
SHARING = (  # for the commands that use the shared cache
    Option(("--cache-url",), "The shared cache to use.", "URL", "cache_url"),
    Option(("--cache-read",), "Take results from it: `true` or `false`.", "WHETHER", "cache_read"),
    Option(
        ("--cache-write",),
        "Give results to it: `never`, `trusted` or `always`.",
        "WHEN",
        "cache_write",
    ),
    Option(("--cache-scope",), "The part of it to write: `main`, `pr/17`.", "SCOPE", "cache_scope"),
    Option(
        ("--upload",),
        "Let the end wait for uploads: `background`, `wait` or `off`.",
        "HOW",
        "upload",
    ),
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
    verbs: "tuple[Usage, ...]" = ()  # of a command whose first word says what to do


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


def narrowed(usage: Usage, words: Sequence[str]) -> tuple[Usage, str, list[str]]:
    """Return what the verb among `words` takes, the verb, and the other words.

    Where no verb is named, or the command has none, that is `usage` itself and "".
    """
    verbs = {one.command.rpartition(" ")[2]: one for one in usage.verbs}
    for at, word in enumerate(words):
        if word in verbs and (at == 0 or words[at - 1] not in _valued(usage)):
            return verbs[word], word, [*words[:at], *words[at + 1 :]]
        if not word.startswith("-") and (at == 0 or words[at - 1] not in _valued(usage)):
            break
    return usage, "", list(words)


def _valued(usage: Usage) -> set[str]:
    """Return the options of a command and its verbs that take a value."""
    every = (option for one in (usage, *usage.verbs) for option in _all(one))
    return {name for option in every if option.value for name in option.names}


def is_exclusion(word: str) -> bool:
    """Say whether a word that starts like an option is a pattern: `-//models/...`, `-:lenet`."""
    return word.startswith(("-//", "-:", "-..."))


def help_text(usage: Usage) -> str:
    """Return the help of a command."""
    text = _parser(usage).format_help()
    if usage.verbs:
        names = [one.command.rpartition(" ")[2] for one in usage.verbs]
        width = max(map(len, names))
        lines = [
            f"  {name:<{width}}  {one.doc.partition('. ')[0].removesuffix('.')}"
            for name, one in zip(names, usage.verbs, strict=True)
        ]
        more = f"`mlbuild {usage.command} {names[0]} --help` says what one of them takes"
        text += "\n".join(("", "commands:", *lines, "", more, ""))
    return text


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
        doc = option.doc.replace("%", "%%")
        if option.value:
            parser.add_argument(
                *option.names,
                dest=option.dest,
                metavar=option.value,
                help=doc,
                action="append" if option.many else "store",
            )
        else:
            parser.add_argument(*option.names, dest=option.dest, action="store_true", help=doc)
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
