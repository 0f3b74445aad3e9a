"""Job: builds what a change affects, and tells of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlbuild.assembly import Request
from mlbuild.config import Config
from mlbuild.core.action import OUT, Json
from mlbuild.core.event import ActionFailed, ActionFinished, BuildFinished, Event, Failure, Warned
from mlbuild.errors import MlbuildError
from mlbuild.git.affected import WORKTREE, Affected, Changes, changes
from mlbuild.git.ci.baseline import baseline
from mlbuild.git.ci.forge import Forge, base_of
from mlbuild.git.ci.gates import missed_gates, passed_gates
from mlbuild.git.ci.report import Failed, Gate, Report, Status, Target, compared
from mlbuild.git.repository import Repository
from mlbuild.invocation import Invocation
from mlbuild.reading import Reading
from mlbuild.workspace import Workspace

WRITE = "write"  # the executor of a file that mlbuild writes itself: nothing to save there
_FEW = 3  # reasons that are told of a target


@dataclass(slots=True)
class Watched:
    """What events told of a build."""

    hits: int = 0
    runs: int = 0
    saved: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)  # by label
    failures: dict[str, list[Failure]] = field(default_factory=dict)  # by label
    warnings: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case ActionFinished(result=result) if result.executor == WRITE:
                pass
            case ActionFinished(ran=True):
                self.runs += 1
                self._spent(event.owner, event.result.seconds)
            case ActionFinished():
                self.hits += 1
                self.saved += event.result.seconds
            case ActionFailed(failure=failure):
                self.runs += 1
                self._spent(event.owner, failure.seconds)
                self.failures.setdefault(event.owner, []).append(failure)
            case Warned(message=message):
                self.warnings.append(message)
            case _:
                pass

    def _spent(self, label: str, seconds: float) -> None:
        self.seconds[label] = self.seconds.get(label, 0.0) + seconds


@dataclass(frozen=True, slots=True)
class Job:
    """A job to be done in a workspace; `emit` hears everything that happens."""

    workspace: Workspace
    config: Config
    forge: Forge
    emit: Callable[[Event], None]

    def run(
        self, patterns: Sequence[str], *, package: str, base: str
    ) -> tuple[Report, BuildFinished | None]:
        """Build the targets that `patterns` select and that differ since the base.

        A failure does not keep others from being built. Returns no BuildFinished where there was
        nothing to build. Raises what `changes` and a build do, before any command runs.
        """
        watched = Watched()

        def emit(event: Event) -> None:
            watched(event)
            self.emit(event)

        def say(text: str) -> None:
            emit(Warned(text))

        name, found = self._changes(patterns, package=package, base=base, say=say)
        finished: BuildFinished | None = None
        report = self._opening(name, found)
        if found.affected:
            config = replace(self.config, keep_going=True)
            labels = tuple(one.label for one in found.affected)
            finished = Invocation(self.workspace, config, emit=emit).build(Request(labels))
            past = self._past(found, finished, say)
            report = replace(
                report,
                targets=tuple(_targets(self.workspace.root, found, finished, watched, past=past)),
                hits=watched.hits,
                runs=watched.runs,
                saved=watched.saved,
                seconds=finished.seconds,
                exit_code=finished.exit_code,
            )
        elif patterns:  # two equal commits say nothing of what does not exist
            Reading(self.workspace, self.config, say=say).labels(patterns, package)
        return replace(report, warnings=tuple(dict.fromkeys(watched.warnings))), finished

    def _changes(
        self, patterns: Sequence[str], *, package: str, base: str, say: Callable[[str], None]
    ) -> tuple[str, Changes]:
        """Return the name of the base, and what differs since."""
        repository = Repository.holding(self.workspace.root, environ=self.config.environ)
        name, commit = base_of(repository, self.forge, asked=base, say=say)
        return name, changes(
            self.workspace,
            self.config,
            base=commit,
            head="HEAD" if self.forge.name else WORKTREE,
            patterns=patterns or ("//...",),
            package=package,
            say=say,
        )

    def _opening(self, name: str, found: Changes) -> Report:
        """Return a report that says what was compared, and nothing of a build."""
        return Report(
            self.config.name,
            name,
            found.base,
            found.head if self.forge.name else "",
            deleted=found.deleted,
            fork=self.forge.fork,
            url=self.forge.url,
        )

    def _past(
        self, found: Changes, finished: BuildFinished, say: Callable[[str], None]
    ) -> Mapping[str, Mapping[str, Json]]:
        """Return what the targets measured in the base, as far as that is known."""
        labels = [
            one.label for one in found.affected if one.label in finished.metrics and not one.new
        ]
        if not labels or not found.base:
            return {}
        try:
            return baseline(self.workspace, self.config, commit=found.base, labels=labels)
        except MlbuildError as error:
            say(f"what was measured in the base is not known: {error.message}")
            return {}


def _targets(
    root: str,
    found: Changes,
    finished: BuildFinished,
    watched: Watched,
    *,
    past: Mapping[str, Mapping[str, Json]],
) -> Iterator[Target]:
    """Yield what became of each target: the affected ones, and others that kept them from it."""
    known = {one.label: one for one in found.affected}
    statuses = _statuses(finished, watched)
    others = [label for label in statuses if label not in known and statuses[label] != "cached"]
    for label in (*known, *(one for one in others if statuses[one] != "ran")):
        one = known.get(label, Affected(label, (), direct=False))
        failures = watched.failures.get(label, [])
        yield Target(
            label,
            statuses.get(label, "skipped"),
            one.rule,
            why_of(one),
            one.new,
            watched.seconds.get(label, 0.0),
            _gates(root, _own(label, finished.outputs.get(label, ())), failures),
            compared(finished.metrics.get(label), past.get(label)),
            label in past,
            _failed(failures),
        )


def _statuses(finished: BuildFinished, watched: Watched) -> dict[str, Status]:
    statuses: dict[str, Status] = dict.fromkeys(finished.cached, "cached")
    statuses |= dict.fromkeys((*finished.ran, *finished.fetched), "ran")
    statuses |= dict.fromkeys(finished.skipped, "skipped")
    for label in finished.failed:
        kinds = {one.kind for one in watched.failures.get(label, ())}
        statuses[label] = "missed" if kinds == {"gate"} else "failed"
    return statuses


def _own(label: str, outputs: Sequence[str]) -> list[str]:
    """Return the outputs that a target made itself; a group hands on those of others."""
    package, _, name = label.removeprefix("//").rpartition(":")
    folder = f"{OUT}/{package}/{name}/".replace("//", "/")
    return [path for path in outputs if path.startswith(folder)]


def _gates(root: str, outputs: Sequence[str], failures: Sequence[Failure]) -> tuple[Gate, ...]:
    logs = [one.log for one in failures if one.kind == "gate"]
    if logs:
        return tuple(gate for log in logs for gate in missed_gates(log))
    return passed_gates(root, outputs)


def _failed(failures: Sequence[Failure]) -> Failed | None:
    if not failures:
        return None
    first = next((one for one in failures if one.kind != "gate"), failures[0])
    return Failed(first.reason, first.tail, first.hints)


def why_of(one: Affected) -> str:
    """Say in a few words why a target is affected."""
    causes = [
        reason.path if reason.kind == reason.path else f"{reason.kind} {reason.path}"
        for reason in one.reasons
    ]
    shown = ", ".join(causes[:_FEW])
    if len(causes) > _FEW:
        shown += f" and {len(causes) - _FEW} more"
    if one.new:
        return f"new: {shown}" if shown else "new"
    return shown if one.direct or not one.through else f"through {one.through[0]}: {shown}"
