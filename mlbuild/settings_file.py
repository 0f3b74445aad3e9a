"""A settings file: plain tables, and `[config.NAME]` tables that are used by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild.errors import InputError, Span, did_you_mean
from mlbuild.settings import (
    EXECUTORS,
    SECTIONS,
    SETTINGS,
    Value,
    check_version,
    checked,
    described,
    listed,
)

CONFIG = "config"  # the section whose tables have names of the user's
PLACES = "executors"  # likewise
COMMON = ("fallback",)  # keys of executors of every kind
FACTS = ("config", "cpu", "os")  # flags that nobody sets
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, slots=True)
class NamedConfig:
    """What one `[config.NAME]` sets: flags for `select`, as text, and settings by key."""

    flags: Mapping[str, str]
    settings: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class NamedExecutor:
    """What `[executors.NAME]` says; its `kind` knows what the options mean."""

    name: str
    kind: str
    options: Mapping[str, object] = field(repr=False)  # a token may be among them
    spans: Mapping[str, Span]  # where each of them stands; "" is all of it
    fallback: bool = False  # whether actions run here when it cannot be reached


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """The checked content of one file."""

    settings: Mapping[str, Value] = field(default_factory=dict)
    configs: Mapping[str, NamedConfig] = field(default_factory=dict)
    offers: Mapping[str, Value] = field(default_factory=dict)  # settings that wait for a yes
    executors: Mapping[str, NamedExecutor] = field(default_factory=dict)
    chosen: Span | None = None  # where `build.executor` is set


def read_settings(path: str, *, shown: str, workspace: bool) -> SettingsFile:
    """Read a file, which is nothing where there is none; `workspace` says that it lies in one.

    Raises InputError for what cannot be meant.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return SettingsFile()
    except OSError as error:
        raise InputError(f"cannot read `{shown}`: {error.strerror}") from error
    return parse_settings(content, shown=shown, workspace=workspace)


def parse_settings(content: bytes, *, shown: str, workspace: bool) -> SettingsFile:
    """Read the bytes of a file as `read_settings` does."""
    tables = _parse(content, shown)
    reader = _Reader(content.decode("utf-8"), shown, workspace)
    configs = reader.configs(tables.pop(CONFIG, {}))
    executors = reader.executors(tables.pop(PLACES, {}))
    values: dict[str, Value] = {}
    for section, table in tables.items():
        values |= reader.section(section, table, above=())
    if "workspace.requires" in values:
        span = reader.find("workspace", "requires")
        check_version(str(values["workspace.requires"]), span)
    offers = {key: values.pop(key) for key in list(values) if workspace and SETTINGS[key].offered}
    chosen = reader.find("build", "executor") if "build.executor" in values else None
    offers = {key: value for key, value in offers.items() if value}
    return SettingsFile(values, configs, offers, executors, chosen)


def flag_name(name: str, *, span: Span | None = None) -> str:
    """Return the name of a flag that may be set; raise InputError for any other."""
    if name in FACTS:
        raise InputError(
            f"the flag `{name}` cannot be set",
            span=span,
            hints=("`os` and `cpu` say what this host is, `config` which configs are in use",),
        )
    if not _NAME.fullmatch(name):
        raise InputError(
            f"`{name}` cannot be the name of a flag",
            span=span,
            hints=("a name has letters, digits, `_`, `-`, `.` and `+`",),
        )
    return name


@dataclass(frozen=True, slots=True)
class _Reader:
    text: str
    shown: str
    workspace: bool

    def find(self, *path: str) -> Span:
        return _find(self.text, self.shown, path)

    def section(self, section: str, table: object, *, above: tuple[str, ...]) -> dict[str, Value]:
        """Return the settings of a section, which stands in the tables named by `above`."""
        names = [key.partition(".")[2] for key in SETTINGS if key.startswith(section + ".")]
        if not names:
            known = SECTIONS if above else (*SECTIONS, CONFIG, PLACES)
            raise InputError(
                f"no section `{section}` is known in `{self.shown}`",
                span=self.find(*above, section),
                hints=did_you_mean(section, known) or (f"the sections are {listed(known)}",),
            )
        if not isinstance(table, dict):
            raise InputError(
                f"`{section}` is a section, not {described(table)}",
                span=self.find(*above, section),
                hints=(f"write `[{'.'.join((*above, section))}]` and its keys below",),
            )
        values: dict[str, Value] = {}
        for name, value in table.items():
            key, span = f"{section}.{name}", self.find(*above, section, name)
            if key not in SETTINGS:
                raise InputError(
                    f"no key `{name}` is known in section `{section}`",
                    span=span,
                    hints=did_you_mean(name, names) or (f"its keys are {listed(names)}",),
                )
            values[key] = checked(SETTINGS[key], value, span=span, workspace=self.workspace)
        return values

    def configs(self, tables: object) -> dict[str, NamedConfig]:
        """Return the named configs of the file."""
        if not isinstance(tables, dict):
            raise InputError(
                f"`config` holds tables, not {described(tables)}",
                span=self.find(CONFIG),
                hints=("write `[config.gpu]` and its flags below",),
            )
        found: dict[str, NamedConfig] = {}
        for name, table in tables.items():
            span = self.find(CONFIG, name)
            if not _NAME.fullmatch(name):
                raise InputError(f"`{name}` cannot be the name of a config", span=span)
            if not isinstance(table, dict):
                raise InputError(
                    f"`config.{name}` is a section, not {described(table)}",
                    span=span,
                    hints=(f"write `[config.{name}]` and `{name} = …` below",),
                )
            found[name] = self._config(name, table)
        return found

    def executors(self, tables: object) -> dict[str, NamedExecutor]:
        """Return the executors of the file, by name."""
        if not isinstance(tables, dict):
            raise InputError(
                f"`{PLACES}` holds tables, not {described(tables)}",
                span=self.find(PLACES),
                hints=("write `[executors.gpubox]` and `kind`, `host` … below",),
            )
        return {name: self._executor(name, table) for name, table in tables.items()}

    def _executor(self, name: str, table: object) -> NamedExecutor:
        span = self.find(PLACES, name)
        if not _NAME.fullmatch(name) or name in EXECUTORS:
            raise InputError(
                f"`{name}` cannot be the name of an executor",
                span=span,
                hints=(f"a name has letters, digits, `_`, `-` and `.`; {listed(EXECUTORS)} exist",),
            )
        kind = table.get("kind") if isinstance(table, dict) else None
        if not isinstance(table, dict) or not isinstance(kind, str):
            raise InputError(
                f"`executors.{name}` does not say of which kind it is",
                span=span,
                hints=('write `kind = "ssh"` in it, or another kind',),
            )
        spans = {key: self.find(PLACES, name, key) for key in table}
        options = {key: value for key, value in table.items() if key not in {"kind", *COMMON}}
        fallback = table.get("fallback", False)
        if not isinstance(fallback, bool):
            raise InputError(
                f"`executors.{name}.fallback` takes `true` or `false`, not {described(fallback)}",
                span=spans["fallback"],
            )
        return NamedExecutor(name, kind, options, {**spans, "": span}, fallback)

    def _config(self, name: str, table: dict[str, Any]) -> NamedConfig:
        flags: dict[str, str] = {}
        settings: dict[str, Value] = {}
        for key, value in table.items():
            span = self.find(CONFIG, name, key)
            if isinstance(value, dict):
                settings |= self.section(key, value, above=(CONFIG, name))
            elif key in SECTIONS or key in SETTINGS:
                raise InputError(
                    f"`{key}` is no flag, but a {'setting' if key in SETTINGS else 'section'}",
                    span=span,
                    hints=("settings are written like `build.jobs = 4`, without quotes",),
                )
            else:
                flags[flag_name(key, span=span)] = _text(key, value, span)
        for key in settings:
            unfit = SETTINGS[key].shared or (self.workspace and SETTINGS[key].offered)
            if key == "build.config" or unfit:
                raise InputError(
                    f"`{key}` is not taken from a named config",
                    span=self.find(CONFIG, name, *key.split(".")),
                )
        return NamedConfig(flags, settings)


def _text(key: str, value: object, span: Span) -> str:
    """Return the value of a flag as conditions compare it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float) and value == value:  # noqa: PLR0124 - NaN equals nothing
        return str(value)
    raise InputError(
        f"the flag `{key}` takes a text, a number, `true` or `false`, not {described(value)}",
        span=span,
    )


def _parse(content: bytes, shown: str) -> dict[str, Any]:
    from tomllib import TOMLDecodeError, loads  # noqa: PLC0415 - start-up: only once a file exists

    try:
        return loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"`{shown}` is not UTF-8", span=Span(shown, line, 1)) from error
    except TOMLDecodeError as error:
        message, _, place = str(error).rpartition(" (at ")
        found = re.fullmatch(r"line (\d+), column (\d+)\)", place)
        lines = content.count(b"\n") + 1
        span = Span(shown, int(found[1]), int(found[2])) if found else Span(shown, lines, 1)
        reason = (message or str(error)).strip()
        raise InputError(
            f"`{shown}` is not valid TOML: {reason[:1].lower()}{reason[1:]}", span=span
        ) from error
    except RecursionError as error:
        raise InputError(f"`{shown}` is nested too deeply", span=Span(shown, 1, 1)) from error


_HEADER = re.compile(r"\s*\[+\s*([^\]]*?)\s*\]")
_KEY = r"(?:\"[^\"]*\"|'[^']*'|[\w-]+)"
_KEYS = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")


def _find(text: str, shown: str, path: tuple[str, ...]) -> Span:
    """Return where the key `path` stands: tomllib tells no places, so look for the words.

    Where it is not found, what stands above it is.
    """
    above: tuple[str, ...] = ()
    best, found = 0, Span(shown, 1, 1)
    for number, line in enumerate(text.splitlines(), start=1):
        header = _HEADER.match(line)
        keys = header or _KEYS.match(line)
        if keys is None:
            continue
        parts = [
            (one[0].strip("\"'"), keys.start(1) + one.start()) for one in re.finditer(_KEY, keys[1])
        ]
        before = () if header else above
        names = (*before, *(name for name, _ in parts))
        if header:
            above = names
        same = 0
        while same < min(len(names), len(path)) and names[same] == path[same]:
            same += 1
        if same <= max(best, len(before)):
            continue
        best = same
        name, at = parts[same - len(before) - 1]
        at = line.index(name, at)
        if header:
            at, name = keys.start(1), keys[1]
        elif same < len(path) and same == len(names):  # the rest may stand in `{ … }`
            below = line.find(path[same], keys.end())
            if below >= 0:
                at, name, best = below, path[same], same + 1
        found = Span(shown, number, at + 1, len(name))
    return found
