"""Session: what a command starts from: streams, current folder, workspace, settings."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

from mlbuild.cli.options import Words
from mlbuild.config import Config, load
from mlbuild.errors import Hangup, InputError
from mlbuild.settings import Value
from mlbuild.ui.diagnose import Place
from mlbuild.ui.terminal import Out, Terminal, size_of, terminal_of
from mlbuild.ui.text import Paint
from mlbuild.workspace import Workspace


class Screen:
    """The two streams of this process. Colours follow the settings as soon as they are known."""

    def __init__(self, environ: Mapping[str, str], *, color: str = "auto") -> None:
        self.environ = environ
        self.out = Out(sys.stdout or _nowhere())
        self.err = Out(sys.stderr or _nowhere())
        self.root = ""  # of the workspace, once it is found
        self.terminal: Terminal
        self.choose(color)

    def choose(self, color: str) -> None:
        """Follow a wish: "auto", "always" or "never"."""
        self.terminal = terminal_of(self.err.stream, color=color, environ=self.environ)

    @property
    def place(self) -> Place:
        """Where and how errors are drawn."""
        columns, _ = size_of(self.err.stream, self.terminal)
        return Place(self.root, Paint(self.terminal.color), columns)


@dataclass(frozen=True, slots=True)
class Session:
    """What a command in a workspace starts from."""

    workspace: Workspace
    config: Config
    folder: str  # absolute: where the command was given
    package: str  # of that folder
    screen: Screen


def open_session(words: Words, screen: Screen) -> Session:
    """Find the workspace of the current folder and read its settings."""
    folder = current_folder(words.text("folder"))
    workspace = Workspace.find(folder)
    screen.root = workspace.root
    flags = _flags(words)
    defines = _defines(words.lists.get("define", ()))
    config = load(workspace.root, environ=screen.environ, flags=flags, defines=defines)
    screen.choose(config.color)
    return Session(workspace, config, folder, workspace.package_of(folder), screen)


def open_config(words: Words, screen: Screen) -> Config:
    """Read the settings of the current folder's workspace; elsewhere, those of the user."""
    folder = current_folder(words.text("folder"))
    try:
        root = screen.root = Workspace.find(folder).root
    except InputError:
        root = folder
    config = load(root, environ=screen.environ, flags=_flags(words))
    screen.choose(config.color)
    return config


def _flags(words: Words) -> dict[str, Value]:
    """Return the settings that the command line sets."""
    flags: dict[str, Value] = {
        key: words.values[dest]
        for key, dest in (
            ("build.jobs", "jobs"),
            ("build.keep_going", "keep_going"),
            ("build.executor", "executor"),
            ("build.color", "color"),
            ("cache.url", "cache_url"),
            ("cache.read", "cache_read"),
            ("cache.write", "cache_write"),
            ("cache.scope", "cache_scope"),
            ("cache.upload", "upload"),
            ("cache.max_size", "max_size"),
            ("cache.max_age", "max_age"),
        )
        if dest in words.values
    }
    if words.has("config"):
        flags["build.config"] = ",".join(words.lists["config"])
    return flags


def _defines(given: tuple[str, ...]) -> dict[str, str]:
    """Return the flags that `--define KEY=VALUE` sets; a later one wins."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(
                f"`--define` takes KEY=VALUE, not `{text}`",
                hints=(f"for example `--define {text or 'device'}=true`",),
            )
        found[name] = value
    return found


def current_folder(asked: str) -> str:
    """Return the absolute folder that a command is given in; `asked` is what `-C` says."""
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise InputError("the current directory does not exist any more") from error
    folder = os.path.realpath(os.path.join(here, asked)) if asked else here
    if not os.path.isdir(folder):
        raise InputError(f"there is no folder `{asked}`")
    return folder


@contextmanager
def terminations() -> Iterator[None]:
    """Let a polite end of this process, by SIGTERM or a closed terminal, be like Ctrl-C.

    It is told apart, as Hangup: what runs on other machines is not ended by it.
    """
    was: dict[signal.Signals, Any] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's wish to ignore it stands
            was[number] = signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in was.items():
            signal.signal(number, handler)


def _leave(*_: object) -> NoReturn:
    raise Hangup


def _nowhere() -> TextIO:
    """Return a stream for one that was closed when this process began.

    It takes the number of the closed one, so that no file of ours gets it, and what a library
    writes to "stderr" never ends in a database.
    """
    return open(os.devnull, "w", encoding="utf-8")
