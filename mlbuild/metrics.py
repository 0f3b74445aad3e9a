"""Metrics: the numbers that an action wrote down about what it made."""

import json
import math
import os
from typing import Any

from mlbuild.core.action import Json
from mlbuild.errors import InputError

MAX_METRICS = 16 << 20  # bytes


def read_metrics(out: str, path: str) -> dict[str, Json] | None:
    """Read the metrics output. Raises InputError when it is no JSON object of numbers."""
    if not path:
        return None
    place = os.path.join(out, path)
    if not os.path.isfile(place) or os.path.islink(place):
        return None  # ingest says what is missing
    if os.path.getsize(place) > MAX_METRICS:
        raise InputError(f"the metrics in `{path}` are larger than {MAX_METRICS >> 20} MiB")
    try:
        found: Any = json.loads(_read(place))
    except (ValueError, RecursionError) as error:
        raise InputError(f"the metrics in `{path}` are not JSON: {error}") from error
    if type(found) is not dict:
        raise InputError(f"the metrics in `{path}` are not a JSON object")
    _check_numbers(found, path, name="")
    return found


def _check_numbers(value: Any, path: str, *, name: str) -> None:
    if type(value) is dict:
        for key, item in value.items():
            _check_numbers(item, path, name=f"{name}.{key}" if name else key)
    elif type(value) not in {int, float} or not math.isfinite(value):
        raise InputError(
            f"the metric `{name}` in `{path}` is {json.dumps(value)[:40]}, not a number",
            hints=("metrics are finite numbers, nested objects allowed",),
        )


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(MAX_METRICS)
