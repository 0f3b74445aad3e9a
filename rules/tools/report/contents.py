"""Contents: what a report shows, as plain values, read from files."""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PICTURES = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
STEPS = ("step", "epoch", "iteration")  # what curves are drawn over; else the number of the line
LONGEST = 200  # characters of a cell
WIDEST = 24  # columns of a table
LARGEST = 1e100  # what a curve shows; NaN and infinity are no more than gaps


class ReportError(Exception):
    """Something that cannot be shown."""


@dataclass(frozen=True)
class Heading:
    """The start of a section."""

    text: str


@dataclass(frozen=True)
class Prose:
    """Markdown, whose headings stand `level` below their own."""

    text: str
    level: int


@dataclass(frozen=True)
class Table:
    """Rows of texts and numbers; `more` rows were left out."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: int = 0


@dataclass(frozen=True)
class Curve:
    """A number over steps."""

    caption: str
    name: str
    over: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """An image, embedded."""

    caption: str
    media_type: str
    content: bytes


Part = Heading | Prose | Table | Curve | Picture


@dataclass(frozen=True)
class Section:
    """What one dependency gives: its parts by file, and its metrics."""

    name: str
    parts: Mapping[str, tuple[Part, ...]]  # by the file's name
    numbers: Mapping[str, float]  # by the metric's dotted name


def section_of(given: Mapping[str, Any], *, rows: int) -> Section:
    """Read what one dependency gives. Raises ReportError."""
    if "trials" in given:
        return Section(given["name"], {"trials": (trials(given["trials"], rows=rows),)}, {})
    parts: dict[str, tuple[Part, ...]] = {}
    numbers: dict[str, float] = {}
    for file in sorted(given["files"], key=lambda one: (not one["metrics"], one["name"])):
        if file["metrics"]:
            numbers = dict(flattened(read_json(file["path"], file["name"])))
            lines = tuple(numbers.items())
            parts[file["name"]] = (Table("Metrics", ("metric", "value"), lines),)
            continue
        for name, path in files_at(file["path"], file["name"]):
            parts[name] = tuple(parts_of(path, name, rows=rows))
    return Section(given["name"], parts, numbers)


def trials(given: Sequence[Mapping[str, Any]], *, rows: int) -> Table:
    """Return a table with a row for each trial of a sweep."""
    found = [(one["params"], dict(flattened(read_json(one["path"], one["name"])))) for one in given]
    params = list(dict.fromkeys(name for point, _ in found for name in point))
    metrics = list(dict.fromkeys(name for _, numbers in found for name in numbers))
    lines = [
        (*(plain(point.get(name)) for name in params), *(numbers.get(name) for name in metrics))
        for point, numbers in found
    ]
    return table("Trials", (*params, *metrics), lines, limit=max(rows, len(lines)))


def files_at(path: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield name and path of a file, or of all files below a folder, sorted."""
    if not os.path.isdir(path):
        yield name, path
        return
    for entry in sorted(os.listdir(path)):
        yield from files_at(f"{path}/{entry}", f"{name}/{entry}")


def parts_of(path: str, name: str, *, rows: int) -> Iterator[Part]:
    """Yield what to show of one file; nothing for a kind that is not known."""
    ending = os.path.splitext(name)[1].lower()
    if ending in PICTURES:
        with open(path, "rb") as file:
            yield Picture(name, PICTURES[ending], file.read())
    elif ending in {".csv", ".tsv"}:
        yield read_csv(path, name, rows=rows)
    elif ending == ".json":
        yield from from_json(read_json(path, name), name, rows=rows)
    elif ending == ".jsonl":
        yield from read_curves(path, name, rows=rows)
    elif ending == ".md":
        yield Prose(read_text(path, name), 2)


def read_text(path: str, name: str) -> str:
    """Return the text of a file."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ReportError(f"`{name}` is not UTF-8 text") from error


def read_json(path: str, name: str) -> Any:
    """Return what a JSON file says."""
    try:
        return json.loads(read_text(path, name))
    except ValueError as error:
        raise ReportError(f"`{name}` is not JSON: {error}") from error


def read_csv(path: str, name: str, *, rows: int) -> Table:
    """Return the first rows of a table whose first line names the columns."""
    text = read_text(path, name)
    lines = list(
        csv.reader(text.splitlines(), delimiter="\t" if name.lower().endswith(".tsv") else ",")
    )
    lines = [line for line in lines if line]
    if not lines:
        return Table(name, (), ())
    return table(name, lines[0], [tuple(map(number, line)) for line in lines[1:]], limit=rows)


def number(text: str) -> Any:
    """Return the number that a cell holds, or its text."""
    try:
        return int(text) if text.strip().lstrip("+-").isdecimal() else float(text)
    except ValueError:
        return text


def table(
    caption: str, columns: Sequence[str], lines: Sequence[tuple[Any, ...]], *, limit: int
) -> Table:
    """Return a table of at most `limit` rows, all as wide as the widest, if that can be seen."""
    shown = lines[:limit]
    width = max((len(columns), *map(len, shown)))
    head, *rows = [(*line, *[""] * (width - len(line))) for line in (tuple(columns), *shown)]
    if width > WIDEST:
        head, *rows = [(*line[: WIDEST - 1], "…") for line in (head, *rows)]
    return Table(caption, head, tuple(rows), len(lines) - len(shown))


def from_json(value: Any, caption: str, *, rows: int) -> Iterator[Part]:
    """Yield tables: of a list its items, of an object its plain values, then each list of rows."""
    if isinstance(value, list):
        yield table_of(value, caption, rows=rows)
    elif isinstance(value, dict):
        lists = {key: item for key, item in value.items() if is_table(item)}
        rest = {key: item for key, item in value.items() if key not in lists}
        lines = list(leaves(rest))
        if lines:
            yield table(caption, ("name", "value"), lines, limit=rows)
        for key, item in lists.items():
            yield table_of(item, f"{caption}: {key}", rows=rows)
    else:
        yield Table(caption, ("value",), ((plain(value),),))


def is_table(value: Any) -> bool:
    """Say whether a value is a list of rows: of objects, or of lists."""
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def table_of(items: Sequence[Any], caption: str, *, rows: int) -> Table:
    """Return a list as a table: of objects by their keys, of lists by position."""
    if items and all(isinstance(item, dict) for item in items):
        flat = [dict(leaves(item)) for item in items]
        columns = list(dict.fromkeys(key for item in flat for key in item))
        lines = [tuple(item.get(key, "") for key in columns) for item in flat]
        return table(caption, columns, lines, limit=rows)
    lines = [
        (at, *map(plain, item)) if isinstance(item, list) else (at, plain(item))
        for at, item in enumerate(items)
    ]
    width = max((len(line) - 1 for line in lines), default=0)
    return table(caption, ["", *map(str, range(width))], lines, limit=rows)


def leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value with its dotted name."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from leaves(item, f"{prefix}{key}.")
        else:
            yield prefix + key, plain(item)


def plain(value: Any) -> Any:
    """Return a value as a cell shows it: a number, or a text that is not too long."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def flattened(metrics: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number with its dotted name."""
    for name, value in metrics.items() if isinstance(metrics, dict) else ():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value


def read_curves(path: str, name: str, *, rows: int) -> Iterator[Part]:
    """Yield a curve for each number in lines of JSON; a table where there is none to draw."""
    lines = []
    for at, text in enumerate(read_text(path, name).splitlines(), 1):
        if text.strip():
            try:
                lines.append(json.loads(text))
            except ValueError as error:
                raise ReportError(f"`{name}`, line {at}, is not JSON: {error}") from error
    flat = [dict(flattened(line)) for line in lines]
    over = next((step for step in STEPS if flat and all(step in line for line in flat)), "")
    curves: dict[str, list[tuple[float, float]]] = {}
    for at, line in enumerate(flat):
        for key, value in line.items():
            step = line[over] if over else at
            if key != over and abs(value) <= LARGEST and abs(step) <= LARGEST:
                curves.setdefault(key, []).append((float(step), float(value)))
    drawn = {key: points for key, points in curves.items() if len(points) > 1}
    for key, points in drawn.items():
        yield Curve(f"{name}: {key}", key, over or "line", tuple(points))
    if not drawn and lines:
        yield table_of(lines, name, rows=rows)


def shown(value: Any) -> str:
    """Return a cell's text: numbers to six digits, nothing for None."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
