"""`mlbuild completion`: let a shell complete commands, options and labels."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from mlbuild import __version__, state
from mlbuild.cli.candidates import FILES, SHELLS, Command, Place, candidates
from mlbuild.cli.help import COMMANDS, usage_of
from mlbuild.cli.options import HELP, Option, Usage, Words
from mlbuild.cli.session import Screen, current_folder
from mlbuild.config import Config, load, process_environment
from mlbuild.errors import InputError, MlbuildError, did_you_mean
from mlbuild.query.labels import kept_labels
from mlbuild.workspace import STATE, Workspace

USAGE = Usage(
    "completion",
    "bash | zsh | fish",
    "Print what lets a shell complete commands, options and labels. "
    'bash: add `eval "$(mlbuild completion bash)"` to ~/.bashrc. '
    'zsh: add `eval "$(mlbuild completion zsh)"` to ~/.zshrc, after compinit. '
    "fish: `mlbuild completion fish > ~/.config/fish/completions/mlbuild.fish`.",
    (
        Option(("--words",), "For fish and zsh: print what the last word may become.", dest="ask"),
        Option(("--line",), "For bash: print what the end of TEXT may become.", "TEXT", "line"),
        Option(("--breaks",), "For bash: the letters that end a word.", "LETTERS", "breaks"),
    ),
    most=None,
)
_Table = Mapping[str, tuple[Sequence[str], Sequence[str], str]]
_FOLDER = os.path.dirname(os.path.abspath(__file__))
_PLAIN = re.compile(r"[\w@%+=:,./~-]*")  # what a shell takes as it stands


def run(words: Words, screen: Screen) -> int:
    """Print a script, or what a script asks for: one candidate a line, and never an error."""
    if words.has("line"):
        screen.out.lines(_for_bash(words.text("line"), words.text("breaks")))
        return 0
    if words.has("ask"):
        asked = [*words.rest[:-1], words.rest[-1].lstrip("'\"")] if words.rest else [""]
        screen.out.lines(_found(asked))
        return 0
    if len(words.rest) != 1 or words.rest[0] not in SHELLS:
        given = words.rest[0] if words.rest else ""
        known = ", ".join(f"`{one}`" for one in SHELLS)
        raise InputError(
            f"`mlbuild completion` is for {known}" + (f", not `{given}`" if given else ""),
            hints=did_you_mean(given, SHELLS) or ("for example `mlbuild completion bash`",),
        )
    with open(f"{_FOLDER}/shells/mlbuild.{words.rest[0]}", encoding="utf-8") as file:
        screen.out.write(file.read())
    return 0


def _found(words: Sequence[str]) -> list[str]:
    """Return the candidates for the last of `words`; none where anything is wrong."""
    try:
        place = _place(words)
        usage = _Usages(place.root)
        return candidates(words, commands=list(COMMANDS), usage=usage, place=place)
    except Exception:  # noqa: BLE001 - whoever is typing wants no message
        return []


def _place(words: Sequence[str]) -> Place:
    """Return where the words are written; `-C DIR` is followed."""
    at = words.index("-C") + 1 if "-C" in words[:-1] else 0
    try:
        folder = current_folder(words[at] if 0 < at < len(words) - 1 else "")
        workspace = Workspace.find(folder)
        package = workspace.package_of(folder)
    except MlbuildError:
        return Place()
    labels, jobs = cache(lambda: kept_labels(workspace)), lambda: _jobs(workspace.root)
    executors = cache(lambda: list(_config(workspace.root).executors))
    return Place(workspace.root, package, labels, jobs, executors)


def _jobs(root: str) -> list[str]:
    """Return the labels and the names of the jobs that were started in the workspace at `root`."""
    from mlbuild.remote.jobs.book import book_of  # noqa: PLC0415 - for two commands

    notes = [note for note in book_of(_config(root)).notes() if note.root == root]
    return sorted({name for note in notes for name in (note.label, note.id[:12])})


def _config(root: str) -> Config:
    return load(root, environ=process_environment(), flags={})


def _for_bash(line: str, breaks: str) -> list[str]:
    """Return candidates as bash puts them in: without what it does not replace."""
    words, quote, raw = _split(line)
    found = _found(words[1:])
    if quote:
        return found
    kept = max((raw.rfind(letter) for letter in breaks if letter not in "\"'"), default=-1) + 1
    cut = len(words[-1]) - (len(raw) - kept)
    return [one if one == FILES else _escaped(one[cut:]) for one in found]


def _escaped(word: str) -> str:
    """Return a word as a shell reads it."""
    if _PLAIN.fullmatch(word):
        return word
    return "".join(one if _PLAIN.fullmatch(one) else f"\\{one}" for one in word)


def _split(line: str) -> tuple[list[str], str, str]:
    """Return the words of an unfinished line, the quote that is open, and how the last is typed."""
    words: list[str] = [""]
    quote, raw, started = "", "", False
    letters = iter(line)
    for letter in letters:
        if not quote and letter.isspace():
            if started:
                words.append("")
            raw, started = "", False
            continue
        raw += letter
        started = True
        if letter == "\\" and quote != "'":
            after = next(letters, "")
            raw += after
            words[-1] += after
        elif quote and letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        else:
            words[-1] += letter
    return words, quote, raw


class _Usages:
    """Tells what commands take, from a table that is kept: to ask each of them takes too long."""

    def __init__(self, root: str) -> None:
        self._place = os.path.join(root, STATE, "query", "usages") if root else ""

    def __call__(self, command: str) -> Command:
        """Return what a command takes; nothing for one that there is not."""
        options, valued, words = self._table.get(command, ((), (), ""))
        return Command(tuple(options), frozenset(valued), words)

    @cached_property
    def _table(self) -> _Table:
        asked = _asked()
        try:
            with open(self._place, encoding="utf-8") as file:
                known, table = json.load(file)
            if known == asked:
                found: _Table = table
                return found
        except (OSError, ValueError):
            pass
        fresh = {name: _taken(usage_of(name)) for name in COMMANDS}
        if self._place and os.path.isdir(os.path.dirname(self._place)):
            state.keep(self._place, json.dumps([asked, fresh]).encode())
        return fresh


def _taken(usage: Usage) -> tuple[list[str], list[str], str]:
    """Return the options of a command, those that take a word, and its other words."""
    options = [name for option in (*usage.options, HELP) for name in option.names]
    valued = [name for option in usage.options if option.value for name in option.names]
    return options, valued, usage.words


def _asked() -> list[Any]:
    """Return what the kept table depends on: this version of the commands."""
    with os.scandir(_FOLDER) as entries:
        stamps = [[one.name, one.stat().st_mtime_ns] for one in entries if one.name[-3:] == ".py"]
    return [__version__, *sorted(stamps)]
