"""Assembly: store, executor, scheduler and history, put together for one build."""

import os
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from mlbuild import plans
from mlbuild.config import Config, settings_files
from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Run
from mlbuild.core.event import BuildFinished, Event
from mlbuild.core.plan import Plan
from mlbuild.core.result import Content, Result
from mlbuild.delivery import Delivery
from mlbuild.demands import asks, unmet
from mlbuild.exec.base import Away, Executor, Tool
from mlbuild.exec.gpus import Gpus
from mlbuild.exec.host import platform_id
from mlbuild.exec.room import Room, Roomy, here
from mlbuild.exec.toolchain import Toolchain
from mlbuild.exec.view import on_host
from mlbuild.far import Far, Moved
from mlbuild.history.commit import commit_of
from mlbuild.history.records import Record, Records
from mlbuild.history.why import Difference, differences, reason
from mlbuild.host import Host
from mlbuild.outcome import Outcome, Settings
from mlbuild.reached import reached, seconds_of
from mlbuild.scheduler import Scheduler
from mlbuild.scheduler import Sources as Contents
from mlbuild.sources import open_sources
from mlbuild.store import files, uses
from mlbuild.store.disk import DiskStore
from mlbuild.unchanged import Trace
from mlbuild.worker import Worker, unsealed
from mlbuild.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Request:
    """What the user wants of one build."""

    patterns: tuple[str, ...]
    package: str = ""  # the package that relative patterns are seen from
    dry_run: bool = False
    rerun: bool = False
    keep_sandbox: bool = False  # of actions that fail, for their user to look at


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a target ran, or would run."""

    label: str
    status: str  # "would run" "cached" "never built"
    when: str  # when it last ran
    differences: tuple[Difference, ...]
    versus: str  # when the run ran that the differences are against
    deps: tuple[str, ...]  # labels that run first, so that the key is not known yet


class Assembly:
    """The parts of one build, put together."""

    def __init__(
        self,
        workspace: Workspace,
        config: Config,
        *,
        invocation: str,
        store: DiskStore,
        executor: Executor,
        records: Records,
        emit: Callable[[Event], None],
    ) -> None:
        self._invocation = invocation  # its id
        self._emit = emit
        self._workspace = workspace
        self._config = config
        self._store = store
        self._executor = executor
        self._records = records
        self._outcome = Outcome()
        self._uses = ""  # the file that says what this build rests on
        self._end: Callable[[], None] = lambda: None  # waits for what a schedule leaves behind
        self._delivery = Delivery(store, workspace.out)
        self._far: Far | None = None
        if config.sharing.used:
            self._far = Far(
                config.sharing,
                root=store.root,
                environ=config.environ,
                log=self._courier_log,
                emit=emit,
            )
        search = config.environ.get("PATH", "")
        self._away = executor if isinstance(executor, Away) else None
        self._gpus = Gpus(search)
        if self._away is not None:
            self._gpus = Gpus(search, ask=self._away.gpus, where=f"`{self._away.where}`")
        self._toolchain = Toolchain(os.path.join(config.cache_dir, "tools"), search=search)
        self._tools: dict[str, Tool] = {}
        self._sources = open_sources(workspace, config, emit=emit)

    def run(self, plan: Plan, request: Request, *, started: float) -> BuildFinished:
        """Schedule `plan`, deliver its outputs, write history; return what was reached."""
        outcome = self._outcome = self.schedule(plan, request)
        finished = reached(plan, outcome, dry_run=request.dry_run)
        if request.dry_run:
            return replace(finished, seconds=round(time.monotonic() - started, 3))
        there = {*finished.ran, *finished.cached, *finished.fetched}
        done = [label for label in plan.requested if label in there]
        outputs = self._delivery.deliver(plan, outcome.results, done)
        self._note_uses(request, outcome)
        moved = self.settle(plan, outcome)
        return replace(
            finished,
            outputs=outputs,
            seconds=round(time.monotonic() - started, 3),
            down=moved.down,
            up=moved.up,
            uploads_left=moved.left,
            uploads_go_on=moved.goes_on,
        )

    @property
    def worth(self) -> float:
        """Seconds that it took to make everything that takes part."""
        return seconds_of(self._outcome, self._outcome.results.keys())

    def repeatable(self, request: Request, plan: Plan) -> bool:
        """Say whether the same request, nothing changed, may get the same answer unseen."""
        outcome = self._outcome
        if any(isinstance(one.does, Run) and one.does.cache == "off" for one in plan.actions):
            return False
        return not (
            request.dry_run
            or request.rerun
            or outcome.failed
            or outcome.skipped
            or outcome.noted
            or outcome.interrupted
        )

    def used(self) -> Mapping[str, Content] | None:
        """Return the contents of the sources that the run used.

        None when some changed meanwhile, so that no state of the disk is what the run has seen.
        """
        return None if self._outcome.noted else self._sources.steady()

    def trace(self, planned: plans.Planned, *, since: int) -> Trace:
        """Return everything on disk that the answer rests on."""
        trace = Trace(since)
        trace.uses = self._uses
        root, rules = self._workspace.root, self._workspace.rules_root()
        trace.files.update(planned.files)
        trace.read |= planned.read()
        trace.files.add(sys.executable)
        trace.files.update(on_host(tool) for tool in self._tools.values())
        for path in (*settings_files(root, self._config.environ),):
            (trace.files if os.path.lexists(path) else trace.absent).add(path)
        folders = [os.path.join(root, folder) for folder in planned.folders]
        trace.listings.update(folders)
        trace.names |= dict(zip(folders, planned.names, strict=False))
        for path, kind in planned.plan.sources.items():
            if kind == "tree":
                trace.folders += [
                    (os.path.join(root, folder), own, names, looks)
                    for folder, own, names, looks in self._sources.index.folders_below(path)
                ]
            elif path.startswith("@rules/"):
                trace.files.add(os.path.join(rules, path.removeprefix("@rules/")))
            else:
                trace.files.add(place := os.path.join(root, path))
                trace.read[place] = self._sources.index.stamp(path)
        for link, tree in self._delivery.links.items():
            trace.links[link] = self._store.path(tree)
            stamps = self._store.stamps(tree)
            # The folder of a lone file tells nothing that the file does not.
            for path, *look in stamps[1:] if len(stamps) == 2 else stamps:  # noqa: PLR2004 - folder, file
                trace.outputs.append((path, array("q", look).tobytes()))
        return trace

    def explain(self, plan: Plan, label: str) -> Explanation:
        """Compare the newest manifest of a target with the one before, or with today's."""
        outcome = self.schedule(plan, Request((label,), dry_run=True), quiet=True, alone=True)
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

    def schedule(
        self,
        plan: Plan,
        request: Request,
        *,
        quiet: bool = False,
        alone: bool = False,
        near: AbstractSet[str] = frozenset(),
        sources: Contents | None = None,
    ) -> Outcome:
        """Bring every action of `plan` to its end; return what was reached.

        `alone` it looks for results in the local store only. The artifacts `near` will have their
        bytes there, like all that is requested. `sources` gives digests of sources that are not
        those on the disk: for dry runs. Raises HostError, before anything runs, for what this host
        cannot give to an action.
        """
        if not request.dry_run:
            self._require(plan, request)
        wanted = {path for label in plan.requested for path in plan.targets[label].outputs} | near
        on_gpus = any(isinstance(one.does, Run) and one.does.gpus for one in plan.actions)
        settings = Settings(
            self._config.jobs if self._away is None else self._away.jobs,
            keep_going=self._config.keep_going,
            dry_run=request.dry_run,
            rerun=frozenset(plan.requested) if request.rerun else frozenset(),
            wanted=frozenset(wanted),
            platform=platform_id(),
            salt=self._config.salt,
            memory=sys.maxsize if self._away else self._room().memory,
            gpus=self._gpu_count() if on_gpus and not request.dry_run else 0,
        )
        emit = (lambda _: None) if quiet else self._emit
        host = self.host(logs=not request.dry_run, keeps_failed=request.keep_sandbox)
        scheduler = Scheduler(
            plan,
            settings=settings,
            worker=self.worker(host),
            sources=sources or self._sources,
            emit=emit,
            reason=self._reason,
            far=None if alone else self._far,
        )
        self._end = scheduler.close
        return scheduler.run()

    def _gpu_count(self) -> int:
        """Return how many GPUs actions may have together; elsewhere they queue for them there."""
        return len(self._gpus.found) if self._away is None else sys.maxsize

    def _room(self) -> Room:
        """Return what this host has besides GPUs."""
        return here(self._store.root)

    def _require(self, plan: Plan, request: Request) -> None:
        """Make sure that there is what all actions ask for that will have to run.

        Those whose results are known need nothing: a laptop uses what a server trained.
        """
        asking = [one for one in plan.actions if asks(one)]
        room: Callable[[], Room] | None = self._room
        if self._away is not None:
            room = self._away.room if isinstance(self._away, Roomy) else None
            asking = self._to_run(asking, plan, request)  # it is not asked in vain
        lacking = unmet(asking, gpus=self._gpus, room=room)
        asking = [one for one in asking if one.id in lacking]
        for action in self._to_run(asking, plan, request):
            raise lacking[action.id]

    def _to_run(self, actions: list[Action], plan: Plan, request: Request) -> list[Action]:
        """Return those of `actions` whose results are not known."""
        if not actions:
            return []
        would = self.schedule(plan, replace(request, dry_run=True), quiet=True).would_run
        return [one for one in actions if one.id in would]

    def host(self, *, logs: bool, keeps_failed: bool = False) -> Host:
        """Return what this host lends to actions; with `logs`, ready to run some."""
        downloads = os.path.join(self._config.cache_dir, "downloads")
        folder = ""
        if logs:
            folder = self._store.run_folder(self._invocation)
            os.makedirs(downloads, mode=0o700, exist_ok=True)
        return Host(
            self._workspace.root,
            self._workspace.rules_root(),
            folder,
            downloads,
            self._tool,
            self._config.caller_env,
            self._gpus,
            keeps_failed,
            lends=self._away is None,
        )

    def worker(self, host: Host) -> Worker:
        """Return what does actions on `host`, with the store and the executor of this build."""
        return Worker(self._store, self._executor, host=host, watcher=self._sources)

    def facts(self, action: Action, outcome: Outcome, worker: Worker) -> manifests.Manifest:
        """Return the facts of an action, all of whose inputs have been made or read."""
        inputs = {path: outcome.contents[path] for path in action.inputs}
        return worker.facts(action, inputs, platform_id(), self._config.salt)

    def place(self, result: Result, path: str) -> str | None:
        """Return the absolute path of an output in the store, None when its bytes are lost."""
        return self._store.place(result.tree, path)

    def settle(self, plan: Plan, outcome: Outcome) -> Moved:
        """Write history, make durable what was made, and leave uploads as it is wished."""
        self._record(plan, outcome)
        self._sources.save()
        self._end()
        if outcome.ran:
            self._store.sync()
        return self._far.settle(interrupted=outcome.interrupted) if self._far else Moved()

    def close(self) -> None:
        """Give up what is not settled."""
        if self._far is not None:
            self._far.close()

    def _note_uses(self, request: Request, outcome: Outcome) -> None:
        """Tell the store which results this build rests on, so that they stay."""
        keys = [
            outcome.keys[id_] if result.hermetic else unsealed(outcome.keys[id_])
            for id_, result in outcome.results.items()
            if id_ in outcome.keys
        ]
        words = (request.package, *request.patterns)
        with files.disk_errors(self._store.root):
            root = self._workspace.root
            self._uses = uses.note(self._store.private, workspace=root, request=words, keys=keys)

    def _courier_log(self) -> str:
        return os.path.join(
            os.path.dirname(self._store.run_folder(self._invocation)), "courier.log"
        )

    def _tool(self, name: str) -> Tool:
        found = self._tools.get(name)
        if found is None:
            found = self._tools[name] = self._toolchain.resolve(name)
        return found

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
        commit = commit_of(self._workspace.root, self._config.environ)
        self._records.append(
            Record(
                invocation=self._invocation,
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
