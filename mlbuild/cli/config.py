"""`mlbuild config`: show each setting and where it came from."""

import json

from mlbuild.cli.options import COLOR, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.config import SETTINGS, Config, Value
from mlbuild.ui.text import clean

USAGE = Usage("config", "", "Show each setting and where it came from.", (JSON, COLOR, FOLDER))


def run(words: Words, screen: Screen) -> int:
    """Print the settings on stdout."""
    config = open_session(words, screen).config
    if words.has("json"):
        found = {
            key: {"value": config.value(key), "origin": config.origin(key)} for key in SETTINGS
        }
        screen.out.lines([json.dumps(found)])
    else:
        screen.out.lines(setting_lines(config))
    return 0


def setting_lines(config: Config) -> list[str]:
    """Return a table: key, value as TOML writes it, origin."""
    rows = [(key, _written(config.value(key)), config.origin(key)) for key in SETTINGS]
    keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [clean(f"{key:<{keys}} = {value:<{values}}  # {origin}") for key, value, origin in rows]


def _written(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)
