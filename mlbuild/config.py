"""Config: the settings of one run, frozen, each with the place it came from.

Flag > `MLBUILD_*` > `mlbuild.local.toml` > `mlbuild.toml` > the user's `config.toml` > the
machine's > default. The settings of a named config, `[config.NAME]`, stand between the variables
and the files. Nothing else reads the environment of the process. What decides whom to trust, such
as the place of the cache, is taken from the user and never from the workspace, which can only
offer it (`trust.py`).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild.core.limits import AUTO
from mlbuild.errors import InputError, did_you_mean
from mlbuild.places import CHOICE, described, offered, settled
from mlbuild.settings import EXECUTORS, SETTINGS, Value, coerced, listed
from mlbuild.settings_file import (
    NamedExecutor,
    SettingsFile,
    flag_name,
    parse_settings,
    read_settings,
)
from mlbuild.sharing import Sharing, exposed, scope_of
from mlbuild.trust import Offer, accepted, answer_file


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
    max_size: str = AUTO  # of the local store, as `limits.py` reads it
    max_age: str = AUTO
    sharing: Sharing = field(default_factory=Sharing)
    hook_targets: tuple[str, ...] = ()  # patterns
    hook_gate: bool = False
    requires: str = ""
    configs: tuple[str, ...] = ()  # the named configs in use
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what `select` looks at
    origins: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    offer: Offer | None = None  # what the workspace offers
    accepted: bool = False  # whether the user said yes to that
    executors: Mapping[str, NamedExecutor] = field(default_factory=dict)
    words: Mapping[str, Value] = field(default_factory=dict)  # what the command line sets, by key
    defines: Mapping[str, str] = field(default_factory=dict)  # the flags for `select` that it sets
    root: str = ""  # absolute: of the workspace

    def with_files(self, root: str, ours: Mapping[str, bytes]) -> "Config":
        """Return the settings of the same words, had the workspace's own files these contents.

        Raises InputError like `load`.
        """
        return load(root, environ=self.environ, flags=self.words, defines=self.defines, ours=ours)

    def value(self, key: str) -> Value:
        """Return the value of a setting by its key, such as `build.jobs`."""
        section, _, name = key.partition(".")
        ours = section == "cache" and key not in _FIELDS
        found: Value = getattr(self.sharing, name) if ours else getattr(self, _FIELDS[key])
        return found

    def origin(self, key: str) -> str:
        """Say where a setting or `flags.NAME` comes from: "default", a flag, a variable, a file."""
        return self.origins.get(key, "default")

    @property
    def invitation(self) -> str:
        """What to say of an offer that waits for an answer; "" when there is nothing to answer.

        A user who named a shared cache, or wants none, has answered; so has one who named an
        executor.
        """
        if self.offer is None or self.accepted:
            return ""
        shares = self.sharing.read or self.sharing.may_write
        first = "cache.url" if "cache.url" in self.offer.values else "cache.trusted_keys"
        waits = [
            key
            for key, counts in ((first, shares), (CHOICE, True))
            if key in self.offer.values and counts and self._is_open(key)
        ]
        return self.offer.line(waits) if waits else ""

    def _is_open(self, key: str) -> bool:
        """Say whether nothing but files, or nobody, has set what is offered."""
        origin = self.origin(key)
        return origin == "default" or (key == CHOICE and origin.startswith("/"))

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
    "cache.max_size": "max_size",
    "cache.max_age": "max_age",
    "hooks.targets": "hook_targets",
    "hooks.gate": "hook_gate",
}


def process_environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


def caller_env(patterns: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a pattern names, such as `TOKEN`, `UV_*` and `*_PROXY`; sorted."""
    whole = {pattern for pattern in patterns if "*" not in pattern}
    parted = [pattern.partition("*")[::2] for pattern in patterns if "*" in pattern]
    return {
        name: environ[name]
        for name in sorted(environ)
        if name in whole
        or any(name.startswith(first) and name.endswith(last) for first, last in parted)
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
    whose = [(name in _OURS, file) for name, file in files]
    executors = described(whose)
    for (name, _), settings in zip(files, settled(whose), strict=True):
        values |= settings
        origins |= dict.fromkeys(settings, name)
    offer, yes = _offered(root, whose, environ)
    if offer and yes:
        taken = {key: value for key, value in offer.values.items() if key in SETTINGS}
        values |= taken
        origins |= dict.fromkeys(taken, "mlbuild.toml, accepted")
    stronger, said = _outside(environ, flags)
    used = stronger.get("build.config", values.get("build.config", ()))
    assert isinstance(used, tuple)
    chooser = said.get("build.config", origins.get("build.config", ""))
    selected: dict[str, tuple[str, ...]] = {}
    for config in dict.fromkeys(used):
        _check_known(config, files, chooser)
        for name, file in files:
            found = file.configs.get(config)
            if found is not None:
                origin = f"[config.{config}] of {name}"
                set_ = _permitted(found.settings, chooser, executors)
                values |= set_
                origins |= dict.fromkeys(set_, origin)
                selected |= {flag: (text,) for flag, text in found.flags.items()}
                origins |= {f"flags.{flag}": origin for flag in found.flags}
    values |= stronger
    origins |= said
    _check_executor(values.get("build.executor", ""), executors, origins, files)
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
        "cache.max_size": lambda: AUTO,
        "cache.max_age": lambda: AUTO,
        "hooks.targets": tuple,
        "hooks.gate": bool,
    }
    if "cache.scope" not in values:
        values["cache.scope"], origins["cache.scope"] = scope_of(environ)
    if "cache.upload" not in values and environ.get("CI", "").lower() not in {"", "0", "false"}:
        values["cache.upload"], origins["cache.upload"] = "wait", "CI"  # what goes on dies with it
    chosen: dict[str, Any] = {
        key: values[key] if key in values else default() for key, default in defaults.items()
    }
    chosen |= {key: value for key, value in values.items() if key.startswith("cache.")}
    for key in chosen:
        if SETTINGS[key].path and chosen[key]:
            chosen[key] = _absolute(key, chosen[key], environ=environ, origin=origins.get(key, ""))
    shared = {key[len("cache.") :]: chosen.pop(key) for key in list(chosen) if key not in _FIELDS}
    return Config(
        **{_FIELDS[key]: value for key, value in chosen.items()},
        sharing=_safe(Sharing(**shared)),
        flags=selected | facts,
        origins=origins,
        environ=dict(environ),
        offer=offer,
        accepted=yes,
        executors=executors,
        words=dict(flags),
        defines=dict(defines or {}),
        root=root,
    )


def _offered(
    root: str, files: list[tuple[bool, SettingsFile]], environ: Mapping[str, str]
) -> tuple[Offer | None, bool]:
    """Return what the files of the workspace offer, and whether the user said yes to it."""
    values: dict[str, Value] = {}
    for _, file in files:
        values |= file.offers
    values |= offered(files)
    if not values:
        return None, False
    offer = Offer(root, values)
    return offer, accepted(offer, user_folder(environ))


def _permitted(
    settings: Mapping[str, Value], chooser: str, executors: Mapping[str, NamedExecutor]
) -> Mapping[str, Value]:
    """Return those settings of a named config that it may set.

    A workspace that chooses a config does not reach what only the user decides, nor other machines.
    """
    if chooser not in _OURS:
        return settings
    return {
        key: value
        for key, value in settings.items()
        if not (SETTINGS[key].personal or SETTINGS[key].offered)
        and not (key == CHOICE and value in executors)
    }


def _safe(sharing: Sharing) -> Sharing:
    """Refuse to send secrets over a connection that others can read."""
    if named := exposed(sharing):
        raise InputError(
            f"{named} would travel unprotected to `{sharing.url}`",
            hints=("use `grpcs://` or `https://`",),
        )
    return sharing


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


def _check_executor(
    wish: Value,
    executors: Mapping[str, NamedExecutor],
    origins: Mapping[str, str],
    files: list[tuple[str, SettingsFile]],
) -> None:
    """Refuse an executor that is neither one of this machine nor described in a file."""
    known = (*EXECUTORS, *executors)
    if not wish or wish in known:
        return
    origin = origins["build.executor"]
    spans = [file.chosen for name, file in files if name == origin]
    ours = "build.executor" if spans or origin.startswith("[") else origin
    raise InputError(
        f"`{ours}` is {listed(known, 'or')}, not `{wish}`",
        span=spans[0] if spans else None,
        hints=did_you_mean(str(wish), known)
        or (f"to define it, write `[executors.{wish}]` in mlbuild.toml",),
    )


FLAGS: Mapping[str, str] = {
    "build.config": "--config",
    "build.jobs": "-j",
    "build.keep_going": "-k",
    "build.executor": "--executor",
    "build.color": "--color",
    "cache.url": "--cache-url",
    "cache.read": "--cache-read",
    "cache.write": "--cache-write",
    "cache.scope": "--cache-scope",
    "cache.upload": "--upload",
    "cache.max_size": "--max-size",
    "cache.max_age": "--max-age",
}
_OURS = ("mlbuild.toml", "mlbuild.local.toml")  # the files of a workspace
MACHINE = "/etc/mlbuild/config.toml"  # settings of all users; MLBUILD_MACHINE_CONFIG is another


def user_file(environ: Mapping[str, str]) -> str:
    """Return the path of the user's settings file, "" when there is no home for one."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        home = _home(environ)
        if not home:
            return ""
        base = os.path.join(home, ".config")
    return os.path.join(base, "mlbuild", "config.toml")


def user_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of the user's settings, keys and answers, "" when there is no home."""
    return os.path.dirname(user_file(environ))


def settings_files(root: str, environ: Mapping[str, str]) -> list[str]:
    """Return the absolute paths that settings are read from, whether they exist or not."""
    answer = answer_file(root, user_folder(environ))
    return [*(path for _, path, _ in _files(root, environ)), *([answer] if answer else ())]


def _files(root: str, environ: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Return the settings files, the weakest first: shown name, path, whether the workspace's."""
    outside = (environ.get("MLBUILD_MACHINE_CONFIG", MACHINE), user_file(environ))
    return [
        *((path, path, False) for path in outside if path.startswith("/")),
        *((name, os.path.join(root, name), True) for name in _OURS),
    ]


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


def _absolute(key: str, path: str, *, environ: Mapping[str, str], origin: str) -> str:
    """Return the path that a setting names without `~`; refuse one that depends on the place."""
    if path == "~" or path.startswith("~/"):
        path = _home(environ) + path[1:]
    if not path.startswith("/"):
        variable = origin == SETTINGS[key].variable
        named = f"`{origin}`" if variable else f"`{key}`" + (f" in {origin}" if origin else "")
        raise InputError(f"{named} is not an absolute path: `{path}`")
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
