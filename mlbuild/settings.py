"""Settings: which there are, and what each may be."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlbuild import __version__, sharing
from mlbuild.core.limits import age_fault, size_fault
from mlbuild.core.redact import HIDDEN, redacted
from mlbuild.errors import InputError, Span, did_you_mean

Value = bool | int | str | tuple[str, ...]
EXECUTORS = ("auto", "sandbox", "docker", "process")  # those of this machine
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_KINDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "`true` or `false`",
    tuple: "a list of names",
}


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
    offered: bool = False  # in a file of the workspace it is an offer, for the user to accept
    secret: bool = False  # never shown
    path: bool = False  # the absolute path of a file or folder; `~` stands for the home
    fault: Callable[[Any], str] | None = None  # says what is wrong with a value, "" for nothing


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
        Setting("build.config", tuple, "The configs in use, by name.", "MLBUILD_CONFIG"),
        Setting(
            "cache.dir",
            str,
            "The folder of the local store.",
            "MLBUILD_CACHE_DIR",
            personal=True,
            path=True,
        ),
        Setting(
            "cache.max_size",
            str,
            "What the local store may take: `50 GiB`, `20%` of the disk, `none`.",
            "MLBUILD_CACHE_MAX_SIZE",
            personal=True,
            fault=size_fault,
        ),
        Setting(
            "cache.max_age",
            str,
            "How long it keeps what nobody uses: `30 days`, `none`.",
            "MLBUILD_CACHE_MAX_AGE",
            personal=True,
            fault=age_fault,
        ),
        Setting(
            "cache.url",
            str,
            "The shared cache: `s3://bucket/prefix`, `file:///folder`, `grpcs://host`, `https://…`.",
            "MLBUILD_CACHE_URL",
            offered=True,
            fault=sharing.url_fault,
        ),
        Setting(
            "cache.read",
            bool,
            "Take results from the shared cache.",
            "MLBUILD_CACHE_READ",
            personal=True,
        ),
        Setting(
            "cache.write",
            str,
            "Who gives results to it: `trusted` is who signs them or has a declared identity.",
            "MLBUILD_CACHE_WRITE",
            choices=("never", "trusted", "always"),
            personal=True,
        ),
        Setting(
            "cache.upload",
            str,
            "Whether a build's end waits for its uploads.",
            "MLBUILD_CACHE_UPLOAD",
            choices=("background", "wait", "off"),
        ),
        Setting(
            "cache.scope",
            str,
            "The part of the shared cache that is written; it and `main` are read.",
            "MLBUILD_CACHE_SCOPE",
            personal=True,
            fault=sharing.scope_fault,
        ),
        Setting(
            "cache.trusted_keys",
            tuple,
            "The public keys whose results count; none: those of anybody who may write.",
            "MLBUILD_CACHE_TRUSTED_KEYS",
            offered=True,
            fault=sharing.keys_fault,
        ),
        Setting(
            "cache.signing_key",
            str,
            "The file of the private key that signs results.",
            "MLBUILD_CACHE_SIGNING_KEY",
            personal=True,
            path=True,
        ),
        Setting(
            "cache.identity",
            str,
            "The name under which this machine is declared to be trusted.",
            "MLBUILD_CACHE_IDENTITY",
            personal=True,
        ),
        *(
            Setting(
                f"cache.{name}", str, doc, f"MLBUILD_CACHE_{name.upper()}", personal=True, path=True
            )
            for name, doc in (
                ("tls_ca", "The file of the certificates that vouch for the server."),
                ("tls_cert", "The file of the certificate that this machine shows."),
                ("tls_key", "The file of its key."),
            )
        ),
        Setting(
            "cache.token",
            str,
            "What is sent as `Authorization: Bearer …`.",
            "MLBUILD_CACHE_TOKEN",
            personal=True,
            secret=True,
            fault=sharing.token_fault,
        ),
        Setting(
            "cache.headers",
            tuple,
            "Headers that are sent with each request: `name: value`.",
            "MLBUILD_CACHE_HEADERS",
            personal=True,
            secret=True,
            fault=sharing.headers_fault,
        ),
        Setting(
            "hooks.targets", tuple, "What hooks of git build of it, where a commit affects it."
        ),
        Setting("hooks.gate", bool, "Let a push wait for that, and stop it where that fails."),
    )
}


SECTIONS = tuple(dict.fromkeys(key.partition(".")[0] for key in SETTINGS))


def checked(setting: Setting, value: object, *, span: Span, workspace: bool) -> Value:
    """Return a value of a file; refuse a wrong type, and what this file may not decide."""
    if setting.personal and workspace:
        raise InputError(
            f"`{setting.key}` is not taken from a workspace",
            span=span,
            hints=(f"set it in ~/.config/mlbuild/config.toml or as `{setting.variable}`",),
            notes=("a checkout does not decide where your results are kept, or whom you trust",),
        )
    if setting.shared and not workspace:
        raise InputError(f"`{setting.key}` belongs in the `mlbuild.toml` of a workspace", span=span)
    if setting.kind is tuple:
        value = _names(value)
    if type(value) is not setting.kind or not isinstance(value, bool | int | str | tuple):
        wanted = _KINDS[setting.kind]
        given = "anything else" if setting.secret else redacted(described(value))
        raise InputError(f"`{setting.key}` takes {wanted}, not {given}", span=span)
    return _within(setting, value, f"`{setting.key}`", span=span)


def coerced(setting: Setting, given: Value, name: str) -> Value:
    """Return the value that a flag or variable called `name` means."""
    if setting.kind is tuple:
        given = _names(given)
    if not isinstance(given, str) or setting.kind is str:
        return _within(setting, given, name, span=None)
    if setting.kind is bool:
        if given.lower() in _TRUE | _FALSE:
            return given.lower() in _TRUE
        raise InputError(f"{name} is `true` or `false`, not `{given}`")
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise InputError(f"{name} takes a whole number, not `{given}`")
    return _within(setting, int(given), name, span=None)


def _names(given: Any) -> Any:
    """Return the names in a list of texts, or in one text with commas; anything else as it is."""
    if isinstance(given, str):
        given = given.split(",")
    if isinstance(given, list | tuple) and all(isinstance(one, str) for one in given):
        return tuple(one.strip() for one in given if one.strip())
    return given


def _within(setting: Setting, value: Value, name: str, *, span: Span | None) -> Value:
    if setting.choices and value not in setting.choices:
        raise InputError(
            f"{name} is {listed(setting.choices, 'or')}, not `{value}`",
            span=span,
            hints=did_you_mean(str(value), setting.choices),
        )
    if type(value) is int and value < 1:
        raise InputError(f"{name} is at least 1, not {value}", span=span)
    if setting.fault and value and (fault := setting.fault(value)):
        raise InputError(f"{name} {fault}", span=span)
    return value


def shown(setting: Setting, value: Value) -> Value:
    """Return a value as it may be shown."""
    if setting.secret and value:
        return HIDDEN
    return redacted(value) if isinstance(value, str) else value


def check_version(requires: str, span: Span) -> None:
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


def described(value: object) -> str:
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


def listed(words: "list[str] | tuple[str, ...]", last: str = "and") -> str:
    """Return words as a sentence lists them: "`a`, `b` and `c`"."""
    quoted = [f"`{word}`" for word in words]
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}" if len(quoted) > 1 else quoted[0]
