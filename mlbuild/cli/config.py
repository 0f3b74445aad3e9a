"""`mlbuild config`: show each setting and where it came from."""

import json

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.config import Config
from mlbuild.settings import SETTINGS, Value, shown
from mlbuild.ui.text import clean

USAGE = Usage(
    "config",
    "",
    "Show each setting, and each flag that `select` looks at, and where it came from.",
    (CONFIG, DEFINE, JSON, COLOR, FOLDER),
)


def run(words: Words, screen: Screen) -> int:
    """Print the settings on stdout."""
    config = open_session(words, screen).config
    if words.has("json"):
        found = {key: {"value": value, "origin": config.origin(key)} for key, value in _all(config)}
        screen.out.lines([json.dumps(found)])
    else:
        screen.out.lines(setting_lines(config))
    return 0


def setting_lines(config: Config) -> list[str]:
    """Return a table: key, value as TOML writes it, origin."""
    rows = [(key, _written(value), config.origin(key)) for key, value in _all(config)]
    keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [clean(f"{key:<{keys}} = {value:<{values}}  # {origin}") for key, value, origin in rows]


def _all(config: Config) -> list[tuple[str, Value]]:
    """Return all settings, then the flags as `flags.NAME`."""
    flags = {name: values for name, values in sorted(config.flags.items()) if name != "config"}
    return [
        *((key, shown(setting, config.value(key))) for key, setting in SETTINGS.items()),
        *((f"flags.{name}", value) for name, values in flags.items() for value in values),
    ]


def _written(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)
