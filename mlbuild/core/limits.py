"""Limits: how much a store may keep and for how long, as people write it: `50 GiB`, `30 days`."""

import re
from dataclasses import dataclass

from mlbuild.errors import InputError

AUTO, NONE = "auto", "none"
AGE = "90 days"  # what `auto` means
DAY = 24 * 3600.0  # seconds
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)\s*"
_SIZE = re.compile(_NUMBER + r"(?:([kmgtp]?)(i?)b?|(%))", re.IGNORECASE)
_AGE = re.compile(_NUMBER + r"(min|m|h|d|w|y)[a-z]*", re.IGNORECASE)
_POWERS = " kmgtp"
_SPANS = {"min": 60.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store may keep; None is no limit."""

    size: int | None = None  # bytes of disk
    age: float | None = None  # seconds since something was last used


def limits_of(max_size: str, max_age: str, *, disk: int, room: int) -> Limits:
    """Return the limits that two texts mean.

    `disk` is the size of the store's disk in bytes, `room` what the store has and could have of
    it: its own bytes and those that are free. `auto` is half of that room, and 90 days.
    Raises InputError for a text that is neither.
    """
    return Limits(_size(max_size, disk=disk, room=room), _age(max_age))


def size_fault(text: str) -> str:
    """Say what is wrong with a size; "" when nothing is."""
    if text in {AUTO, NONE} or _SIZE.fullmatch(text.strip()):
        return ""
    return f"is a size such as `50 GiB` or `20%` of the disk, `auto` or `none`, not `{text}`"


def age_fault(text: str) -> str:
    """Say what is wrong with an age; "" when nothing is."""
    if text in {AUTO, NONE} or _AGE.fullmatch(text.strip()):
        return ""
    return f"is a time such as `30 days` or `12 h`, `auto` or `none`, not `{text}`"


def _size(text: str, *, disk: int, room: int) -> int | None:
    if text == NONE:
        return None
    if text == AUTO:
        return room // 2
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise InputError(f"the most that a store may keep {size_fault(text)}")
    number, unit, binary, percent = float(found[1]), found[2] or "", found[3], found[4]
    if percent:
        return int(disk * min(number, 100) / 100)
    # `G` alone is what tools that show disks mean by it.
    base = 1000 if unit and not binary and text.strip().lower().endswith("b") else 1024
    return int(number * base ** (_POWERS.index(unit.lower()) if unit else 0))


def _age(text: str) -> float | None:
    if text == NONE:
        return None
    found = _AGE.fullmatch((AGE if text == AUTO else text).strip())
    if not found:
        raise InputError(f"the time that a store keeps things {age_fault(text)}")
    return float(found[1]) * _SPANS[found[2].lower()]


def age_of(text: str) -> float | None:
    """Return the seconds that a text means, None for no limit; raise InputError for none."""
    return _age(text)
