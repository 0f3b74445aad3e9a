"""`mlbuild help`: what there is, and what a command takes."""

from importlib import import_module

from mlbuild.cli.options import Usage, Words, help_text
from mlbuild.cli.session import Screen
from mlbuild.errors import InputError, did_you_mean

USAGE = Usage("help", "[COMMAND]", "Show the commands, or what one of them takes.", (), most=1)
COMMANDS = {
    "build": "build what patterns select; the word itself may be left out",
    "why": "say why a target ran, or would run",
    "log": "print the newest log of a target",
    "config": "show each setting and where it came from",
    "clean": "remove what can be made again",
    "version": "print the version",
    "help": "show this, or what a command takes",
}
OVERVIEW = """\
mlbuild builds datasets, models and reports, and never computes the same thing twice.

usage: mlbuild [COMMAND] [OPTION]… [WORD]…

{commands}

examples:
  mlbuild //...                    build every target of the workspace
  mlbuild //models:lenet           build one target and what it needs
  mlbuild //... -//models/...      build all but those below `models`
  mlbuild --dry-run :all           say what would run in this package, and why
  mlbuild why //models:lenet       say what changed since its last run

exit codes: 0 done, 1 an action failed, 2 your files or words are wrong, 3 a gate was missed,
8 interrupted, 36 this host is in trouble, 37 a fault of mlbuild"""


def run(words: Words, screen: Screen) -> int:
    """Print help on stdout."""
    if not words.rest:
        screen.out.lines([overview()])
        return 0
    name = words.rest[0]
    if name not in COMMANDS:
        raise InputError(
            f"mlbuild has no command `{name}`", hints=did_you_mean(name, list(COMMANDS))
        )
    screen.out.write(help_text(usage_of(name)))
    return 0


def overview() -> str:
    """Return the help of mlbuild as a whole."""
    commands = "\n".join(f"  {name:<9}{doc}" for name, doc in COMMANDS.items())
    return OVERVIEW.format(commands=commands)


def usage_of(command: str) -> Usage:
    """Return what a command takes."""
    found: Usage = import_module(f"mlbuild.cli.{command}").USAGE
    return found
