"""`mlbuild config`: show each setting and where it came from."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.config import Config
from mlbuild.core.redact import HIDDEN, is_secret, redacted
from mlbuild.settings import SETTINGS, shown
from mlbuild.settings_file import NamedExecutor
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
        found = {one.key: {"value": one.value, "origin": one.origin} for one in _all(config)}
        screen.out.lines([json.dumps(found, default=str)])
    else:
        screen.out.lines(setting_lines(config))
    return 0


@dataclass(frozen=True, slots=True)
class _Row:
    key: str
    value: object
    origin: str


def setting_lines(config: Config) -> list[str]:
    """Return a table: key, value as TOML writes it, origin."""
    rows = [(one.key, _written(one.value), one.origin) for one in _all(config)]
    keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [clean(f"{key:<{keys}} = {value:<{values}}  # {origin}") for key, value, origin in rows]


def _all(config: Config) -> Iterator[_Row]:
    """Yield all settings, the tables of executors, then the flags as `flags.NAME`."""
    for key, setting in SETTINGS.items():
        yield _Row(key, shown(setting, config.value(key)), config.origin(key))
    for executor in config.executors.values():
        yield from _table(executor)
    for name, values in sorted(config.flags.items()):
        if name != "config":
            yield from (
                _Row(f"flags.{name}", one, config.origin(f"flags.{name}")) for one in values
            )


def _table(executor: NamedExecutor) -> Iterator[_Row]:
    """Yield what an executor's table says, without what must stay secret."""
    said = {"kind": executor.kind, **executor.options}
    if "fallback" in executor.spans:
        said["fallback"] = executor.fallback
    for name, value in said.items():
        secret = name == "headers" or is_secret(name, "")
        safe = redacted(value) if isinstance(value, str) else value
        hidden = secret or redacted(_written(safe)) != _written(safe)
        place = executor.spans[name].path
        yield _Row(f"executors.{executor.name}.{name}", HIDDEN if hidden else safe, place)


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
