"""Gates: how those of a target went, from what its gate wrote and said."""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence

from mlbuild.git.ci.report import Gate

VERDICT = "gates.json"
_MOST = 1 << 20  # bytes that are read
_LINE = re.compile(
    r"(?P<metric>\S.*?) (?:(?P<value>\S+)|is no metric \(.*\), wanted)"
    r" (?P<bound>(?:>=|<=|==|!=|>|<) \S+)  (?P<verdict>pass|MISSED)"
)


def passed_gates(root: str, outputs: Sequence[str]) -> tuple[Gate, ...]:
    """Return the gates that a target's delivered outputs, relative to `root`, tell of."""
    for path in outputs:
        if os.path.basename(path) != VERDICT:
            continue
        try:
            found = json.loads(_read(os.path.join(root, path)))
            return tuple(
                Gate(
                    str(one["metric"]),
                    str(one["bound"]),
                    _number(one["value"]),
                    bool(one["passed"]),
                )
                for one in found["gates"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a file of somebody else's that has this name
    return ()


def missed_gates(log: str) -> tuple[Gate, ...]:
    """Return the gates that the log of a gate tells of, at least one that was missed."""
    try:
        found = tuple(_told(_read(log)))
    except OSError:
        found = ()
    return (
        found
        if any(not one.passed for one in found)
        else (*found, Gate("", "", None, passed=False))
    )


def _told(text: str) -> Iterator[Gate]:
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            passed = found["verdict"] == "pass"
            yield Gate(found["metric"], found["bound"], _number(found["value"]), passed)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(_MOST)


def _number(value: object) -> float | None:
    """Return a finite number, None for all else."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
