"""Invocation: one run of mlbuild, from patterns to outputs."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from mlbuild import __version__, plans
from mlbuild.assembly import Assembly, Explanation, Request
from mlbuild.config import Config
from mlbuild.core.action import Run
from mlbuild.core.event import (
    BuildFinished,
    BuildStarted,
    Event,
    PlanReady,
    Warned,
)
from mlbuild.core.label import parse_label
from mlbuild.core.plan import Plan, TargetPlan
from mlbuild.core.result import Content, Result
from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Executor, Patient, Reachable
from mlbuild.history.records import Records
from mlbuild.outcome import Outcome
from mlbuild.repetition import Repetition
from mlbuild.scheduler import Sources as Contents
from mlbuild.sources import open_sources
from mlbuild.store import files
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.store.holders import running_logs
from mlbuild.unchanged import Trace
from mlbuild.worker import log_name, unsealed
from mlbuild.workspace import Workspace

UNSEALED = "so results are marked `hermetic: false` and never shared"
DOCTOR = "`mlbuild doctor` says what this host can do, and the cure"
INSTALL = "install it, for example with `apt-get install bubblewrap`"


@dataclass(frozen=True, slots=True)
class Known:
    """A target, and the results that its actions have as its sources are now."""

    root: str  # of the workspace
    plan: Plan
    target: TargetPlan
    results: Mapping[str, Result]  # by action
    store: DiskStore
    records: Records
    outcome: Outcome  # of a build that ran nothing


@dataclass(frozen=True, slots=True)
class Basis:
    """What a build rests on: its plan, and the contents of the sources."""

    planned: plans.Planned
    sources: Mapping[str, Content]  # by artifact path

    def agrees(self, other: "Basis") -> bool:
        """Say whether a build that rests on `other` does the same and gives the same."""
        mine, theirs = self.planned.plan, other.planned.plan
        return (
            self.sources == other.sources
            and mine.requested == theirs.requested
            and mine.actions == theirs.actions
            and _delivered(mine) == _delivered(theirs)
        )


@dataclass(frozen=True, slots=True)
class Rested:
    """What is known of some targets and of all that they rest on, without anything running."""

    plan: Plan
    outcome: Outcome
    store: DiskStore

    @property
    def keys(self) -> dict[str, str]:
        """Where the results stand that are known, by action."""
        keys, results = self.outcome.keys, self.outcome.results
        return {
            id_: keys[id_] if result.hermetic else unsealed(keys[id_])
            for id_, result in results.items()
            if id_ in keys
        }

    def unknown(self) -> list[str]:
        """Return those of the targets of which something would have to run."""
        would = self.outcome.would_run
        return [
            label
            for label in self.plan.requested
            if would & {*self.plan.targets[label].actions, *self.makers(label)}
        ]

    def makers(self, label: str) -> list[str]:
        """Return the actions that make what a target delivers."""
        producers = self.plan.producers()
        outputs = self.plan.targets[label].outputs
        found = [producers[path].id for path in outputs if path in producers]
        return list(dict.fromkeys(found))


class Invocation:
    """One run with its id, its logs and its events."""

    def __init__(
        self, workspace: Workspace, config: Config, *, emit: Callable[[Event], None]
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._emit = emit
        self._started = time.monotonic()
        self._since = time.time_ns()
        self.trace: Trace | None = None  # of a build whose answer may be given again
        self.basis: Basis | None = None  # of a build, unless sources changed while it ran
        self.labels: tuple[str, ...] = ()  # all that took part
        self.worth = 0.0  # seconds that it took to make all that
        self.id = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}"

    def build(self, request: Request) -> BuildFinished:
        """Build what `request` selects; emit everything that happens, BuildFinished last.

        Raises InputError for what is wrong in files or words, before any command runs.
        """
        executor = self._executor() if request.dry_run else self._reached()
        try:
            name = executor.name
            self._emit(BuildStarted(self.id, request.patterns, self._config.jobs, name))
            if self._config.invitation:
                self._emit(Warned(self._config.invitation))
            planned = self.planned(request)
            plan = planned.plan
            self.labels = tuple(plan.targets)
            if self._config.executor == "docker":
                _check_images(plan)
            self._emit(PlanReady(len(plan.targets), len(plan.actions)))
            with self._opened() as (store, records):
                build = self._assembly(store, executor, records)
                with closing(build):
                    finished = build.run(plan, request, started=self._started)
                    if (used := build.used()) is not None:
                        self.basis = Basis(planned, used)
            if build.repeatable(request, plan):
                self.trace = build.trace(planned, since=self._since)
                self.worth = build.worth
        finally:
            executor.close()
        self._emit(finished)
        return finished

    def look(self, request: Request) -> Basis:
        """Return what a build of `request` would rest on as the files are now. Nothing runs.

        Raises InputError like `build`.
        """
        planned = self.planned(request)
        sources = open_sources(self._workspace, self._config, emit=self._emit)
        contents = sources.contents(planned.plan.sources)
        sources.save()
        return Basis(planned, contents)

    def explain(self, text: str, package: str) -> Explanation:
        """Say why the target `text` ran the last time it did, or would run now."""
        label = str(parse_label(text, package=package))
        planned = self.planned(Request((label,)))
        label = planned.plan.requested[0]
        executor = self._executor()
        try:
            with self._opened() as (store, records):
                build = self._assembly(store, executor, records)
                return build.explain(planned.plan, label)
        finally:
            executor.close()

    @contextmanager
    def repetition(self, request: Request) -> Iterator[tuple[Repetition, Plan]]:
        """Yield what does actions of the plan for `request` once more, and that plan."""
        executor = self._reached()
        try:
            plan = self.planned(request).plan
            with self._opened() as (store, records):
                build = self._assembly(store, executor, records)
                with closing(build):
                    yield Repetition(build, plan, emit=self._emit), plan
        finally:
            executor.close()

    @contextmanager
    def known(self, text: str, package: str) -> Iterator[Known]:
        """Yield what is known of the target `text` without running anything."""
        plan = self.planned(Request((str(parse_label(text, package=package)),))).plan
        executor = self._executor()
        try:
            with self._opened() as (store, records):
                request = Request(plan.requested, dry_run=True)
                build = self._assembly(store, executor, records)
                outcome = build.schedule(plan, request, quiet=True, alone=True)
                target = plan.targets[plan.requested[0]]
                root, results = self._workspace.root, outcome.results
                yield Known(root, plan, target, results, store, records, outcome)
        finally:
            executor.close()

    def recalled(self, plan: Plan, sources: Contents) -> Mapping[str, Result]:
        """Return the results that the actions of any plan have, by action; nothing runs.

        `sources` says what stands for the bytes of its sources, which need not be on the disk.
        """
        executor = self._executor()
        try:
            with self._opened() as (store, records):
                build = self._assembly(store, executor, records)
                with closing(build):
                    request = Request(plan.requested, dry_run=True)
                    return build.schedule(plan, request, quiet=True, sources=sources).results
        finally:
            executor.close()

    @contextmanager
    def rested(self, request: Request, *, alone: bool) -> Iterator[Rested]:
        """Yield what is known of the targets that `request` selects, and of all they rest on.

        Nothing runs. `alone`, only the local store is asked; else the shared cache too.
        """
        plan = self.planned(request).plan
        executor = self._executor()
        try:
            with self._opened() as (store, records):
                build = self._assembly(store, executor, records)
                with closing(build):
                    dry = replace(request, dry_run=True)
                    outcome = build.schedule(plan, dry, quiet=True, alone=alone)
                yield Rested(plan, outcome, store)
        finally:
            executor.close()

    def last_log(self, text: str, package: str) -> str | None:
        """Return the path of the newest log of the target `text`, None when there is none."""
        label = self.planned(Request((str(parse_label(text, package=package)),))).plan.requested[0]
        with self._opened() as (_, records):
            return records.last_log(self._workspace.root, label)

    def running_log(self, text: str, package: str) -> str | None:
        """Return the path of the log that the target `text` writes now; None when it does not."""
        plan = self.planned(Request((str(parse_label(text, package=package)),))).plan
        label = plan.requested[0]
        names = {log_name(action.id) for action in plan.actions if action.owner == label}
        logs = running_logs(self._config.cache_dir)
        found = [log for log in logs if os.path.basename(log) in names and os.path.isfile(log)]
        return max(found, key=os.path.getmtime, default=None)

    @contextmanager
    def _opened(self) -> Iterator[tuple[DiskStore, Records]]:
        """Yield the local store and its history."""
        place = os.path.join(self._config.cache_dir, "history.sqlite")
        with (
            files.full_disk(self._config.cache_dir),
            open_store(self._config.cache_dir) as store,
            Records(place, warn=lambda text: self._emit(Warned(text))) as records,
        ):
            yield store, records

    def _assembly(self, store: DiskStore, executor: Executor, records: Records) -> Assembly:
        return Assembly(
            self._workspace,
            self._config,
            invocation=self.id,
            store=store,
            executor=executor,
            records=records,
            emit=self._emit,
        )

    def planned(self, request: Request) -> plans.Planned:
        """Return the plan for `request`: a kept one while nothing that it was read from changed."""
        flags = [f"{name}={value}" for name, value in sorted(self._config.flags.items())]
        words = (*request.patterns, request.package, __version__, self._workspace.root, *flags)
        kept = plans.recall(self._workspace, words)
        if kept is not None and not kept[1]:
            return kept[0]
        from mlbuild.reading import Reading  # noqa: PLC0415 - start-up: most builds read nothing

        since = time.time_ns()
        reading = Reading(self._workspace, self._config, say=lambda text: self._emit(Warned(text)))
        planned = reading.patched(*kept) if kept is not None else None
        if planned is None:
            planned = reading.plan(request.patterns, request.package)
        if reading.complete:
            planned = plans.keep(self._workspace, words, planned, since=since)
        return planned

    def _executor(self) -> Executor:
        """Return what runs actions: those with an image in Docker, where the settings let it."""
        from mlbuild.exec.choice import Choice  # noqa: PLC0415 - start-up

        wish = self._config.executor
        if wish in self._config.executors:
            from mlbuild.remote.kinds import open_executor  # noqa: PLC0415 - start-up

            return open_executor(
                self._config.executors[wish],
                self._config,
                say=lambda text: self._emit(Warned(text)),
            )
        host = self._host_executor()
        if wish not in {"auto", "docker"}:
            return host
        folder = os.path.join(self._config.cache_dir, "sandbox")
        environ = self._config.environ
        choice = Choice(host, folder=folder, environ=environ, insist=wish == "docker")
        if wish == "docker" and (why_not := choice.available()):
            choice.close()
            raise HostError(f"Docker cannot be used: {why_not}", hints=(DOCTOR,))
        return choice

    def _reached(self) -> Executor:
        """Return the same; of this host where that is asked for and no other can be reached."""
        executor = self._executor()
        described = self._config.executors.get(self._config.executor)
        if described is None or not described.fallback:
            return executor
        from mlbuild.remote.outage import Outage  # noqa: PLC0415 - start-up

        if not isinstance(executor, Reachable):
            executor.close()
            raise InputError(
                f"an executor of the kind `{described.kind}` takes no `fallback`",
                span=described.spans["fallback"],
            )
        try:
            executor.reach()
        except Outage as outage:
            executor.close()
            self._emit(Warned(f"actions run here: {outage.message}", outage.hints))
            self._config = replace(self._config, executor="auto")
            return self._executor()
        except BaseException:
            executor.close()
            raise
        return executor

    def _host_executor(self) -> Patient:
        """Return what runs actions on this host's own files."""
        from mlbuild.exec.bubblewrap import Bubblewrap  # noqa: PLC0415 - start-up
        from mlbuild.exec.process import Process  # noqa: PLC0415 - start-up

        if self._config.executor == "process":
            self._emit(Warned("actions run as plain processes, " + UNSEALED))
            return Process()
        sandbox = Bubblewrap(os.path.join(self._config.cache_dir, "sandbox"))
        why_not = sandbox.available()
        if not why_not:
            return sandbox
        sandbox.close()
        if self._config.executor == "sandbox":
            raise HostError(f"the sandbox cannot be used: {why_not}", hints=(INSTALL,))
        self._emit(Warned(f"{why_not}: actions run as plain processes, {UNSEALED}", (INSTALL,)))
        return Process()


def _delivered(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {label: target.outputs for label, target in plan.targets.items()}


def _check_images(plan: Plan) -> None:
    """Refuse a build that is to use Docker and has nothing that runs in an image."""
    runs = [one.does for one in plan.actions if isinstance(one.does, Run)]
    if runs and not any(run.root for run in runs):
        raise InputError(
            "nothing that is built here runs in an image, so Docker has nothing to do",
            hints=(
                "give the target a container_environment as its `environment` or `container`",
                "`--executor auto` takes Docker for what has an image, the sandbox for all else",
            ),
        )
