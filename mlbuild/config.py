"""Config: the settings of one run, frozen, each with the place it came from.

Flag > `MLBUILD_*` > `mlbuild.local.toml` > `mlbuild.toml` > the user's `config.toml` > default.
The settings of a named config, `[config.NAME]`, stand between the variables and the files.
Nothing else reads the environment of the process. What decides whom to trust, such as the place of
the cache, is taken from the user and never from the workspace.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild.errors import InputError, did_you_mean
from mlbuild.settings import SETTINGS, Value, coerced, listed
from mlbuild.settings_file import SettingsFile, flag_name, parse_settings, read_settings


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
    hook_targets: tuple[str, ...] = ()  # patterns
    hook_gate: bool = False
    requires: str = ""
    configs: tuple[str, ...] = ()  # the named configs in use
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what `select` looks at
    origins: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    words: Mapping[str, Value] = field(default_factory=dict)  # what the command line sets, by key
    defines: Mapping[str, str] = field(default_factory=dict)  # the flags for `select` that it sets

    def with_files(self, root: str, ours: Mapping[str, bytes]) -> "Config":
        """Return the settings of the same words, had the workspace's own files these contents.

        Raises InputError like `load`.
        """
        return load(root, environ=self.environ, flags=self.words, defines=self.defines, ours=ours)

    def value(self, key: str) -> Value:
        """Return the value of a setting by its key, such as `build.jobs`."""
        found: Value = getattr(self, _FIELDS[key])
        return found

    def origin(self, key: str) -> str:
        """Say where a setting or `flags.NAME` comes from: "default", a flag, a variable, a file."""
        return self.origins.get(key, "default")

    def caller_env(self, patterns: tuple[str, ...]) -> Mapping[str, str]:
        """Return the caller's variables that `patterns` name."""
        return caller_env(patterns, self.environ)


_FIELDS = {
    "workspace.name": "name",
    "workspace.requires": "requires",
    "build.config": "configs",
    "build.jobs": "jobs",
    "build.keep_going": "keep_going",
    "build.executor": "executor",
    "build.color": "color",
    "build.salt": "salt",
    "cache.dir": "cache_dir",
    "hooks.targets": "hook_targets",
    "hooks.gate": "hook_gate",
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


def load(
    root: str,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, Value],
    defines: Mapping[str, str] | None = None,
    ours: Mapping[str, bytes] | None = None,
) -> Config:
    """Return the settings for the workspace at `root`.

    `flags` are what the command line sets, by key; texts are read as a variable's would be.
    `defines` are the flags for `select` that it sets. `ours` are the contents of the workspace's
    own files by name, where those on the disk do not count. Raises InputError for a file, variable
    or flag that cannot be meant.
    """
    files = [
        (
            name,
            read_settings(path, shown=name, workspace=own)
            if ours is None or not own
            else parse_settings(ours.get(name, b""), shown=name, workspace=True),
        )
        for name, path, own in _files(root, environ)
    ]
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for name, file in files:
        values |= file.settings
        origins |= dict.fromkeys(file.settings, name)
    stronger, said = _outside(environ, flags)
    used = stronger.get("build.config", values.get("build.config", ()))
    assert isinstance(used, tuple)
    selected: dict[str, tuple[str, ...]] = {}
    for config in dict.fromkeys(used):
        _check_known(config, files, said.get("build.config", origins.get("build.config", "")))
        for name, file in files:
            found = file.configs.get(config)
            if found is not None:
                origin = f"[config.{config}] of {name}"
                values |= found.settings
                origins |= dict.fromkeys(found.settings, origin)
                selected |= {flag: (text,) for flag, text in found.flags.items()}
                origins |= {f"flags.{flag}": origin for flag in found.flags}
    values |= stronger
    origins |= said
    for flag, text in (defines or {}).items():
        selected[flag_name(flag)] = (text,)
        origins[f"flags.{flag}"] = "--define"
    host = os.uname()
    facts = {"config": used, "cpu": (host.machine,), "os": (host.sysname.lower(),)}
    origins |= {"flags.cpu": "this host", "flags.os": "this host"}

    defaults: dict[str, Callable[[], Value]] = {
        "workspace.name": lambda: os.path.basename(root),
        "workspace.requires": str,
        "build.config": tuple,
        "build.jobs": _cores,
        "build.keep_going": bool,
        "build.executor": lambda: "auto",
        "build.color": lambda: "auto",
        "build.salt": str,
        "cache.dir": lambda: _default_cache(environ),
        "hooks.targets": tuple,
        "hooks.gate": bool,
    }
    chosen: dict[str, Any] = {
        _FIELDS[key]: values[key] if key in values else default()
        for key, default in defaults.items()
    }
    chosen["cache_dir"] = _absolute(chosen["cache_dir"], environ, origins.get("cache.dir", ""))
    return Config(
        **chosen,
        flags=selected | facts,
        origins=origins,
        environ=dict(environ),
        words=dict(flags),
        defines=dict(defines or {}),
    )


def _outside(
    environ: Mapping[str, str], flags: Mapping[str, Value]
) -> tuple[dict[str, Value], dict[str, str]]:
    """Return what variables and flags set, and which of them did."""
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS.values():
        if setting.variable and (text := environ.get(setting.variable, "")):
            values[setting.key] = coerced(setting, text, f"`{setting.variable}`")
            origins[setting.key] = setting.variable
    for key, given in flags.items():
        flag = FLAGS[key]
        values[key] = coerced(SETTINGS[key], given, f"`{flag}`")
        origins[key] = flag
    return values, origins


def _check_known(config: str, files: list[tuple[str, SettingsFile]], origin: str) -> None:
    """Refuse a name that no file has a `[config.NAME]` for."""
    known = list(dict.fromkeys(name for _, file in files for name in file.configs))
    if config not in known:
        have = f"there is {listed(known)}" if known else "no file has any config yet"
        raise InputError(
            f"`{origin}` names the config `{config}`, which is nowhere defined",
            hints=(
                *(did_you_mean(config, known) or (have,)),
                f"to define it, write `[config.{config}]` in mlbuild.toml, and flags below",
            ),
        )


FLAGS: Mapping[str, str] = {
    "build.config": "--config",
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
