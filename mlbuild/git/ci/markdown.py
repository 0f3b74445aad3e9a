"""Markdown: a report as a page for a job, and as a comment that is edited in place."""

import re
from collections.abc import Iterator, Sequence

from mlbuild.git.ci.report import FINE, Gate, Measured, Report, Target
from mlbuild.ui.text import clean, clean_log, plural, seconds_text

COMMENT = 65_536  # characters: what GitHub takes as one comment
SUMMARY = 250_000  # characters: 1 MiB of any letters is what GitHub takes of one step
CUT = "\n_Cut to fit: the rest is in the log and in the JUnit report of the job._\n"
_TAIL = 30  # lines shown of a log
_LONGEST = 300  # characters of a cell, and of a line of a log
_SHORT = 12  # digits of a commit


class Page:
    """Text that grows to at most `limit` characters; what has no room is left out."""

    def __init__(self, limit: int) -> None:
        self._room = limit - len(CUT)
        self._parts: list[str] = []
        self._cut = False

    def add(self, text: str) -> bool:
        """Add a text as a whole; say whether there was room."""
        if len(text) > self._room:
            self._cut = True
            return False
        self._room -= len(text)
        self._parts.append(text)
        return True

    def rows(self, before: str, rows: Sequence[str], *, after: str = "") -> None:
        """Add lines between two texts, as many as there is room for, and how many are not."""
        last = f"\n… and {len(rows):,} more\n{after}"
        room = self._room - len(before) - len(last)
        fitting = 0
        for row in rows:
            room -= len(row)
            if room < 0:
                break
            fitting += 1
        if not fitting:
            self._cut = self._cut or bool(rows)
            return
        more = len(rows) - fitting
        self._cut = self._cut or bool(more)
        end = f"\n… and {more:,} more\n{after}" if more else after
        self.add(before + "".join(rows[:fitting]) + end)

    def text(self) -> str:
        """Return all of it."""
        return "".join(self._parts) + (CUT if self._cut else "")


def marker_of(workspace: str) -> str:
    """Return the line by which the comment of a workspace is found again; it does not show."""
    return f"<!-- mlbuild ci {re.sub('[^A-Za-z0-9_. -]', '_', workspace)} -->"


def comment(report: Report) -> str:
    """Return the report as a comment on a pull request, its first line the marker."""
    page = Page(COMMENT)
    page.add(f"{marker_of(report.workspace)}\n")
    return _written(page, report)


def summary(report: Report) -> str:
    """Return the report as the page of a job."""
    return _written(Page(SUMMARY), report)


def _written(page: Page, report: Report) -> str:
    page.add(f"### {_cell(report.workspace)}: {headline(report)}\n")
    page.add(f"\n{_fenced(report.fault.splitlines()) if report.fault else _facts(report)}\n")
    gates = [_gate_row(target, gate) for target, gate in report.gates]
    page.rows(_table("gate", "target", "value", "base", "").format("Gates"), gates)
    for target in report.having("failed"):
        page.add(_failure(target))
    measured = [(one, item) for one in report.targets for item in one.metrics]
    rows = [_metric_row(one, item) for one, item in measured]
    page.rows(_table("target", "metric", "base", "now", "change").format("Metrics"), rows)
    rows = [_target_row(one) for one in report.targets]
    head = _table("target", "", "time", "why").partition("\n\n")[2]
    before = f"\n<details><summary>{plural(len(rows), 'target')}</summary>\n\n{head}"
    page.rows(before, rows, after="\n</details>\n")
    page.rows("\nDeleted:\n\n", [f"- {_code(label)}\n" for label in report.deleted])
    page.rows("\nNotes:\n\n", [f"- {_cell(text)}\n" for text in report.warnings])
    if report.url:
        page.add(f"\n[The job]({report.url})\n")
    return page.text()


def headline(report: Report) -> str:
    """Return what came of the job in a few words."""
    missed = sum(not gate.passed for _, gate in report.gates)
    failed, skipped = report.having("failed"), report.having("skipped")
    words = [
        plural(missed, "gate") + " missed" if missed else "",
        plural(len(failed), "target") + " failed" if failed else "",
        f"{len(skipped):,} not built" if skipped else "",
    ]
    if report.fault:
        return "nothing could be built"
    if any(words):
        return ", ".join(filter(None, words))
    if not report.targets:
        return "nothing is affected"
    passed = len(report.gates)
    return f"{plural(len(report.having(*FINE)), 'target')} built" + (
        f", {'all ' if passed > 1 else ''}{plural(passed, 'gate')} passed" if passed else ""
    )


def _facts(report: Report) -> str:
    """Return how much was affected, what the cache did, and how long it took."""
    base = f"{_code(report.base)} ({_code(report.base_commit[:_SHORT])})"
    count, versus = plural(len(report.targets), "target"), f"since {base}"
    said = [f"{count} affected {versus}." if report.base else f"{count}; no base to compare with."]
    if report.hit_rate is not None:
        share = f"{report.hits:,} of {plural(report.hits + report.runs, 'action')}"
        saved = f", which saved {seconds_text(report.saved)}" if report.hits else ""
        said.append(f"Cached: {share} ({report.hit_rate:.0%}){saved}.")
        said.append(f"Took {seconds_text(report.seconds)}.")
    if report.fork:
        said.append("From a fork: the shared cache is read, nothing is written to it.")
    return " ".join(said)


def _gate_row(target: Target, gate: Gate) -> str:
    base = next((one for one in target.metrics if one.metric == gate.metric), None)
    verdict = "passed" if gate.passed else "**missed**"
    before = _number(base.base) if base and base.base is not None else _unknown(target)
    return _row(_code(gate.name), _code(target.label), _number(gate.value), before, verdict)


def _metric_row(target: Target, item: Measured) -> str:
    before = _unknown(target) if not target.based else _number(item.base)
    change = _change(item)
    return _row(_code(target.label), _code(item.metric), before, _number(item.now), change)


def _target_row(target: Target) -> str:
    took = seconds_text(target.seconds) if target.seconds else ""
    status = {"missed": "gate missed"}.get(target.status, target.status)
    shown = f"**{status}**" if target.status not in FINE else status
    return _row(_code(target.label), shown, took, _cell(target.why))


def _failure(target: Target) -> str:
    """Return why a target failed, with the end of its log."""
    assert target.failed is not None
    head = f"{_code(target.label)}: {_cell(target.failed.reason)}"
    hints = "".join(f"\n- {_cell(hint)}" for hint in target.failed.hints)
    tail = target.failed.tail[-_TAIL:]
    if not tail:
        return f"\n{head}{hints}\n"
    return f"\n{head}{hints}\n\n<details><summary>log</summary>\n\n{_fenced(tail)}\n</details>\n"


def _fenced(lines: Sequence[str]) -> str:
    """Return lines as they are, in a fence that is longer than any of theirs."""
    shown = "".join(f"{clean_log(line)[:_LONGEST]}\n" for line in lines)
    fence = "`" * max(3, 1 + max((len(one) for one in re.findall("`+", shown)), default=0))
    return f"{fence}text\n{shown}{fence}\n"


def _change(item: Measured) -> str:
    """Return by how much a number changed, and by which share."""
    if item.change is None:
        return ""
    if not item.change:
        return "0"
    share = f" ({item.change / abs(item.base):+.1%})" if item.base else ""
    return f"{item.change:+.6g}{share}"


def _unknown(target: Target) -> str:
    return "new" if target.new else "no base result"


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _table(*columns: str) -> str:
    """Return the head of a table; `{}` stands for its title."""
    return f"\n**{{}}**\n\n{_row(*columns)}{_row(*['---'] * len(columns))}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _code(text: str) -> str:
    """Return a name in which nothing is markup, nobody is mentioned, and no cell ends."""
    shown = clean(text)[:_LONGEST].replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown.strip() else ""


def _cell(text: str) -> str:
    """Return a sentence in which only what stands in backquotes is code."""
    return "".join(_spans(clean(text)[:_LONGEST]))


def _spans(text: str) -> Iterator[str]:
    for index, part in enumerate(text.split("`")):
        if index % 2:
            yield _code(part)
        else:
            yield re.sub(r"([\\*_<>\[\]#|@~])", r"\\\1", part)
