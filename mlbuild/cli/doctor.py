"""`mlbuild doctor`: say what this host can do for builds, with the cure for what it cannot."""

import json

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, current_folder, open_session
from mlbuild.config import load
from mlbuild.doctor import Finding, can_build, findings
from mlbuild.errors import HostError, InputError
from mlbuild.ui.text import Paint, clean

USAGE = Usage(
    "doctor",
    "",
    "Say what this host can do: sandbox, Docker, GPUs, uv, disk; a line each, with the cure. "
    "Needs no workspace.",
    (
        Option(("--executor",), "Look at each link to an executor instead.", "NAME", "executor"),
        *(JSON, COLOR, FOLDER),
    ),
)
MARKS = {"ok": ("green", "✓"), "note": ("yellow", "!"), "bad": ("red", "✗")}


def run(words: Words, screen: Screen) -> int:
    """Print the findings on stdout; return 36 when nothing can run actions in isolation."""
    if words.has("executor"):
        found = _of_executor(words, screen)
        return _shown(found, words, screen, works=all(one.status != "bad" for one in found))
    try:
        cache_dir = open_session(words, screen).config.cache_dir
    except InputError:
        folder = current_folder(words.text("folder"))
        cache_dir = load(folder, environ=screen.environ, flags={}).cache_dir
    found = findings(cache_dir, screen.environ)
    return _shown(found, words, screen, works=can_build(found))


def _of_executor(words: Words, screen: Screen) -> list[Finding]:
    """Look at each link to the executor that is asked for."""
    from mlbuild.remote.check import links_of  # noqa: PLC0415 - start-up: all executors
    from mlbuild.remote.kinds import open_executor  # noqa: PLC0415 - likewise

    config = open_session(words, screen).config
    described = config.executors.get(config.executor)
    if described is None:
        raise InputError(f"`{config.executor}` runs here: `mlbuild doctor` looks at this host")
    executor = open_executor(described, config, say=lambda _: None)
    try:
        found = links_of(executor)
        if found is None:
            raise InputError(f"an executor of the kind `{described.kind}` cannot be looked at")
        return [Finding(one.name, one.status, one.text, one.cure) for one in found]
    finally:
        executor.close()


def _shown(found: list[Finding], words: Words, screen: Screen, *, works: bool) -> int:
    """Print findings; return the exit code."""
    if words.has("json"):
        report = {"works": works, "findings": [one.as_dict() for one in found]}
        screen.out.lines([json.dumps(report)])
    else:
        paint = Paint(screen.terminal.color and screen.out.stream.isatty())
        width = max(len(one.name) for one in found)
        for one in found:
            colour, mark = MARKS[one.status]
            cure = f" → {one.cure}" if one.cure else ""
            line = clean(f"{one.name:<{width}}  {one.text}{cure}")
            screen.out.lines([f"{paint(colour, mark)} {line}"])
    return 0 if works else HostError.exit_code
