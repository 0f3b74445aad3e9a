"""Holds metrics against gates.

usage: gate.py METRICS OUT GATE...

METRICS is a JSON object of numbers, nested allowed; a GATE is `NAME OP NUMBER`, where NAME reaches
into nested objects with dots. Prints a line for each gate and writes the verdict to OUT as JSON.
Exit code 0: all passed; 3: one was missed; 2: a gate or the metrics cannot be understood.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

GATE = re.compile(
    r"\s*(?P<name>[^\s<>=!][^<>=!]*?)\s*(?P<op>>=|<=|==|!=|>|<)\s*(?P<bound>[^\s<>=!]+)\s*"
)
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}
MISSED, MISUSED = 3, 2


class GateError(Exception):
    """Words or metrics that cannot be understood."""


@dataclass(frozen=True)
class Gate:
    """A bound on a metric."""

    name: str
    op: str
    bound: float
    text: str  # the bound as it was written

    def admits(self, value: float | None) -> bool:
        """Say whether `value` passes; no value and NaN never do."""
        return value is not None and value == value and OPERATORS[self.op](value, self.bound)  # noqa: PLR0124


def main() -> None:
    """Judge every gate, then end with the verdict."""
    if len(sys.argv) < 3:  # noqa: PLR2004 - two words must follow our own
        raise GateError("usage: gate.py METRICS OUT GATE...")
    _, source, out, *words = sys.argv
    gates = [parse(word) for word in words]
    metrics = dict(flattened(read(source)))
    verdicts = [(gate, metrics.get(gate.name)) for gate in gates]
    for gate, value in verdicts:
        sys.stdout.write(line(gate, value, names=list(metrics)) + "\n")
    passed = all(gate.admits(value) for gate, value in verdicts)
    with open(out, "w", encoding="utf-8") as file:
        json.dump(document(verdicts, passed=passed), file, indent=2)
        file.write("\n")
    sys.exit(0 if passed else MISSED)


def parse(word: str) -> Gate:
    """Read one gate."""
    found = GATE.fullmatch(word)
    try:
        if found:
            return Gate(found["name"], found["op"], float(found["bound"]), found["bound"])
    except ValueError:
        pass
    raise GateError(f"`{word}` is no gate: write a metric, one of {' '.join(OPERATORS)}, a number")


def read(path: str) -> Mapping[str, object]:
    """Read the metrics."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except ValueError as error:
        raise GateError(f"`{path}` is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise GateError(f"`{path}` is not a JSON object")
    return found


def flattened(metrics: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number with its dotted name."""
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value


def line(gate: Gate, value: float | None, *, names: list[str]) -> str:
    """Return what to print about one gate."""
    bound = f"{gate.op} {gate.text}"
    if value is None:
        return f"{gate.name} is no metric ({alike(gate.name, names)}), wanted {bound}  MISSED"
    return f"{gate.name} {value:.10g} {bound}  {'pass' if gate.admits(value) else 'MISSED'}"


def alike(name: str, names: list[str]) -> str:
    """Return the names that may have been meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - only needed once something is wrong

    last = {one.rpartition(".")[2]: one for one in names}
    found = get_close_matches(name, names, cutoff=0.5) or [
        last[one] for one in get_close_matches(name, list(last), cutoff=0.6)
    ]
    if found:
        return f"did you mean {' or '.join(found)}?"
    return f"there is: {', '.join(sorted(names)[:12]) or 'none'}"


def document(verdicts: list[tuple[Gate, float | None]], *, passed: bool) -> dict[str, object]:
    """Return the verdict as it is written."""
    return {
        "passed": passed,
        "gates": [
            {
                "metric": gate.name,
                # JSON has no NaN and no infinity.
                "value": value if value is None or abs(value) < float("inf") else str(value),
                "bound": f"{gate.op} {gate.text}",
                "passed": gate.admits(value),
            }
            for gate, value in verdicts
        ],
    }


if __name__ == "__main__":
    try:
        main()
    except GateError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(MISUSED)
