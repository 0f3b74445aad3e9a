"""Scheduler: moves a Plan from wanted to done.

One process, the caller's, owns all mutable state. The members of its crew take frozen values and
answer through pipes.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Run, Verify
from mlbuild.core.event import (
    ActionFailed,
    ActionFinished,
    ActionSkipped,
    ActionStarted,
    ActionWaiting,
    Event,
    Failure,
    GpuAwaited,
    WouldRun,
)
from mlbuild.core.plan import Plan
from mlbuild.core.result import Content, Result
from mlbuild.crew import Crew
from mlbuild.errors import Hangup
from mlbuild.far import Far
from mlbuild.fetch import Fetch, Gone, Known, Near, News, Unknown, has_shared_bytes
from mlbuild.lines import Lines
from mlbuild.outcome import LEGAL, Outcome, Settings, State
from mlbuild.slots import Slots
from mlbuild.tasks import (
    Answer,
    Asking,
    Done,
    Ended,
    Failed,
    LostInput,
    NeedsGpu,
    Queued,
    Started,
    Task,
    Waiting,
    task_of,
)
from mlbuild.worker import Worker

AHEAD = 1  # actions whose outputs are kept, or that wait, while others run their commands
PATIENCE = 5  # times that an action is lined up again because an input was lost


class Sources(Protocol):
    """Digests of source artifacts."""

    def contents(self, paths: Mapping[str, str]) -> dict[str, Content]:
        """Return the Content of each path; the values of `paths` say "file" or "tree"."""
        ...


class WorkerFault(Exception):  # noqa: N818 - a fault of ours, in a process of ours
    """A fault of ours in a member of the crew, with its traceback."""


class Scheduler:
    """One use: make it with a Plan, call `run`."""

    def __init__(
        self,
        plan: Plan,
        *,
        settings: Settings,
        worker: Worker,
        sources: Sources,
        emit: Callable[[Event], None],
        reason: Callable[[Action, bytes], str],
        far: Far | None = None,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._worker = worker
        self._sources = sources
        self._emit = emit
        self._reason = reason
        self._outcome = Outcome()
        self._actions = {action.id: action for action in plan.actions}
        self._position = {action.id: index for index, action in enumerate(plan.actions)}
        self._producers = plan.producers()
        self._states = dict.fromkeys(self._actions, State.WAITING)
        self._blockers: dict[str, set[str]] = {}  # action -> actions that must be done before it
        self._users: dict[str, list[str]] = {}  # action -> actions that wait for it
        self._ready: list[tuple[int, str]] = []
        self._forced: set[str] = set()
        self._near: set[str] = set()  # whose bytes must be here, where the word of them was enough
        self._losses: dict[str, int] = {}  # how often an action found an input lost
        self._tasks: dict[str, Task] = {}
        self._stale: set[str] = set()  # what they read is made anew: to be decided once more
        self._crew = Crew(worker, self._actions, most=settings.jobs + AHEAD)
        self._fetch = Fetch(far, ears=self._crew, dry_run=settings.dry_run, emit=emit)
        self._slots = Slots(cpus=settings.jobs, memory=settings.memory, gpus=settings.gpus)
        self._lines = Lines(self._actions, self._slots)
        self._asking: deque[str] = deque()  # running, waiting for their turn
        self._running: set[str] = set()
        self._stopping = False

    def run(self) -> Outcome:
        """Bring every action to an end; return what was reached."""
        self._link()
        self._outcome.contents.update(self._sources.contents(self._plan.sources))
        for id_ in self._actions:
            if not self._blockers[id_]:
                self._become_ready(id_)
        try:
            self._loop()
        except KeyboardInterrupt as wish:
            self._stop(gone=isinstance(wish, Hangup))
        finally:
            self._fetch.close()
            self._crew.dismiss()
        for id_, state in self._states.items():
            if state in {State.WAITING, State.READY}:
                self._skip(id_, because="")
        return self._outcome

    def close(self) -> None:
        """Wait until everything that was done is durable."""
        self._crew.join()

    def _link(self) -> None:
        """Work out who waits for whom."""
        for action in self._plan.actions:
            before = {self._producers[path].id for path in action.inputs if path in self._producers}
            before |= {id_ for id_ in action.after if id_ in self._actions}
            self._blockers[action.id] = before
            for id_ in before:
                self._users.setdefault(id_, []).append(action.id)

    def _loop(self) -> None:
        while True:
            looking = bool(self._ready) and not self._stopping
            if looking:
                _, id_ = heapq.heappop(self._ready)
                if self._states[id_] is State.READY:
                    self._decide(self._actions[id_])
            self._dispatch()
            if self._running or (self._fetch.busy and not self._stopping):
                for answer in self._crew.answers(wait=not (looking or self._fetch.has_news)):
                    self._take(answer)
                for news in self._fetch.news():
                    self._hear(news)
            elif not looking:
                return

    def _move(self, id_: str, state: State) -> None:
        """Put an action into `state`; nothing else changes a state."""
        was = self._states[id_]
        assert state in LEGAL[was], f"{id_}: {was} -> {state}"
        self._states[id_] = state

    def _become_ready(self, id_: str) -> None:
        self._move(id_, State.READY)
        heapq.heappush(self._ready, (self._position[id_], id_))

    def _decide(self, action: Action) -> None:
        """Take a known result for `action`, or line it up to run."""
        if isinstance(action.does, Verify):
            self._check(action, action.does)
            return
        if any(path not in self._outcome.contents for path in action.inputs):
            assert self._settings.dry_run
            self._would_run(action, self._unknown_input(action))
            return
        inputs = {path: self._outcome.contents[path] for path in action.inputs}
        facts = self._worker.facts(action, inputs, self._settings.platform, self._settings.salt)
        encoded = manifests.encode(facts)
        key = manifests.key_of(encoded)
        self._outcome.keys[action.id] = key
        self._outcome.manifests[action.id] = encoded
        forced = self._must_run(action)
        wanted = action.id in self._near or any(
            action.artifact(one.path) in self._settings.wanted for one in action.outputs
        )
        known = None if forced else self._worker.known(key, wanted=wanted)
        if known is not None:
            self._finish(action, key, known, ran=False)
        elif forced or not self._fetch.look(action, key, manifest=encoded, wanted=wanted):
            self._prepare(action)

    def _must_run(self, action: Action) -> bool:
        """Say whether `action` is to run even where a result is known."""
        if action.id in self._forced or action.owner in self._settings.rerun:
            return True
        return isinstance(action.does, Run) and action.does.cache == "off"

    def _prepare(self, action: Action) -> None:
        """Have an action run as soon as all that it reads is here."""
        key, encoded = self._outcome.keys[action.id], self._outcome.manifests[action.id]
        if self._settings.dry_run:
            self._would_run(action, self._why(action, encoded))
            return
        makers = {self._producers[path].id for path in action.inputs if path in self._producers}
        if unmade := {id_ for id_ in makers if self._states[id_] is not State.DONE}:
            self._move(action.id, State.WAITING)  # one of them runs again: its bytes were lost
            self._blockers[action.id] |= unmade
        elif not self._fetch.bring(action.id, key, makers=makers):
            self._line_up(action)

    def _why(self, action: Action, encoded: bytes) -> str:
        if action.owner in self._settings.rerun:
            return "asked to"
        kept = not self._must_run(action)
        return self._reason(action, encoded) if kept else "its results are not kept"

    def _line_up(self, action: Action) -> None:
        """Let an action run when its turn comes."""
        self._tasks[action.id] = task_of(
            action,
            self._outcome.manifests[action.id],
            key=self._outcome.keys[action.id],
            contents=self._outcome.contents,
            results=self._outcome.results,
            producers=self._producers,
            forced=self._must_run(action),
        )
        self._lines.join(action.id)

    def _hear(self, news: News) -> None:
        """Go on with an action that waited for the shared cache."""
        action = self._actions[news.id]
        if self._states[news.id] is not State.READY or news.key != self._outcome.keys[news.id]:
            return  # it has been decided anew meanwhile
        match news:
            case Known():
                self._finish(action, news.key, news.result, ran=False, source=news.source)
            case Unknown():
                self._prepare(action)
            case Near():
                self._line_up(action)
            case Gone():
                self._near |= {
                    id_ for id_ in news.makers if not has_shared_bytes(self._actions[id_])
                }
                self._wait_for_makers(action, news.makers)

    def _unknown_input(self, action: Action) -> str:
        makers = [
            self._producers[path].owner
            for path in action.inputs
            if path not in self._outcome.contents
        ]
        others = sorted({owner for owner in makers if owner != action.owner})
        return f"input {', '.join(others)}" if others else "an earlier step of it runs"

    def _would_run(self, action: Action, reason: str) -> None:
        self._outcome.would_run.add(action.id)
        self._emit(WouldRun(action.id, action.owner, action.mnemonic, reason))
        self._done(action)

    def _check(self, action: Action, verify: Verify) -> None:
        """Hold the content of files against the digest that somebody stated."""
        contents = {path: self._outcome.contents.get(path) for path in action.inputs}
        failure = self._worker.check(contents, verify)
        if failure is None:
            self._done(action)
        else:
            self._fail(action, "", failure)

    def _dispatch(self) -> None:
        """Let actions run, in order, as far as there are slots and members for them."""
        while self._asking and (self._stopping or self._lines.has_turn(self._asking[0])):
            self._crew.grant(self._asking.popleft(), go=not self._stopping)
        while not (self._stopping or self._asking) and self._crew.has_room():
            id_ = self._lines.next()
            if id_ is None:
                return
            self._running.add(id_)
            self._move(id_, State.RUNNING)
            self._crew.assign(self._tasks.pop(id_))

    def _take(self, answer: Answer) -> None:
        action = self._actions[answer.id]
        match answer:
            case Started(key=key, log=log):
                self._emit(ActionStarted(action.id, action.owner, action.mnemonic, key, log))
                return
            case Ended():
                self._slots.give(action.id)
                return
            case Waiting(key=key):
                self._slots.give(action.id)
                self._emit(ActionWaiting(action.id, action.owner, key))
                return
            case NeedsGpu():
                self._slots.give(action.id, all_but_gpus=True)
                self._emit(GpuAwaited(action.id, action.owner, answer.gpus, answer.holders))
                return
            case Queued(waits=waits):
                self._emit(GpuAwaited(action.id, action.owner, waits, ""))
                return
            case Asking():
                self._slots.give(action.id)
                self._asking.append(action.id)
                return
            case Done() | Failed() | LostInput():
                self._slots.give(action.id)
                self._running.discard(action.id)
        if action.id in self._stale:
            self._decide_again(action.id)
            return
        match answer:
            case Done():
                self._finish(
                    action,
                    answer.key,
                    answer.result,
                    ran=answer.ran,
                    log=answer.log,
                    note=answer.note,
                )
            case Failed():
                if answer.fault:
                    raise WorkerFault(answer.fault)
                if answer.failure.kind == "interrupted":
                    self._skip(action.id, because="")
                else:
                    self._fail(action, answer.key, answer.failure)
            case LostInput():
                self._again(action, answer.path)

    def _finish(
        self,
        action: Action,
        key: str,
        result: Result,
        *,
        ran: bool,
        log: str = "",
        note: str = "",
        source: str = "local",
    ) -> None:
        outcome = self._outcome
        before = outcome.results.get(action.id)
        outcome.results[action.id] = result
        for path, content in result.outputs:
            outcome.contents[action.artifact(path)] = content
        if ran:
            outcome.ran.add(action.id)
        elif source == "shared":
            outcome.fetched.add(action.id)
        if log:
            outcome.logs[action.id] = log
        if note:
            outcome.noted.add(action.id)
        elif ran:
            self._fetch.push(action, key, result=result)
        self._emit(
            ActionFinished(
                action.id,
                action.owner,
                action.mnemonic,
                key,
                ran,
                result,
                "" if ran else source,
                log,
                shared=not note,
                note=note,
            )
        )
        if before is not None and before.outputs != result.outputs:
            self._unsettle(action)
        self._done(action)

    def _unsettle(self, maker: Action) -> None:
        """Have all that read other bytes of `maker` than it has made now decided once more."""
        for id_ in self._users.get(maker.id, ()):
            if self._states[id_] is State.RUNNING:
                self._stale.add(id_)
            elif self._states[id_] in {State.DONE, State.READY}:
                self._decide_again(id_)

    def _decide_again(self, id_: str) -> None:
        self._stale.discard(id_)
        self._lines.leave(id_)
        self._fetch.forget(id_)
        self._move(id_, State.WAITING)
        if not self._blockers[id_]:
            self._become_ready(id_)

    def _done(self, action: Action) -> None:
        self._move(action.id, State.DONE)
        for user in self._users.get(action.id, ()):
            waiting = self._blockers[user]
            waiting.discard(action.id)
            if not waiting and self._states[user] is State.WAITING:
                self._become_ready(user)

    def _fail(self, action: Action, key: str, failure: Failure) -> None:
        self._move(action.id, State.FAILED)
        self._outcome.failed[action.id] = failure
        if failure.log:
            self._outcome.logs[action.id] = failure.log
        self._emit(ActionFailed(action.id, action.owner, action.mnemonic, key, failure))
        pending = [action.id]
        while pending:
            for user in self._users.get(pending.pop(), ()):
                if self._states[user] is State.WAITING:
                    self._skip(user, because=action.id)
                    pending.append(user)
        if not self._settings.keep_going:
            self._stopping = True  # what runs may end; a training of hours is not thrown away

    def _skip(self, id_: str, *, because: str) -> None:
        self._move(id_, State.SKIPPED)
        self._outcome.skipped.add(id_)
        action = self._actions[id_]
        self._emit(ActionSkipped(id_, action.owner, because))

    def _again(self, action: Action, path: str) -> None:
        """Run the producer of an input whose bytes were lost once more, then `action`."""
        producer = self._producers.get(path)
        self._losses[action.id] = self._losses.get(action.id, 0) + 1
        if self._losses[action.id] > PATIENCE:
            reason = f"its input `{path}` changes or vanishes whenever it is used"
            self._fail(action, self._outcome.keys[action.id], Failure(reason, "host"))
            return
        self._move(action.id, State.WAITING)
        if producer is None:  # a source changed while it was staged: take its digest anew
            self._outcome.contents.update(self._sources.contents({path: self._plan.sources[path]}))
            self._crew.renew()
            self._become_ready(action.id)
            return
        self._near.discard(producer.id)
        self._wait_for_makers(action, {producer.id})

    def _wait_for_makers(self, action: Action, makers: AbstractSet[str]) -> None:
        """Run what made lost bytes once more, then decide `action` anew.

        Makers whose bytes have never been here are made, or found, as if they were requested.
        """
        if self._states[action.id] is not State.WAITING:
            self._move(action.id, State.WAITING)
        self._blockers[action.id] |= makers
        for id_ in sorted(makers, key=self._position.__getitem__):
            if self._states[id_] is State.DONE:
                if id_ not in self._near:
                    self._forced.add(id_)
                self._become_ready(id_)

    def _stop(self, *, gone: bool) -> None:
        """End what runs and take note; called when the user said so.

        What runs on other machines goes on where the user has `gone` without a word.
        """
        self._stopping = True
        self._outcome.interrupted = True
        self._fetch.close()
        if gone and self._crew.abandon():
            for id_ in self._running:
                self._skip(id_, because="")
            self._running = set()
        self._crew.cancel()
        while self._running:
            try:
                for answer in self._crew.answers(wait=True):
                    self._take(answer)
            except KeyboardInterrupt:
                continue  # the running commands end within seconds, and nothing is left behind
