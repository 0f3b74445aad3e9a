"""requirements.txt with hashes: one pinned package a line."""
# ruff: noqa: INP001 - read by lock.py, no module of a package

import re
from collections.abc import Iterator
from dataclasses import replace

from lock_markers import MarkerError, Platform, holds, normalised
from lock_pins import LockError, Pin

COMMENT = re.compile(r"(^|\s)#.*$")
REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*"
    r"(?:\[(?P<extras>[^\]]*)\]\s*)?"
    r"(?:(?P<operator>===?)\s*(?P<version>[A-Za-z0-9.!+_-]+(?P<star>\*)?))?\s*"
    r"(?:;\s*(?P<marker>.*\S)\s*)?"
)
LOOSE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\]\s*)?"
    r"(?P<versions>(?:[<>~!=]=?=?\s*[A-Za-z0-9.!+*_-]+\s*,?\s*)*)(?:;\s*(?P<marker>.*\S)\s*)?"
)
HASH = re.compile(r"sha256:[0-9a-f]{64}")
MAKE = "`uv pip compile --generate-hashes` writes such a file"


def pins_of(text: str, platform: Platform, *, unpinned: bool, sdists: bool) -> list[Pin]:
    """Return the packages that a requirements.txt names for `platform`. Raises LockError.

    A line `--no-binary NAME` says that the hashes of NAME are those of its source.
    """
    pins: dict[str, Pin] = {}
    sources: set[str] = set()
    for number, line in logical_lines(text):
        option = re.fullmatch(r"--no-binary[=\s]+([\w.-]+)", line)
        if option:
            if not sdists:
                message = f"`{option[1]}` is locked as its source; say `allow_sdist = True`"
                raise LockError(number, message)
            sources.add(normalised(option[1]))
            continue
        pin = parse(line, number, unpinned=unpinned)
        try:
            if not holds(pin.marker, platform):
                continue
        except MarkerError as error:
            raise LockError(number, str(error)) from error
        known = pins.setdefault(pin.name.partition("[")[0], pin)
        if known is not pin:
            raise LockError(number, f"`{pin.name}` stands in line {known.line} already")
    return [replace(pin, is_source=True) if name in sources else pin for name, pin in pins.items()]


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield what the lines say, continuations joined, with the number of the first line."""
    begun, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = COMMENT.sub("", raw)
        first = first if begun else number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        if (begun + line).strip():
            yield first, (begun + line).strip()
        begun = ""
    if begun.strip():
        yield first, begun.strip()


def parse(line: str, number: int, *, unpinned: bool) -> Pin:
    """Read one requirement with its hashes."""
    if line.startswith("-"):
        raise LockError(number, refused_option(re.split(r"[=\s]", line, maxsplit=1)[0]))
    requirement, *options = re.split(r"\s+(?=--)", line)
    found = REQUIREMENT.fullmatch(requirement)
    if found is None and unpinned and (loose := LOOSE.fullmatch(requirement)):
        return Pin(*named(loose, number), loose["versions"].replace(" ", ""), (), number)
    if found is None:
        raise LockError(number, refused_requirement(requirement))
    if unpinned and not options:
        version = (found["operator"] or "") + (found["version"] or "")
        return Pin(*named(found, number), version, (), number)
    if not found["version"] or found["star"]:
        raise LockError(number, f"`{requirement}` names no exact version; {MAKE}")
    hashes = [hash_of(option, number) for option in options]
    if not hashes:
        raise LockError(number, f"`{requirement}` has no hash; {MAKE}")
    version = found["operator"] + found["version"]
    return Pin(*named(found, number), version, tuple(sorted(set(hashes))), number)


def named(found: re.Match[str], number: int) -> tuple[str, str]:
    """Return the name of a requirement, extras included, and its marker."""
    marker = found["marker"] or ""
    if re.search(r"\bextras?\b|\bdependency_groups\b", marker):
        raise LockError(number, f"`{marker}` chooses extras, which a requirements.txt cannot")
    extras = sorted({normalised(one) for one in (found["extras"] or "").split(",") if one.strip()})
    return normalised(found["name"]) + (f"[{','.join(extras)}]" if extras else ""), marker


def hash_of(option: str, number: int) -> str:
    """Read `--hash=sha256:…`."""
    name, _, value = option.replace(" ", "=", 1).partition("=")
    if name != "--hash":
        raise LockError(number, refused_option(name))
    value = value.strip().lower()
    if not HASH.fullmatch(value):
        raise LockError(number, f"`{value[:80]}` is no hash: write `sha256:` and 64 hex digits")
    return value


def refused_option(option: str) -> str:
    """Say why an option may not stand in a lock."""
    match option:
        case "-e" | "--editable":
            return f"`{option}`: a folder that changes cannot be locked; build a wheel of it"
        case "-r" | "--requirement" | "-c" | "--constraint":
            return f"`{option}`: a lock is one file; {MAKE}"
        case "-i" | "--index-url" | "--extra-index-url" | "-f" | "--find-links" | "--no-index":
            return (
                f"`{option}`: where packages come from is a setting of each machine, not of the "
                "lock; remove it and set UV_DEFAULT_INDEX, UV_INDEX or UV_FIND_LINKS"
            )
        case _:
            return f"`{option}` cannot stand in a lock; only requirements and their `--hash` can"


def refused_requirement(requirement: str) -> str:
    """Say why something is no requirement that could be locked."""
    if "://" in requirement or " @ " in requirement:
        return f"`{requirement}` is a URL; lock a released version by its name"
    if re.match(r"[\w.\[\],-]+\s*(?:[<>~!]=?|==?[^=].*,)", requirement):
        return f"`{requirement}` allows several versions; {MAKE}"
    return f"`{requirement}` is no requirement such as `numpy==2.0.0`"
