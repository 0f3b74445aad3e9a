"""Copies the outputs of the trial that has the best metric.

usage: select_best.py --table TABLE (--trial METRICS FILE...)... --out OUT...

Names of the trials, the metric and the direction stand in the params of $MLBUILD_CONTEXT. The
files of each trial stand in the order of the outs. TABLE tells which trial won, as JSON.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import math
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class SelectError(Exception):
    """Trials that cannot be compared."""


@dataclass(frozen=True)
class Trial:
    """One candidate."""

    name: str
    params: Mapping[str, Any]
    metrics: str  # a path
    files: tuple[str, ...]


def main() -> None:
    """Find the winner and copy it."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:  # noqa: TID251 - a program
        params = json.load(file)["params"]
    table, trials, outs = parse(sys.argv[1:], params["trials"])
    metric, mode = params["metric"], params["mode"]
    values = [value_of(trial, metric) for trial in trials]
    best = (max if mode == "max" else min)(values)
    winner = trials[values.index(best)]
    for source, out in zip(winner.files, outs, strict=True):
        copy(source, out)
    with open(table, "w", encoding="utf-8") as file:
        json.dump(
            {
                "best": winner.name,
                "metric": metric,
                "mode": mode,
                "value": best,
                "trials": [
                    {"name": trial.name, "value": value, "params": trial.params}
                    for trial, value in zip(trials, values, strict=True)
                ],
            },
            file,
            indent=2,
        )
        file.write("\n")
    sys.stdout.write(f"{winner.name} is the best of {len(trials)}: {metric} {best:.10g}\n")


def parse(words: list[str], known: list[Mapping[str, Any]]) -> tuple[str, list[Trial], list[str]]:
    """Return the table's place, the trials and the places of the outputs."""
    groups: list[list[str]] = []
    for word in words:
        if word in {"--table", "--trial", "--out"}:
            groups.append([word])
        else:
            groups[-1].append(word)
    (_, table), *given, (_, *outs) = groups
    trials = [
        Trial(one["name"], one["params"], metrics, tuple(files))
        for one, (_, metrics, *files) in zip(known, given, strict=True)
    ]
    return table, trials, outs


def value_of(trial: Trial, metric: str) -> float:
    """Return the metric of a trial. Raises SelectError where it has none to compare."""
    try:
        with open(trial.metrics, encoding="utf-8") as file:
            found = dict(flattened(json.load(file)))
    except (ValueError, AttributeError) as error:
        raise SelectError(f"the metrics of `{trial.name}` are no JSON object") from error
    if metric not in found:
        names = ", ".join(sorted(found)[:12]) or "none"
        raise SelectError(f"`{trial.name}` has no metric `{metric}`; it has: {names}")
    value = found[metric]
    if math.isnan(value):
        raise SelectError(f"the metric `{metric}` of `{trial.name}` is not a number (NaN)")
    return value


def flattened(metrics: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number with its dotted name."""
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value


def copy(source: str, out: str) -> None:
    """Copy a file or a folder, executable bits and links included, times not."""
    if os.path.isdir(source):
        shutil.copytree(source, out, symlinks=True, copy_function=copy_file, dirs_exist_ok=True)
        return
    os.makedirs(os.path.dirname(out), exist_ok=True)
    copy_file(source, out)


def copy_file(source: str, out: str) -> None:
    """Copy one file; what is read-only in the store is not here."""
    shutil.copyfile(source, out)
    os.chmod(out, 0o755 if os.access(source, os.X_OK) else 0o644)


if __name__ == "__main__":
    try:
        main()
    except SelectError as error:
        sys.exit(str(error))
