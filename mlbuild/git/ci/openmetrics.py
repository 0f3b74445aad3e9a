"""OpenMetrics: a report as the numbers that GitLab compares between branches."""

from collections.abc import Iterable, Iterator

from mlbuild.git.ci.report import Report

Sample = tuple[dict[str, str], float]


def openmetrics(report: Report) -> str:
    """Return the text, families in a fixed order and each at most once; it ends as it must."""
    return "".join([*_families(report), "# EOF\n"])


def _families(report: Report) -> Iterator[str]:
    measured = (
        ({"target": one.label, "metric": item.metric}, item.now)
        for one in report.targets
        for item in one.metrics
        if item.now is not None
    )
    gates = {(one.label, gate.name): float(gate.passed) for one, gate in report.gates}
    yield from _family("mlbuild_metric", "What a target measured.", measured)
    yield from _family(
        "mlbuild_gate_passed",
        "Whether a gate passed.",
        (({"target": label, "gate": name}, value) for (label, name), value in gates.items()),
    )
    counts: dict[str, int] = {}
    for one in report.targets:
        counts[one.status] = counts.get(one.status, 0) + 1
    yield from _family(
        "mlbuild_targets",
        "Affected targets by what became of them.",
        (({"status": status}, count) for status, count in sorted(counts.items())),
    )
    if report.hit_rate is not None:
        yield from _family(
            "mlbuild_cache_hit_ratio", "Actions whose results were known.", [({}, report.hit_rate)]
        )
    yield from _family(
        "mlbuild_saved_seconds", "What known results once took.", [({}, report.saved)]
    )


def _family(name: str, doc: str, samples: Iterable[Sample]) -> Iterator[str]:
    """Yield the lines of one family, none where it has no samples."""
    lines = [f"{name}{_labels(labels)} {float(value)!r}\n" for labels, value in samples]
    if lines:
        yield f"# TYPE {name} gauge\n"
        if name.endswith("_seconds"):
            yield f"# UNIT {name} seconds\n"
        yield f"# HELP {name} {doc}\n"
        yield from lines


def _labels(labels: dict[str, str]) -> str:
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{shown}}}" if shown else ""


def _escaped(text: str) -> str:
    plain = text.encode("utf-8", "replace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
