"""Config: the settings of one run, frozen, each with the place it came from.

Flag > `MLBUILD_*` > `mlbuild.local.toml` > `mlbuild.toml` > the user's `config.toml` > default.
Nothing else reads the environment of the process. What decides whom to trust, such as the place of
the cache, is taken from the user and never from the workspace.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild import __version__
from mlbuild.errors import InputError, Span, did_you_mean

Value = bool | int | str
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a settings file."""

    key: str  # "section.name"
    kind: type
    doc: str
    variable: str = ""  # the environment variable that sets it
    choices: tuple[str, ...] = ()
    personal: bool = False  # never taken from a file of the workspace
    shared: bool = False  # only taken from a file of the workspace


SETTINGS: Mapping[str, Setting] = {
    setting.key: setting
    for setting in (
        Setting("workspace.name", str, "The workspace's name in the history.", shared=True),
        Setting(
            "workspace.requires",
            str,
            "Versions of mlbuild that may build it: `>=0.1`.",
            shared=True,
        ),
        Setting("build.jobs", int, "CPUs that actions may use together.", "MLBUILD_JOBS"),
        Setting(
            "build.keep_going",
            bool,
            "Go on with what does not depend on a failure.",
            "MLBUILD_KEEP_GOING",
        ),
        Setting(
            "build.executor",
            str,
            "How actions run.",
            "MLBUILD_EXECUTOR",
            choices=("auto", "sandbox", "process"),
        ),
        Setting(
            "build.color",
            str,
            "Colours on the terminal.",
            "MLBUILD_COLOR",
            choices=("auto", "always", "never"),
        ),
        Setting(
            "build.salt", str, "A text in every key: a new one misses every result.", "MLBUILD_SALT"
        ),
        Setting(
            "cache.dir", str, "The folder of the local store.", "MLBUILD_CACHE_DIR", personal=True
        ),
    )
}


SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in SETTINGS))


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one run."""

    name: str
    jobs: int
    keep_going: bool
    executor: str
    color: str
    salt: str
    cache_dir: str  # absolute
    requires: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    def value(self, key: str) -> Value:
        """Return the value of a setting by its key, such as `build.jobs`."""
        found: Value = getattr(self, _FIELDS[key])
        return found

    def origin(self, key: str) -> str:
        """Say where the value of a setting comes from: "default", a flag, a variable or a file."""
        return self.origins.get(key, "default")

    def caller_env(self, patterns: tuple[str, ...]) -> Mapping[str, str]:
        """Return the caller's variables that `patterns` name."""
        return caller_env(patterns, self.environ)


_FIELDS = {
    "workspace.name": "name",
    "workspace.requires": "requires",
    "build.jobs": "jobs",
    "build.keep_going": "keep_going",
    "build.executor": "executor",
    "build.color": "color",
    "build.salt": "salt",
    "cache.dir": "cache_dir",
}


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def caller_env(patterns: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that a pattern names: `HTTPS_PROXY`, `UV_*`; sorted."""
    whole = {pattern for pattern in patterns if not pattern.endswith("*")}
    starts = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    return {
        name: environ[name]
        for name in sorted(environ)
        if name in whole or (starts and name.startswith(starts))
    }


def load(root: str, *, environ: Mapping[str, str], flags: Mapping[str, Value]) -> Config:
    """Return the settings for the workspace at `root`.

    `flags` are what the command line sets, by key; texts are read as a variable's would be.
    Raises InputError for a file, variable or flag that cannot be meant.
    """
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for name, path, ours in _files(root, environ):
        for key, value in _read(path, shown=name, workspace=ours).items():
            values[key], origins[key] = value, name
    for setting in SETTINGS.values():
        if setting.variable and (text := environ.get(setting.variable, "")):
            values[setting.key] = _coerced(setting, text, f"`{setting.variable}`")
            origins[setting.key] = setting.variable
    for key, given in flags.items():
        flag = FLAGS[key]
        values[key] = _coerced(SETTINGS[key], given, f"`{flag}`")
        origins[key] = flag
    defaults: dict[str, Callable[[], Value]] = {
        "workspace.name": lambda: os.path.basename(root),
        "workspace.requires": str,
        "build.jobs": _cores,
        "build.keep_going": bool,
        "build.executor": lambda: "auto",
        "build.color": lambda: "auto",
        "build.salt": str,
        "cache.dir": lambda: _default_cache(environ),
    }
    chosen: dict[str, Any] = {
        _FIELDS[key]: values[key] if key in values else default()
        for key, default in defaults.items()
    }
    chosen["cache_dir"] = _absolute(chosen["cache_dir"], environ, origins.get("cache.dir", ""))
    return Config(**chosen, origins=origins, environ=dict(environ))


FLAGS: Mapping[str, str] = {
    "build.jobs": "-j",
    "build.keep_going": "-k",
    "build.executor": "--executor",
    "build.color": "--color",
}


def user_file(environ: Mapping[str, str]) -> str:
    """Return the path of the user's settings file, "" when there is no home for one."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        home = _home(environ)
        if not home:
            return ""
        base = os.path.join(home, ".config")
    return os.path.join(base, "mlbuild", "config.toml")


def settings_files(root: str, environ: Mapping[str, str]) -> list[str]:
    """Return the absolute paths that settings are read from, whether they exist or not."""
    return [path for _, path, _ in _files(root, environ)]


def _files(root: str, environ: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Return the settings files, the weakest first: shown name, path, whether the workspace's."""
    user = user_file(environ)
    ours = [
        (name, os.path.join(root, name), True) for name in ("mlbuild.toml", "mlbuild.local.toml")
    ]
    return [(user, user, False), *ours] if user else ours


def _read(path: str, *, shown: str, workspace: bool) -> dict[str, Value]:
    """Return the checked settings of one file by key; nothing when there is no such file."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"cannot read `{shown}`: {error.strerror}") from error
    tables = _parse(content, shown)
    text = content.decode("utf-8")
    values: dict[str, Value] = {}
    for section, table in tables.items():
        names = [key.partition(".")[2] for key in SETTINGS if key.startswith(section + ".")]
        if not names:
            raise InputError(
                f"no section `{section}` is known in `{shown}`",
                span=_find(text, shown, section=section),
                hints=did_you_mean(section, SECTIONS) or (f"the sections are {_listed(SECTIONS)}",),
            )
        if not isinstance(table, dict):
            raise InputError(
                f"`{section}` is a section, not {_described(table)}",
                span=_find(text, shown, section=section),
                hints=(f"write `[{section}]` and its keys below",),
            )
        for name, value in table.items():
            key, span = f"{section}.{name}", _find(text, shown, section=section, name=name)
            if key not in SETTINGS:
                raise InputError(
                    f"no key `{name}` is known in section `{section}`",
                    span=span,
                    hints=did_you_mean(name, names) or (f"its keys are {_listed(names)}",),
                )
            values[key] = _checked(SETTINGS[key], value, span=span, workspace=workspace)
    if "workspace.requires" in values:
        span = _find(text, shown, section="workspace", name="requires")
        _check_version(str(values["workspace.requires"]), span)
    return values


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


def _find(text: str, shown: str, *, section: str, name: str = "") -> Span:
    """Return where a section or key stands: tomllib tells no places, so look for the words."""
    here = ""
    fallback: Span | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line)
        if header:
            here = header[1].replace('"', "").replace("'", "").replace(" ", "")
            if here.split(".")[0] == section:
                fallback = fallback or Span(shown, number, line.index("[") + 2, len(header[1]))
                if here.startswith(f"{section}.{name}") and name:
                    return Span(shown, number, line.index("[") + 2, len(header[1]))
            continue
        wanted = name if here == section else section
        key = re.match(rf"\s*([\"']?){re.escape(wanted)}\1\s*[.=]", line) if wanted else None
        if key is None:
            continue
        at = line.index(wanted)
        if here == section:
            return Span(shown, number, at + 1, len(wanted))
        if not here:
            below = line.find(name, key.end()) if name else -1
            if below >= 0:
                return Span(shown, number, below + 1, len(name))
            fallback = fallback or Span(shown, number, at + 1, len(wanted))
    return fallback or Span(shown, 1, 1)


def _checked(setting: Setting, value: object, *, span: Span, workspace: bool) -> Value:
    """Return a value of a file; refuse a wrong type, and what this file may not decide."""
    if setting.personal and workspace:
        raise InputError(
            f"`{setting.key}` is not taken from a workspace",
            span=span,
            hints=(f"set it in ~/.config/mlbuild/config.toml or as `{setting.variable}`",),
            notes=("a checkout does not decide where your results are kept",),
        )
    if setting.shared and not workspace:
        raise InputError(f"`{setting.key}` belongs in the `mlbuild.toml` of a workspace", span=span)
    if type(value) is not setting.kind:
        wanted = {str: "a text", int: "a whole number", bool: "`true` or `false`"}[setting.kind]
        raise InputError(f"`{setting.key}` takes {wanted}, not {_described(value)}", span=span)
    assert isinstance(value, Value)
    return _within(setting, value, f"`{setting.key}`", span=span)


def _coerced(setting: Setting, given: Value, name: str) -> Value:
    """Return the value that a flag or variable called `name` means."""
    if not isinstance(given, str) or setting.kind is str:
        return _within(setting, given, name, span=None)
    if setting.kind is bool:
        if given.lower() in _TRUE | _FALSE:
            return given.lower() in _TRUE
        raise InputError(f"{name} is `true` or `false`, not `{given}`")
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise InputError(f"{name} takes a whole number, not `{given}`")
    return _within(setting, int(given), name, span=None)


def _within(setting: Setting, value: Value, name: str, *, span: Span | None) -> Value:
    if setting.choices and value not in setting.choices:
        raise InputError(
            f"{name} is {_listed(setting.choices, 'or')}, not `{value}`",
            span=span,
            hints=did_you_mean(str(value), setting.choices),
        )
    if setting.kind is int and int(value) < 1:
        raise InputError(f"{name} is at least 1, not {value}", span=span)
    return value


def _check_version(requires: str, span: Span) -> None:
    """Refuse to go on when this mlbuild is not one that the workspace asks for."""
    for part in requires.split(","):
        found = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*", part)
        if not found:
            raise InputError(
                f"`workspace.requires` holds `{part.strip()}`, which is no version bound",
                span=span,
                hints=("write bounds such as `>=0.1` or `>=0.1, <2`",),
            )
        if not _holds(found[1], _numbers(__version__), _numbers(found[2])):
            raise InputError(
                f"this workspace needs mlbuild {requires}, but this is {__version__}",
                span=span,
                hints=("install another version, for instance with `uv tool install`",),
            )


def _holds(operator: str, ours: tuple[int, ...], bound: tuple[int, ...]) -> bool:
    width = max(len(ours), len(bound))
    left = ours + (0,) * (width - len(ours))
    right = bound + (0,) * (width - len(bound))
    return {
        ">=": left >= right,
        "<=": left <= right,
        "==": left == right,
        "!=": left != right,
        ">": left > right,
        "<": left < right,
    }[operator]


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _cores() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _default_cache(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_CACHE_HOME", "")
    if base.startswith("/"):
        return os.path.join(base, "mlbuild", "v1")
    home = _home(environ)
    if not home:
        raise InputError(
            "there is no home directory to keep results in",
            hints=("set MLBUILD_CACHE_DIR to an absolute path",),
        )
    return os.path.join(home, ".cache", "mlbuild", "v1")


def _absolute(path: str, environ: Mapping[str, str], origin: str) -> str:
    """Return the folder of the store without `~`; refuse one that depends on where you stand."""
    if path == "~" or path.startswith("~/"):
        path = _home(environ) + path[1:]
    if not path.startswith("/"):
        where = f" in {origin}" if origin and origin != "MLBUILD_CACHE_DIR" else ""
        raise InputError(
            f"`{origin if not where else 'cache.dir'}`{where} is not an absolute path: `{path}`"
        )
    return os.path.normpath(path)


def _home(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return home
    from pwd import getpwuid  # noqa: PLC0415 - start-up: HOME is nearly always set

    try:
        return getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _described(value: object) -> str:
    """Say what was given, in words."""
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'the text "{value}"'
        case int() | float():
            return f"the number {value}"
        case list():
            return "a list"
        case dict():
            return "a section"
        case _:
            return f"`{value}`"


def _listed(words: "list[str] | tuple[str, ...]", last: str = "and") -> str:
    quoted = [f"`{word}`" for word in words]
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}" if len(quoted) > 1 else quoted[0]
