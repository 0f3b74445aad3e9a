"""`mlbuild help`: what there is, and what a command or a rule takes."""

import json
from importlib import import_module

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words, help_text
from mlbuild.cli.session import Screen, open_session
from mlbuild.errors import InputError, did_you_mean

MARKDOWN = Option(("--markdown",), "Print the page of all rules as Markdown.", dest="markdown")
USAGE = Usage(
    "help",
    "[COMMAND | RULE | rules]",
    "Show the commands, or what a command or a rule takes; `rules` lists the rules. "
    "A rule of your own is named like `//tools:defs.bzl%my_rule`.",
    (JSON, MARKDOWN, COLOR, FOLDER),
    most=1,
)
COMMANDS = {
    "init": "make a folder a workspace that builds at once",
    "new": "add a target, and a script to begin with",
    "build": "build what patterns select; the word itself may be left out",
    "watch": "build, and build again whenever a file changes",
    "why": "say why a target ran, or would run",
    "log": "print the newest log of a target",
    "jobs": "list what runs elsewhere: where, since when, on which GPU",
    "attach": "follow a job that runs elsewhere, whoever started it",
    "cancel": "have jobs end that run elsewhere",
    "verify": "repeat a target and say whether it gives the same again",
    "shell": "look around where the command of a target runs",
    "lock": "write the locks of environments, the only command that resolves",
    "describe": "show what a target is and what it gave; the packages of an environment",
    "query": "ask which targets and files there are, and what depends on what",
    "actions": "show the commands of a target, their inputs and their keys",
    "affected": "show the targets that differ between two commits",
    "ci": "build what a change affects, with its gates, and report",
    "hooks": "have git call mlbuild, and see what it does then",
    "check": "say everything that is wrong, all at once",
    "fmt": "lay out BUILD.ml and .bzl files in one way",
    "doctor": "say what this host can do for builds, and the cure",
    "config": "show each setting and where it came from",
    "trust": "accept the cache or executor that this workspace proposes",
    "key": "make and show the keys that sign results",
    "cache": "look after the local store and the shared cache",
    "runner": "run one order of a bucket on this machine, for an executor elsewhere",
    "clean": "remove what can be made again",
    "completion": "print what lets a shell complete commands, options and labels",
    "starlark": "evaluate a plain file of the BUILD language",
    "version": "print the version",
    "help": "show this, or what a command or a rule takes",
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
  mlbuild help train               say what the rule `train` takes

exit codes: 0 done, 1 an action failed, 2 your files or words are wrong, 3 a gate was missed,
8 interrupted, 36 this host is in trouble, 37 a fault of mlbuild"""


def run(words: Words, screen: Screen) -> int:
    """Print help on stdout."""
    name = words.rest[0] if words.rest else ""
    as_page = words.has("json") or words.has("markdown")
    if as_page and name in COMMANDS:
        raise InputError(
            f"`--json` and `--markdown` describe rules, and `{name}` is a command",
            hints=(f"see `mlbuild help {name}`",),
        )
    if as_page or (name and name not in COMMANDS):
        _show_rules(name, words, screen)
    elif name:
        screen.out.write(help_text(usage_of(name)))
    else:
        screen.out.lines([overview()])
    return 0


def overview() -> str:
    """Return the help of mlbuild as a whole."""
    commands = "\n".join(f"  {name:<11}{doc}" for name, doc in COMMANDS.items())
    return OVERVIEW.format(commands=commands)


def _show_rules(name: str, words: Words, screen: Screen) -> None:
    """Print one rule, or all of the library or of a .bzl file."""
    from mlbuild.cli import reference  # noqa: PLC0415 - start-up: it loads rules

    file, percent, rule = name.partition("%")
    if percent or file.endswith(".bzl"):
        entries = reference.module(file, open_session(words, screen))
    else:
        entries, rule = reference.library(screen), "" if name in {"", "rules"} else name
        if rule and rule not in entries:
            known = did_you_mean(name, [*COMMANDS, *entries])
            raise InputError(
                f"mlbuild has no command and no rule `{name}`",
                hints=known or ("see `mlbuild help` for commands, `mlbuild help rules` for rules",),
            )
    chosen = {rule: reference.one_of(entries, rule, where=file)} if rule else entries
    if words.has("json"):
        found = {one: reference.as_json(entry) for one, entry in chosen.items()}
        screen.out.lines([json.dumps(found[rule] if rule else found)])
    elif words.has("markdown"):
        screen.out.write(reference.markdown(chosen))
    elif rule:
        screen.out.lines([*reference.text_lines(chosen[rule])])
    else:
        screen.out.lines([*reference.overview_lines(chosen)])


def usage_of(command: str) -> Usage:
    """Return what a command takes."""
    found: Usage = import_module(f"mlbuild.cli.{command}").USAGE
    return found
