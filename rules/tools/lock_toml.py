"""uv.lock, pylock.toml and locks of scripts: which packages of them an environment has."""
# ruff: noqa: INP001 - read by lock.py, no module of a package

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lock_markers import MarkerError, Platform, holds, normalised, satisfies
from lock_pins import LockError, Pin

Table = Mapping[str, Any]
KINDS = {  # how a package may be locked, other than by its version in an index
    "git": "a git repository",
    "vcs": "a repository",
    "url": "a URL",
    "archive": "an archive",
    "path": "a path",
    "directory": "a folder",
    "editable": "a folder",
    "virtual": "a folder",
}


@dataclass(frozen=True)
class Choice:
    """What a target takes of a lock."""

    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    member: str = ""  # the project of a workspace whose requirements count
    sdists: bool = False  # whether packages may be there as their source only


def pins_of(text: str, platform: Platform, choice: Choice) -> list[Pin]:
    """Return the packages that a lock names for `platform`. Raises LockError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise LockError(int(line[1]) if line else 1, f"this is no TOML: {error}") from error
    try:
        if "lock-version" in table:
            return Pylock(text, table, platform, choice).pins()
        return UvLock(text, table, platform, choice).pins()
    except MarkerError as error:
        raise LockError(1, str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise LockError(1, f"this is no lock that `uv` or PEP 751 describes ({error})") from error


def place(text: str, name: str, version: str = "") -> int:
    """Return the line where a package of a lock begins."""
    named = re.compile(rf'name\s*=\s*["\']{re.escape(name)}["\']')
    first = 0
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if named.match(line.strip()):
            first = first or number
            if not version or f'"{version}"' in "".join(lines[number : number + 2]):
                return number
    return first or 1


def check_python(text: str, wanted: str, platform: Platform) -> None:
    """Refuse a lock that was made for other versions of Python."""
    python = platform.variables["python_full_version"]
    if wanted and not satisfies(python, wanted):
        line = next(
            (n for n, one in enumerate(text.splitlines(), 1) if "requires-python" in one), 1
        )
        raise LockError(line, f"the lock is for Python {wanted}, and the environment has {python}")


def missing(known: Iterable[str], kind: str, name: str) -> LockError:
    """Say that a group or an extra is not in the lock."""
    there = ", ".join(f"`{one}`" for one in sorted(known)) or "none"
    return LockError(1, f"the lock has no {kind} `{name}`; there is {there}")


def pin(text: str, package: Table, platform: Platform, *, sdists: bool) -> Pin:
    """Return the file of a package that fits best. Raises LockError when there is none."""
    name, version = package["name"], package.get("version", "")
    line = place(text, name, version)
    wheels = [(file_name(wheel), wheel) for wheel in package.get("wheels", ())]
    ranked = [(rank(file, platform.tags), file, wheel) for file, wheel in wheels]
    best = max((one for one in ranked if one[0]), key=lambda one: (one[0], one[1]), default=None)
    source = package.get("sdist")
    if best is not None:
        return Pin(normalised(name), "", f"=={version}", (hash_in(best[2], name, line),), line)
    if source and sdists:
        digest = hash_in(source, name, line)
        return Pin(normalised(name), "", f"=={version}", (digest,), line, is_source=True)
    what = f"`{name}=={version}` has no wheel for this platform and Python"
    if source and not wheels:
        what = f"`{name}=={version}` has no wheel, only its source"
    cure = "; `allow_sdist = True` builds it from its source" if source else ""
    raise LockError(line, what + cure)


def file_name(file: Table) -> str:
    """Return the name of a locked file."""
    name: str = file.get("name") or file.get("filename") or file.get("path") or file.get("url", "")
    return os.path.basename(name.partition("#")[0].partition("?")[0]).replace("%2B", "+")


def hash_in(file: Table, name: str, line: int) -> str:
    """Return the hash of a locked file, as `sha256:…`."""
    hashes = file.get("hashes", {})
    text: str = f"sha256:{hashes['sha256']}" if "sha256" in hashes else file.get("hash", "")
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise LockError(line, f"`{name}` has no sha256 for `{file_name(file)}`")
    return text


def rank(wheel: str, tags: tuple[str, ...]) -> tuple[int, int] | None:
    """Return how well a wheel fits, more is better; None when it does not."""
    parts = wheel.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6} or not wheel.endswith(".whl"):
        return None
    number = re.match(r"\d+", parts[2]) if len(parts) == 6 else None  # noqa: PLR2004 - a build number
    own = {
        f"{python}-{abi}-{platform}"
        for python in parts[-3].split(".")
        for abi in parts[-2].split(".")
        for platform in parts[-1].split(".")
    }
    at = next((n for n, tag in enumerate(tags) if tag in own), None)
    return None if at is None else (-at, int(number[0]) if number else 0)


class Pylock:
    """A lock of PEP 751: a flat list with markers."""

    def __init__(self, text: str, table: Table, platform: Platform, choice: Choice) -> None:
        self._text, self._table, self._choice = text, table, choice
        groups = choice.groups or tuple(table.get("default-groups", ()))
        self._platform = replace(
            platform,
            extras=frozenset(map(normalised, choice.extras)),
            groups=frozenset(map(normalised, groups)),
        )

    def pins(self) -> list[Pin]:
        """Return what the environment has."""
        table = self._table
        if not str(table["lock-version"]).startswith("1."):
            raise LockError(1, f"this is a lock of version {table['lock-version']}, not 1")
        for kind, names in (("extra", self._choice.extras), ("group", self._choice.groups)):
            known = table.get("extras" if kind == "extra" else "dependency-groups", ())
            for name in names:
                if normalised(name) not in map(normalised, known):
                    raise missing(known, kind, name)
        check_python(self._text, table.get("requires-python", ""), self._platform)
        return [self._pin(package) for package in table.get("packages", ()) if self._has(package)]

    def _has(self, package: Table) -> bool:
        return holds(package.get("marker", ""), self._platform)

    def _pin(self, package: Table) -> Pin:
        line = place(self._text, package["name"], package.get("version", ""))
        for kind in ("vcs", "directory", "archive"):
            if kind in package:
                raise LockError(line, from_elsewhere(package["name"], kind))
        return pin(self._text, package, self._platform, sdists=self._choice.sdists)


class UvLock:
    """A lock of uv, for a project or for a script: a graph with markers."""

    def __init__(self, text: str, table: Table, platform: Platform, choice: Choice) -> None:
        self._text, self._table, self._choice = text, table, choice
        self._packages: dict[str, list[Table]] = {}
        for package in table.get("package", ()):
            self._packages.setdefault(package["name"], []).append(package)
        root = self._root()
        name = root["name"] if root else ""
        # How uv names extras and groups in markers, where the project declares conflicts.
        length = len(name)
        own = [f"extra-{length}-{name}-{normalised(one)}" for one in choice.extras]
        own += [f"group-{length}-{name}-{normalised(one)}" for one in choice.groups]
        self._platform = replace(platform, extras=frozenset(own))
        self._project = root
        self._chosen: dict[str, Table] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def pins(self) -> list[Pin]:
        """Return what the environment has."""
        table = self._table
        if table["version"] != 1:
            raise LockError(1, f"this is a lock of version {table['version']}, not 1")
        check_python(self._text, table.get("requires-python", ""), self._platform)
        for wanted in self._wanted():
            self._follow(wanted)
        return [self._pin(package) for package in self._chosen.values()]

    def _root(self) -> Table | None:
        """Return the project whose requirements count; None for a script."""
        local = [
            package
            for packages in self._packages.values()
            for package in packages
            if {"virtual", "editable", "directory"} & set(package.get("source", {}))
        ]
        if self._choice.member:
            member = normalised(self._choice.member)
            for package in local:
                if package["name"] == member:
                    return package
            raise LockError(1, f"the lock knows no project `{self._choice.member}`")
        at_root = [one for one in local if "." in one["source"].values()]
        if "manifest" in self._table and not at_root:
            return None
        if len(at_root) != 1:
            names = ", ".join(f"`{one['name']}`" for one in local) or "none"
            message = 'name the project by `requirements = "…/pyproject.toml"`'
            raise LockError(1, f"{message}; the lock has {names}")
        return at_root[0]

    def _wanted(self) -> Iterator[Table]:
        """Yield what the environment is asked to have."""
        root = self._project
        groups: Mapping[str, list[Table]]
        extras: Mapping[str, list[Table]]
        if root is None:
            manifest = self._table.get("manifest", {})
            yield from manifest.get("requirements", ())
            groups, extras = manifest.get("dependency-groups", {}), {}
        else:
            yield from root.get("dependencies", ())
            groups = root.get("dev-dependencies", root.get("dependency-groups", {}))
            extras = root.get("optional-dependencies", {})
            known = root.get("metadata", {})
            extras = {**{one: [] for one in known.get("provides-extras", ())}, **extras}
            groups = {**{one: [] for one in known.get("requires-dev", ())}, **groups}
        for kind, names, there in (
            ("extra", self._choice.extras, extras),
            ("group", self._choice.groups, groups),
        ):
            for name in names:
                if normalised(name) not in there:
                    raise missing(there, kind, name)
                yield from there[normalised(name)]

    def _follow(self, first: Table) -> None:
        """Choose a package and all that it needs here."""
        ahead = [first]
        while ahead:
            wanted = ahead.pop()
            if not holds(wanted.get("marker", ""), self._platform):
                continue
            package = self._package(wanted)
            if package is None:
                continue
            key = package["name"]
            other = self._chosen.setdefault(key, package)
            if other is not package:
                line = place(self._text, key, package.get("version", ""))
                both = f"{other.get('version')} and {package.get('version')}"
                raise LockError(line, f"`{key}` would be there twice, as {both}")
            for extra in ("", *wanted.get("extra", wanted.get("extras", ()))):
                if (key, package.get("version", ""), extra) in self._seen:
                    continue
                self._seen.add((key, package.get("version", ""), extra))
                more = package.get("optional-dependencies", {})
                ahead += more.get(extra, ()) if extra else package.get("dependencies", ())

    def _package(self, wanted: Table) -> Table | None:
        """Return the package that a dependency means here; None for a fork that is none."""
        found = [
            one
            for one in self._packages.get(wanted["name"], ())
            if "version" not in wanted or one.get("version") == wanted["version"]
        ]
        fits = [one for one in found if self._is_here(one)]
        if not found:
            raise LockError(1, f"the lock lacks `{wanted['name']}`, which it needs: make it anew")
        return fits[0] if fits else None

    def _is_here(self, package: Table) -> bool:
        conditions = package.get("resolution-markers", ())
        return not conditions or any(holds(one, self._platform) for one in conditions)

    def _pin(self, package: Table) -> Pin:
        line = place(self._text, package["name"], package.get("version", ""))
        for kind in package.get("source", {}):
            if kind in KINDS:
                raise LockError(line, from_elsewhere(package["name"], kind))
        return pin(self._text, package, self._platform, sdists=self._choice.sdists)


def from_elsewhere(name: str, kind: str) -> str:
    """Say why a package that comes from no index cannot be installed."""
    what = KINDS.get(kind, kind)
    return f"`{name}` is locked from {what}; lock a released version, or build a wheel of it"
