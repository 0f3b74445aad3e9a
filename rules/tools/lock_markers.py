"""Versions and markers: which requirements of a lock hold for an interpreter (PEP 440, PEP 508)."""
# ruff: noqa: INP001 - read by lock.py, no module of a package

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

VERSION = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>a|b|c|rc|alpha|beta|pre|preview)[-_.]?(?P<pre_n>\d*))?"
    r"(?P<post>-(?P<post_a>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_b>\d*))?"
    r"(?P<dev>[-_.]?dev[-_.]?(?P<dev_n>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?"
)
TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<word>[a-z_.]+)|(?P<sign>===|[<>=!~]=|[<>()]))",
    re.IGNORECASE,
)
STAGES = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
LAST = 1 << 60  # later than every number of a stage
SETS = ("extra", "extras", "dependency_groups")

Key = tuple[object, ...]


class MarkerError(ValueError):
    """A marker or a version that says nothing."""


@dataclass(frozen=True)
class Platform:
    """What markers are held against."""

    variables: Mapping[str, str]
    tags: tuple[str, ...] = ()  # of wheels that fit, the best first
    extras: frozenset[str] = field(default=frozenset())  # as `extra == "…"` names them
    groups: frozenset[str] = field(default=frozenset())


def version_key(text: str) -> Key:
    """Return what versions are ordered by."""
    found = VERSION.fullmatch(text.strip().lower())
    if found is None:
        raise MarkerError(f"`{text}` is no version")
    release = [int(part) for part in found["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    pre: Key = ("z",)  # a release comes after all that leads to it
    if found["pre"]:
        pre = (STAGES.get(found["pre"], found["pre"]), int(found["pre_n"] or 0))
    elif found["dev"] and not found["post"]:
        pre = ("",)
    post = int(found["post_a"] or found["post_b"] or 0) if found["post"] else -1
    dev = int(found["dev_n"] or 0) if found["dev"] else LAST
    local = tuple(
        (1, int(part), "") if part.isdigit() else (0, 0, part)
        for part in re.split("[-_.]", found["local"] or "")
        if part
    )
    return int(found["epoch"] or 0), tuple(release), pre, post, dev, local


def satisfies(version: str, specifiers: str) -> bool:
    """Say whether a version is allowed by specifiers such as `>=3.11,<4`."""
    return all(
        _compare(sign_of(one), version, one.strip().lstrip("<>=!~").strip())
        for one in specifiers.split(",")
        if one.strip()
    )


def sign_of(specifier: str) -> str:
    """Return the operator that a specifier begins with."""
    found = re.match(r"\s*(===|[<>=!~]=|[<>])", specifier)
    if found is None:
        raise MarkerError(f"`{specifier}` is no specifier of versions")
    return found[1]


def holds(marker: str, platform: Platform) -> bool:
    """Say whether a marker such as `python_version < "3.12" and os_name == "posix"` holds."""
    if not marker.strip():
        return True
    reader = _Reader(marker, platform)
    result = reader.either()
    if reader.ahead is not None:
        raise MarkerError(f"`{marker}` is no marker: `{reader.ahead}` is too much")
    return result


class _Reader:
    """Reads a marker from left to right and says what it comes to."""

    def __init__(self, marker: str, platform: Platform) -> None:
        self._marker = marker
        self._platform = platform
        self._tokens = self._split()
        self._at = 0

    def _split(self) -> list[str]:
        tokens: list[str] = []
        at = 0
        text = self._marker.rstrip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None:
                raise MarkerError(f"`{self._marker}` is no marker: see `{text[at:].strip()}`")
            tokens.append(found[0].strip())
            at = found.end()
        return tokens

    @property
    def ahead(self) -> str | None:
        """Return the next token."""
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> str:
        token = self.ahead
        if token is None:
            raise MarkerError(f"`{self._marker}` is no marker: it ends too early")
        self._at += 1
        return token

    def either(self) -> bool:
        result = self._all()
        while self.ahead == "or":
            self._next()
            other = self._all()  # always read, whatever came before
            result = result or other
        return result

    def _all(self) -> bool:
        result = self._one()
        while self.ahead == "and":
            self._next()
            other = self._one()
            result = result and other
        return result

    def _one(self) -> bool:
        if self.ahead == "(":
            self._next()
            result = self.either()
            if self._next() != ")":
                raise MarkerError(f"`{self._marker}` is no marker: a `)` is missing")
            return result
        left = self._next()
        sign = self._next()
        if sign == "not":
            sign = f"not {self._next()}"
        return self._holds(left, sign, self._next())

    def _holds(self, left: str, sign: str, right: str) -> bool:
        for name, other in ((left, right), (right, left)):
            if name in SETS:
                chosen = self._platform.groups if "group" in name else self._platform.extras
                is_in = normalised(self._value(other)) in chosen
                return is_in if sign in {"==", "===", "in"} else not is_in
        name = right if left[0] in "'\"" else left
        values = self._value(left), self._value(right)
        if sign in {"in", "not in"}:
            return (values[0] in values[1]) is (sign == "in")
        if "version" in name and name not in {"platform_version", "platform_release"}:
            if left[0] in "'\"":
                values, sign = values[::-1], _TURNED.get(sign, sign)
            return _compare(sign, *values)
        return _ORDER[sign](*values)

    def _value(self, token: str) -> str:
        if token[0] in "'\"":
            return token[1:-1]
        try:
            return self._platform.variables[token.replace("os.name", "os_name")]
        except KeyError:
            raise MarkerError(f"`{self._marker}` names `{token}`, which is unknown") from None


_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_ORDER: dict[str, Callable[[object, object], bool]] = {
    "==": lambda a, b: a == b,
    "===": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,  # type: ignore[operator]
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
    ">": lambda a, b: a > b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
    "~=": lambda a, b: a == b,
}


def _compare(sign: str, version: str, stated: str) -> bool:
    """Hold a version against one specifier."""
    if sign == "===":
        return version == stated
    if stated.endswith(".*"):
        prefix = [int(part) for part in stated[:-2].split(".")]
        release = list(version_key(version)[1])  # type: ignore[call-overload]
        release += [0] * (len(prefix) - len(release))
        return (release[: len(prefix)] == prefix) is (sign == "==")
    key, other = version_key(version), version_key(stated)
    if sign in {"==", "!="} and not other[-1]:
        key = (*key[:-1], ())  # a local version counts only where one is stated
    if sign == "~=":
        same = stated.rpartition(".")[0]
        return key >= other and _compare("==", version, f"{same}.*")
    return _ORDER[sign](key, other)


def normalised(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
