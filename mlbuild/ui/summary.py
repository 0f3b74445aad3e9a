"""What a build reached, as text: the lines on stdout, the JSON object, the last line on stderr."""

import json
import os
from collections.abc import Iterator, Mapping

from mlbuild.core.action import OUT, Json
from mlbuild.core.event import BuildFinished
from mlbuild.ui.text import bytes_text, clean, plural, seconds_text

MAX_FILES = 20  # with more output files than this, none is listed
MAX_METRICS = 8  # numbers shown of one target


def summary_line(finished: BuildFinished) -> str:
    """Return the last line, such as `5 targets: 2 ran, 3 fetched · 1.4 MiB down · 12.4s`."""
    return f"{counts_text(finished)} · {seconds_text(finished.seconds)}"


def counts_text(finished: BuildFinished) -> str:
    """Return the last line without its time."""
    counts = (
        (len(finished.ran), "would run" if finished.dry_run else "ran"),
        (len(finished.cached), "cached"),
        (len(finished.fetched), "would be fetched" if finished.dry_run else "fetched"),
        (len(finished.failed), "failed"),
        (len(finished.skipped), "skipped"),
    )
    targets = plural(sum(count for count, _ in counts), "target")
    shown = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    return " · ".join([f"{targets}: {shown}" if shown else targets, *_shared_words(finished)])


def _shared_words(finished: BuildFinished) -> list[str]:
    """Return what there is to say of the shared cache; nothing where it took no part."""
    words = [
        f"{bytes_text(size)} {where}"
        for size, where in ((finished.down, "down"), (finished.up, "up"))
        if size
    ]
    if finished.saved >= 1:
        words.append(f"saved {seconds_text(finished.saved)}")
    if finished.uploads_left:
        verb = "goes" if finished.uploads_left == 1 else "go"
        what = f"{verb} on" if finished.uploads_go_on else "left for later"
        words.append(f"{plural(finished.uploads_left, 'upload')} {what}")
    return words


def result_lines(finished: BuildFinished, *, root: str, folder: str) -> list[str]:
    """Return what goes to stdout: paths of made outputs as seen from `folder`, and the metrics.

    `root` is the workspace's. A target that failed still shows what it measured: its gates may
    have been missed.
    """
    few = sum(map(len, finished.outputs.values())) <= MAX_FILES
    lines: list[str] = []
    for label, paths in finished.outputs.items():
        if few:
            made = [path for path in paths if path.startswith(f"{OUT}/")]
            lines += [clean(_seen_from(folder, os.path.join(root, path))) for path in made]
        lines += _metric_line(label, finished.metrics)
    for label in finished.failed:
        if label not in finished.outputs:
            lines += _metric_line(label, finished.metrics)
    return lines


def _seen_from(folder: str, path: str) -> str:
    start = folder.rstrip("/") + "/"
    return path.removeprefix(start)


def _metric_line(label: str, metrics: Mapping[str, dict[str, Json]]) -> list[str]:
    found = metrics.get(label)
    return ["  ".join((clean(label), *metric_words(found, MAX_METRICS)))] if found else []


def metric_words(metrics: Mapping[str, Json], limit: int) -> list[str]:
    """Return `accuracy 0.9735` and its like: what lies on top before what is nested."""
    numbers = sorted(_numbers(metrics, ""), key=lambda pair: pair[0].count("."))
    words = [f"{clean(name)} {_number(value)}" for name, value in numbers[:limit]]
    return [*words, f"and {len(numbers) - limit} more"] if len(numbers) > limit else words


def _numbers(metrics: Mapping[str, Json], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def json_text(finished: BuildFinished) -> str:
    """Return the object that `--json` prints. Its seconds stand last: they are easy to replace."""
    return json.dumps(
        {
            "ran": finished.ran,
            "cached": finished.cached,
            "fetched": finished.fetched,
            "failed": finished.failed,
            "skipped": finished.skipped,
            "outputs": finished.outputs,
            "metrics": finished.metrics,
            "down": finished.down,
            "up": finished.up,
            "saved": finished.saved,
            "saved_local": finished.saved_local,
            "uploads_left": finished.uploads_left,
            "seconds": round(finished.seconds, 3),
        }
    )
