"""Invocation: one run of mlbuild, from patterns to outputs."""

import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mlbuild import __version__, plans
from mlbuild.config import Config, settings_files
from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Json, Run
from mlbuild.core.event import (
    BuildFinished,
    BuildStarted,
    Event,
    Hashing,
    PlanReady,
    Warned,
)
from mlbuild.core.label import parse_label
from mlbuild.core.plan import Plan
from mlbuild.delivery import Delivery
from mlbuild.errors import HostError, Interrupted
from mlbuild.exec.base import Executor, Tool
from mlbuild.exec.host import platform_id
from mlbuild.exec.toolchain import Toolchain
from mlbuild.exec.view import on_host
from mlbuild.history.commit import commit_of
from mlbuild.history.records import Record, Records
from mlbuild.history.why import Difference, differences, reason
from mlbuild.scheduler import Outcome, Scheduler, Settings
from mlbuild.sources import Sources
from mlbuild.stamps import StatIndex
from mlbuild.store import files
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.unchanged import Trace
from mlbuild.worker import Host, Worker
from mlbuild.workspace import Workspace

UNSEALED = "so results are marked `hermetic: false` and never shared"
INSTALL = "install it, for example with `apt-get install bubblewrap`"


@dataclass(frozen=True, slots=True)
class Request:
    """What the user wants of one build."""

    patterns: tuple[str, ...]
    package: str = ""  # the package that relative patterns are seen from
    dry_run: bool = False
    rerun: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a target ran, or would run."""

    label: str
    status: str  # "would run" "cached" "never built"
    when: str  # when it last ran
    differences: tuple[Difference, ...]
    versus: str  # when the run ran that the differences are against
    deps: tuple[str, ...]  # labels that run first, so that the key is not known yet


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
        self.labels: tuple[str, ...] = ()  # all that took part
        self.id = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}"

    def build(self, request: Request) -> BuildFinished:
        """Build what `request` selects; emit everything that happens, BuildFinished last.

        Raises InputError for what is wrong in files or words, before any command runs.
        """
        executor = self._executor()
        try:
            name = executor.name
            self._emit(BuildStarted(self.id, request.patterns, self._config.jobs, name))
            planned = self.planned(request)
            plan = planned.plan
            self.labels = tuple(plan.targets)
            self._emit(PlanReady(len(plan.targets), len(plan.actions)))
            with self._opened() as (store, records):
                build = _Build(self, self._workspace, self._config, store, executor, records)
                finished = build.run(plan, request, started=self._started)
            if build.repeatable(request):
                self.trace = build.trace(planned, since=self._since)
        finally:
            executor.close()
        self._emit(finished)
        return finished

    def explain(self, text: str, package: str) -> Explanation:
        """Say why the target `text` ran the last time it did, or would run now."""
        label = str(parse_label(text, package=package))
        planned = self.planned(Request((label,)))
        label = planned.plan.requested[0]
        executor = self._executor()
        try:
            with self._opened() as (store, records):
                build = _Build(self, self._workspace, self._config, store, executor, records)
                return build.explain(planned.plan, label)
        finally:
            executor.close()

    def last_log(self, text: str, package: str) -> str | None:
        """Return the path of the newest log of the target `text`, None when there is none."""
        label = self.planned(Request((str(parse_label(text, package=package)),))).plan.requested[0]
        with self._opened() as (_, records):
            return records.last_log(self._workspace.root, label)

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

    def emit(self, event: Event) -> None:
        """Pass `event` to the readers."""
        self._emit(event)

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
            plans.keep(self._workspace, words, planned, since=since)
        return planned

    def _executor(self) -> Executor:
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


class _Build:
    """The parts of one build, put together."""

    def __init__(
        self,
        invocation: Invocation,
        workspace: Workspace,
        config: Config,
        store: DiskStore,
        executor: Executor,
        records: Records,
    ) -> None:
        self._invocation = invocation
        self._workspace = workspace
        self._config = config
        self._store = store
        self._executor = executor
        self._records = records
        self._outcome = Outcome()
        self._end: Callable[[], None] = lambda: None  # waits for what a schedule leaves behind
        self._delivery = Delivery(store, workspace.out)
        self._tools: dict[str, Tool] = {}
        self._index = StatIndex.open(workspace.root)
        rules = os.path.join(config.cache_dir, "rules-index")
        self._sources = Sources(
            self._index,
            StatIndex.open(workspace.rules_root(), state=rules),
            tell=lambda files, size: invocation.emit(Hashing(files, size)),
        )

    def run(self, plan: Plan, request: Request, *, started: float) -> BuildFinished:
        """Schedule `plan`, deliver its outputs, write history; return what was reached."""
        outcome = self._outcome = self._schedule(plan, request)
        labels = statuses(plan, outcome)
        done = [one for one in plan.requested if labels[one] in {"ran", "cached"}]
        finished = BuildFinished(
            ran=_having(labels, "ran"),
            cached=_having(labels, "cached"),
            fetched=(),
            failed=_having(labels, "failed"),
            skipped=_having(labels, "skipped"),
            outputs={} if request.dry_run else self._delivery.deliver(plan, outcome.results, done),
            metrics=_metrics(plan, outcome),
            exit_code=_exit_code(outcome),
            dry_run=request.dry_run,
        )
        if not request.dry_run:
            self._record(plan, outcome)
            self._sources.save()
            self._end()
            if outcome.ran:
                self._store.sync()
        return replace(finished, seconds=round(time.monotonic() - started, 3))

    def repeatable(self, request: Request) -> bool:
        """Say whether the same request, nothing changed, may get the same answer unseen."""
        outcome = self._outcome
        return not (
            request.dry_run
            or request.rerun
            or outcome.failed
            or outcome.skipped
            or outcome.noted
            or outcome.interrupted
        )

    def trace(self, planned: plans.Planned, *, since: int) -> Trace:
        """Return everything on disk that the answer rests on."""
        trace = Trace(since)
        root, rules = self._workspace.root, self._workspace.rules_root()
        trace.files.update(planned.files)
        trace.files.add(sys.executable)
        trace.files.update(on_host(tool) for tool in self._tools.values())
        for path in (*settings_files(root, self._config.environ),):
            (trace.files if os.path.lexists(path) else trace.absent).add(path)
        trace.listings.update(os.path.join(root, folder) for folder in planned.folders)
        for path, kind in planned.plan.sources.items():
            if kind == "tree":
                trace.folders += [
                    (os.path.join(root, folder), own, names, looks)
                    for folder, own, names, looks in self._index.folders_below(path)
                ]
            elif path.startswith("@rules/"):
                trace.files.add(os.path.join(rules, path.removeprefix("@rules/")))
            else:
                trace.files.add(os.path.join(root, path))
        for link, tree in self._delivery.links.items():
            trace.links[link] = self._store.path(tree)
            stamps = self._store.stamps(tree)
            # The folder of a lone file tells nothing that the file does not.
            for path, *look in stamps[1:] if len(stamps) == 2 else stamps:  # noqa: PLR2004 - folder, file
                trace.outputs.append((path, array("q", look).tobytes()))
        return trace

    def explain(self, plan: Plan, label: str) -> Explanation:
        """Compare the newest manifest of a target with the one before, or with today's."""
        outcome = self._schedule(plan, Request((label,), dry_run=True), quiet=True)
        actions = [one for one in plan.actions if one.owner == label and one.id in outcome.keys]
        chosen: Explanation | None = None
        for action in actions:
            past = self._records.latest(self._workspace.root, action.id, n=2, ran_only=True)
            found = self._explained(action, outcome, past)
            if chosen is None or (found.differences and not chosen.differences):
                chosen = found
        if chosen is not None:
            return chosen
        owners = [one for one in plan.actions if one.owner == label]
        before = sorted(
            {
                one.owner
                for one in plan.actions
                if one.id in outcome.would_run and one.owner != label
            }
        )
        status = "would run" if owners else "cached"
        return Explanation(label, status, "", (), "", tuple(before))

    def _explained(self, action: Action, outcome: Outcome, past: list[Record]) -> Explanation:
        now = outcome.manifests[action.id]
        label = action.owner
        would = action.id in outcome.would_run
        if not past:
            return Explanation(label, "never built" if would else "cached", "", (), "", ())
        newest = past[0]
        if would and newest.key != outcome.keys[action.id]:
            old = self._store.manifest(newest.key)
            found = differences(manifests.decode(old), manifests.decode(now)) if old else ()
            return Explanation(label, "would run", newest.when, tuple(found), newest.when, ())
        status = "would run" if would else "cached"
        if not past[1:]:
            return Explanation(label, status, newest.when, (), "", ())
        old, new = self._store.manifest(past[1].key), self._store.manifest(newest.key)
        found = differences(manifests.decode(old), manifests.decode(new)) if old and new else ()
        return Explanation(label, status, newest.when, tuple(found), past[1].when, ())

    def _schedule(self, plan: Plan, request: Request, *, quiet: bool = False) -> Outcome:
        jobs, memory = self._config.jobs, _host_memory()
        for action in plan.actions:
            if isinstance(action.does, Run) and action.does.memory > memory:
                raise HostError(
                    f"`{action.owner}` asks for {action.does.memory >> 20} MiB of memory, "
                    f"and this host has {memory >> 20} MiB"
                )
        downloads = os.path.join(self._config.cache_dir, "downloads")
        logs = ""
        if not request.dry_run:
            logs = self._store.run_folder(self._invocation.id)
            os.makedirs(downloads, mode=0o700, exist_ok=True)
        toolchain = Toolchain(
            os.path.join(self._config.cache_dir, "tools"),
            search=self._config.environ.get("PATH", ""),
        )
        tools = self._tools

        def tool(name: str) -> Tool:
            found = tools.get(name)
            if found is None:
                found = tools[name] = toolchain.resolve(name)
            return found

        host = Host(
            self._workspace.root,
            self._workspace.rules_root(),
            logs,
            downloads,
            tool,
            self._config.caller_env,
        )
        wanted = {path for label in plan.requested for path in plan.targets[label].outputs}
        settings = Settings(
            jobs,
            keep_going=self._config.keep_going,
            dry_run=request.dry_run,
            rerun=frozenset(plan.requested) if request.rerun else frozenset(),
            wanted=frozenset(wanted),
            platform=platform_id(),
            salt=self._config.salt,
            memory=memory,
        )
        emit = (lambda _: None) if quiet else self._invocation.emit
        worker = Worker(self._store, self._executor, host=host, watcher=self._sources)
        scheduler = Scheduler(
            plan,
            settings=settings,
            worker=worker,
            sources=self._sources,
            emit=emit,
            reason=self._reason,
        )
        self._end = scheduler.close
        return scheduler.run()

    def _reason(self, action: Action, manifest: bytes) -> str:
        """Say in a few words why `action` has no known result."""
        past = self._records.latest(self._workspace.root, action.id, n=1, ran_only=False)
        old = self._store.manifest(past[0].key) if past else None
        if old is None:
            return "never built here"
        found = differences(manifests.decode(old), manifests.decode(manifest))
        return reason(found) if found else "its result is no longer in the cache"

    def _record(self, plan: Plan, outcome: Outcome) -> None:
        """Keep what ran, failures included, in the history."""
        ran = [one for one in plan.actions if one.id in outcome.ran or one.id in outcome.failed]
        if not ran:
            return
        commit = commit_of(self._workspace.root)
        self._records.append(
            Record(
                invocation=self._invocation.id,
                workspace=self._workspace.root,
                label=action.owner,
                action=action.id,
                mnemonic=action.mnemonic,
                key=outcome.keys.get(action.id, ""),
                ran=True,
                seconds=result.seconds if result else outcome.failed[action.id].seconds,
                metrics=result.metrics if result else None,
                failed=result is None,
                log=outcome.logs.get(action.id, ""),
                name=self._config.name,
                commit=commit.hash if commit else "",
                dirty=commit.dirty if commit else False,
            )
            for action in ran
            for result in [outcome.results.get(action.id)]
        )


def statuses(plan: Plan, outcome: Outcome) -> dict[str, str]:
    """Return for each target, dependencies first, what became of it."""
    labels: dict[str, str] = {}
    for label, target in plan.targets.items():
        ids = target.actions
        if any(id_ in outcome.failed for id_ in ids):
            labels[label] = "failed"
        elif any(id_ in outcome.skipped for id_ in ids) or (
            not ids and any(labels.get(dep) in {"failed", "skipped"} for dep in target.deps)
        ):
            labels[label] = "skipped"
        elif any(id_ in outcome.ran or id_ in outcome.would_run for id_ in ids):
            labels[label] = "ran"
        else:
            labels[label] = "cached"
    return labels


def _having(labels: Mapping[str, str], status: str) -> tuple[str, ...]:
    return tuple(label for label, found in labels.items() if found == status)


def _metrics(plan: Plan, outcome: Outcome) -> dict[str, dict[str, Json]]:
    found: dict[str, dict[str, Json]] = {}
    for label, target in plan.targets.items():
        for id_ in target.actions:
            result = outcome.results.get(id_)
            if result is not None and result.metrics is not None:
                found[label] = result.metrics
    return found


def _exit_code(outcome: Outcome) -> int:
    if outcome.interrupted:
        return Interrupted.exit_code
    kinds = {failure.kind for failure in outcome.failed.values()}
    if not kinds:
        return 0
    if "host" in kinds:
        return HostError.exit_code
    return 3 if kinds == {"gate"} else 1


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
