"""Reads a requirements.txt in which every package is pinned and hashed; writes it canonically.

usage: lock.py LOCK OUT

Comments, order, spelling of names and line breaks do not reach OUT: what depends on it is done
again only when a version, a marker or a hash has changed.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

COMMENT = re.compile(r"(^|\s)#.*$")
REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*"
    r"(?:\[(?P<extras>[^\]]*)\]\s*)?"
    r"(?:(?P<operator>===?)\s*(?P<version>[A-Za-z0-9.!+_-]+(?P<star>\*)?))?\s*"
    r"(?:;\s*(?P<marker>.*\S)\s*)?"
)
HASH = re.compile(r"sha256:[0-9a-f]{64}")
MAKE = "`uv pip compile --generate-hashes` writes such a file"


class LockError(Exception):
    """A line that a lock may not have."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, order=True)
class Pin:
    """One package at one version, wherever `marker` holds, as one of several files."""

    name: str  # normalised, extras included
    marker: str
    version: str  # with its operator
    hashes: tuple[str, ...]

    def __str__(self) -> str:
        marker = f" ; {self.marker}" if self.marker else ""
        hashes = "".join(f" \\\n    --hash={one}" for one in self.hashes)
        return f"{self.name}{self.version}{marker}{hashes}\n"


def main() -> None:
    """Read, check, write."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - our own name and two words
        sys.exit("usage: lock.py LOCK OUT")
    _, lock, out = sys.argv
    try:
        with open(lock, encoding="utf-8-sig") as file:
            text = canonical(file.read())
    except LockError as error:
        sys.exit(f"{lock}:{error.line}: {error}")
    except UnicodeDecodeError:
        sys.exit(f"{lock} is not UTF-8 text")
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def canonical(text: str) -> str:
    """Return the lock `text` in its one canonical form. Raises LockError."""
    pins: dict[tuple[str, str], tuple[Pin, int]] = {}
    for number, line in logical_lines(text):
        pin = parse(line, number)
        known = pins.setdefault((pin.name, pin.marker), (pin, number))
        if known[1] != number:
            raise LockError(number, f"`{pin.name}` stands in line {known[1]} already")
    return "".join(str(pin) for pin, _ in sorted(pins.values()))


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


def parse(line: str, number: int) -> Pin:
    """Read one requirement with its hashes."""
    if line.startswith("-"):
        raise LockError(number, refused_option(re.split(r"[=\s]", line, maxsplit=1)[0]))
    requirement, *options = re.split(r"\s+(?=--)", line)
    found = REQUIREMENT.fullmatch(requirement)
    if found is None:
        raise LockError(number, refused_requirement(requirement))
    if not found["version"] or found["star"]:
        raise LockError(number, f"`{requirement}` names no exact version; {MAKE}")
    hashes = [hash_of(option, number) for option in options]
    if not hashes:
        raise LockError(number, f"`{requirement}` has no hash; {MAKE}")
    name = normalised(found["name"])
    extras = sorted({normalised(one) for one in (found["extras"] or "").split(",") if one.strip()})
    return Pin(
        name + (f"[{','.join(extras)}]" if extras else ""),
        found["marker"] or "",
        found["operator"] + found["version"],
        tuple(sorted(set(hashes))),
    )


def hash_of(option: str, number: int) -> str:
    """Read `--hash=sha256:…`."""
    name, _, value = option.replace(" ", "=", 1).partition("=")
    if name != "--hash":
        raise LockError(number, refused_option(name))
    value = value.strip().lower()
    if not HASH.fullmatch(value):
        raise LockError(number, f"`{value[:80]}` is no hash: write `sha256:` and 64 hex digits")
    return value


def normalised(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


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


if __name__ == "__main__":
    main()
