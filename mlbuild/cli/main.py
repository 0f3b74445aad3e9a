"""Main: from the words of a command line to an exit code."""

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from mlbuild.cli.help import COMMANDS
from mlbuild.cli.options import Words, help_text, is_exclusion, narrowed, parse
from mlbuild.cli.session import Screen
from mlbuild.config import process_environment
from mlbuild.errors import InputError, Interrupted, MlbuildError, did_you_mean
from mlbuild.ui.diagnose import error_lines

VALUED = (  # options that take a word
    *(
        "-C",
        "-j",
        "--jobs",
        "--executor",
        "--events",
        "--color",
        "--config",
        "--define",
        "-o",
        "--output",
        "--order",
        "--upgrade-package",
        "--template",
        "--package",
        "--name",
        "--base",
        "--head",
        "--summary",
        "--report",
        "--junit",
        "--metrics",
        "--ci",
        "--sarif",
        "--runs",
        "--notify",
        "--action",
        "-c",
        "--cache-url",
        "--cache-read",
        "--cache-write",
        "--cache-scope",
        "--upload",
        "--out",
        "--max-size",
        "--max-age",
        "--grace",
        "--store",
        "--cache-dir",
        "--inside",
        "--slots",
        "--tail",
        "--claim",
        "--patience",
    ),
)


def main(argv: list[str]) -> int:
    """Do what `argv`, without the program's name, says; return the exit code."""
    # A build makes many lasting values and little garbage: looking for it early finds nothing.
    gc.set_threshold(200_000, 50, 100)
    environ = process_environment()
    wish = _color(argv) or environ.get("MLBUILD_COLOR", "")
    screen = Screen(environ, color=wish if wish in {"always", "never"} else "auto")
    try:
        return _run(argv, screen)
    except MlbuildError as error:
        screen.err.lines(error_lines(error, screen.place))
        return error.exit_code
    except KeyboardInterrupt:
        screen.err.lines(["interrupted"])
        return Interrupted.exit_code
    except BrokenPipeError:
        screen.out.give_up()
        return 0
    except Exception as error:  # noqa: BLE001 - the border: whatever is left is a fault of ours
        from mlbuild.cli.fault import show_fault  # noqa: PLC0415 - start-up: rarely needed

        return show_fault(error, argv, screen)


def _run(argv: list[str], screen: Screen) -> int:
    if argv[:1] == ["--version"]:
        argv = ["version"]
    if not argv or argv[0] in {"-h", "--help"}:
        argv = ["help"]
    command, rest = split(argv)
    module = import_module(f"mlbuild.cli.{command}")
    usage, verb, rest = narrowed(module.USAGE, rest)
    words = parse(usage, rest)
    if words.has("help"):
        screen.out.write(help_text(usage))
        return 0
    run: Callable[[Words, Screen], int] = module.run
    return run(replace(words, rest=(verb, *words.rest)) if verb else words, screen)


def split(argv: list[str]) -> tuple[str, list[str]]:
    """Return the command, `build` where none is named, and the other words.

    Options may stand before the command: `mlbuild -C examples why :lenet`.
    """
    at = 0
    while at < len(argv) and argv[at].startswith("-") and argv[at] != "--":
        if is_exclusion(argv[at]):
            return "build", argv
        at += 2 if argv[at] in VALUED else 1
    if at >= len(argv) or argv[at] == "--":
        return "build", argv
    word = argv[at]
    if word in COMMANDS:
        return word, argv[:at] + argv[at + 1 :]
    if _looks_like_pattern(word):
        return "build", argv
    raise InputError(
        f"mlbuild has no command `{word}`",
        hints=(*did_you_mean(word, list(COMMANDS)), f"a target is named like `:{word}`"),
    )


def _looks_like_pattern(word: str) -> bool:
    return "/" in word or ":" in word or word.startswith((".", "@")) or os.path.isdir(word)


def _color(argv: list[str]) -> str:
    """Return what `--color` says, before the words are sorted out: for errors in the words."""
    for word, value in zip(argv, [*argv[1:], ""], strict=False):
        if word == "--color":
            return value
        if word.startswith("--color="):
            return word.partition("=")[2]
    return ""
