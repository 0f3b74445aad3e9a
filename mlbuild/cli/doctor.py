"""`mlbuild doctor`: say what this host can do for builds, with the cure for what it cannot."""

import json

from mlbuild.cli.options import COLOR, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, current_folder, open_session
from mlbuild.config import load
from mlbuild.errors import HostError, InputError
from mlbuild.ui.text import Paint, clean

USAGE = Usage(
    "doctor",
    "",
    "Say what this host can do: sandbox, Docker, GPUs, uv, disk; a line each, with the cure. "
    "Needs no workspace.",
    (JSON, COLOR, FOLDER),
)
MARKS = {"ok": ("green", "✓"), "note": ("yellow", "!"), "bad": ("red", "✗")}


def run(words: Words, screen: Screen) -> int:
    """Print the findings on stdout; return 36 when nothing can run actions in isolation."""
    from mlbuild.doctor import can_build, findings  # noqa: PLC0415 - start-up: all executors

    try:
        cache_dir = open_session(words, screen).config.cache_dir
    except InputError:
        folder = current_folder(words.text("folder"))
        cache_dir = load(folder, environ=screen.environ, flags={}).cache_dir
    found = findings(cache_dir, screen.environ)
    works = can_build(found)
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
