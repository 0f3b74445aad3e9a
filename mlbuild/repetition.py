"""Repetition: actions of one target done once more beside the cache, for `verify` and `shell`.

Inputs come from the store, as for every action. Nothing that is known changes, and nothing of a
killed attempt is taken up.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from mlbuild.assembly import Assembly, Request
from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Run, Word
from mlbuild.core.digest import digest_of
from mlbuild.core.event import (
    ActionFailed,
    ActionFinished,
    ActionStarted,
    Event,
    Failure,
    GpuAwaited,
)
from mlbuild.core.plan import Plan
from mlbuild.core.result import Result
from mlbuild.errors import ActionError, HostError, InputError, Interrupted, did_you_mean
from mlbuild.exec.base import Execution, Streams
from mlbuild.host import Host
from mlbuild.outcome import Outcome
from mlbuild.scheduler import WorkerFault
from mlbuild.tasks import (
    Answer,
    Done,
    Failed,
    LostInput,
    NeedsGpu,
    Queued,
    Started,
    Task,
    task_of,
)
from mlbuild.worker import Worker

_SIGNAL = 128  # how a shell tells a signal in an exit code
# Says what the command of the target is, then is the shell. It may be any POSIX shell.
_ENTRANCE = r"""
quoted() {
    rest=$1 text=
    while case $rest in *\'*) true ;; *) false ;; esac; do
        text="$text${rest%%\'*}'\\''" rest=${rest#*\'}
    done
    printf " '%s'" "$text$rest"
}
asked=$1
shift
{
    printf '#!/bin/sh\nexec'
    for word; do quoted "$word"; done
    printf ' "$@"\n'
} >"$TMPDIR/command"
unset rest text
if [ -n "$asked" ]; then
    exec /bin/sh -c "$asked"
elif [ -t 0 ] && command -v bash >/dev/null; then
    exec bash
else
    exec /bin/sh
fi
"""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What one repetition of an action gave: a result, or a failure."""

    action: Action
    kept: Result  # what the build gave, and serves on
    result: Result | None
    failure: Failure | None = None


def own_actions(plan: Plan, label: str) -> list[Action]:
    """Return the commands that a target runs itself, in their order."""
    ids = set(plan.targets[label].actions)
    return [one for one in plan.actions if one.id in ids and isinstance(one.does, Run)]


def chosen(actions: list[Action], *, label: str, mnemonic: str) -> Action:
    """Return the action that `mnemonic` names; without one, the target's main command.

    Raises InputError when there is no such action.
    """
    if not actions:
        raise InputError(
            f"`{label}` runs no command of its own",
            hints=("name a target that does, such as one that this one depends on",),
        )
    if not mnemonic:
        return next((one for one in actions if one.id == label), actions[-1])
    found = [one for one in actions if mnemonic in {one.mnemonic, one.id}]
    if not found:
        names = [one.mnemonic for one in actions]
        raise InputError(
            f"`{label}` has no action `{mnemonic}`",
            hints=did_you_mean(mnemonic, names) or (f"it has {', '.join(names)}",),
        )
    return found[0]


class Repetition:
    """Does actions of `plan` again, after everything that they read has been made."""

    def __init__(self, build: Assembly, plan: Plan, *, emit: Callable[[Event], None]) -> None:
        self._build = build
        self._plan = plan
        self._emit = emit
        self._producers = plan.producers()

    def prepare(self, plan: Plan) -> Outcome:
        """Do what stands in `plan`, a part of ours; raise ActionError when that fails."""
        read = {path for one in self._repeated() for path in one.inputs}
        made = {one.artifact(output.path) for one in self._repeated() for output in one.outputs}
        outcome = self._build.schedule(plan, Request(()), near=read | made)
        self._build.settle(plan, outcome)
        if outcome.interrupted:
            raise Interrupted("the build was interrupted")
        if outcome.failed:
            owners = sorted(
                {action.owner for action in plan.actions if action.id in outcome.failed}
            )
            raise ActionError(f"`{owners[0]}` failed, see above")
        return outcome

    def _repeated(self) -> list[Action]:
        """Return the actions that somebody may want repeated."""
        return [one for one in self._plan.actions if one.owner in self._plan.requested]

    def repeat(self, action: Action, outcome: Outcome, *, number: int, runs: int) -> Repeated:
        """Run `action` in a fresh sandbox; emit what happens, as of an action of that run."""
        host = self._build.host(logs=True)
        logs = os.path.join(host.logs, f"run-{number}")
        os.makedirs(logs, mode=0o700, exist_ok=True)
        worker = self._build.worker(replace(host, logs=logs, resumes=False))
        mnemonic = f"{action.mnemonic} (run {number} of {runs})"
        task = self._task(action, outcome, worker)

        def tell(answer: Answer) -> None:
            if isinstance(answer, Started):
                started = ActionStarted(action.id, action.owner, mnemonic, task.key, answer.log)
                self._emit(started)
            elif isinstance(answer, Queued):
                self._emit(GpuAwaited(action.id, action.owner, answer.waits, ""))
            elif isinstance(answer, NeedsGpu):
                self._emit(GpuAwaited(action.id, action.owner, answer.gpus, answer.holders))

        answer = worker.repeat(task, tell=tell, keep=worker.set_aside)
        kept = outcome.results[action.id]
        if isinstance(answer, Done):
            ended = (action.id, action.owner, mnemonic, task.key)
            self._emit(ActionFinished(*ended, ran=True, result=answer.result, log=answer.log))
            return Repeated(action, kept, answer.result)
        failure = _failure(answer)
        if failure.kind == "interrupted":
            raise Interrupted("the verification was interrupted")
        self._emit(ActionFailed(action.id, action.owner, mnemonic, task.key, failure))
        return Repeated(action, kept, None, failure)

    def enter(
        self, action: Action, outcome: Outcome, *, command: str, streams: Streams, term: str
    ) -> int:
        """Run a shell, or `command` in one, where `action` would run; return its exit code.

        `$TMPDIR/command` is a script there that runs what the action runs.
        """
        host: Host = replace(self._build.host(logs=True), resumes=False, streams=streams, term=term)
        worker = self._build.worker(host)
        task = self._task(action, outcome, worker)
        assert isinstance(action.does, Run)
        shell: tuple[Word, ...] = (("/bin/sh",), ("-c",), (_ENTRANCE,), ("mlbuild",), (command,))
        run = replace(action.does, argv=(*shell, *action.does.argv), timeout=0.0)
        task = replace(task, action=replace(action, does=run))

        def keep(task: Task, _run: Run, _ended: Execution, _log: str) -> Answer:
            return Done(task.action.id, task.key, Result((), digest_of(b"")), ran=True)

        answer = worker.repeat(task, tell=lambda _: None, keep=keep)
        if isinstance(answer, Done):
            return 0
        failure = _failure(answer)
        if failure.kind == "host":
            raise HostError(failure.reason, hints=failure.hints)
        if failure.kind == "interrupted":
            raise Interrupted("the shell was interrupted")
        if failure.exit_code is not None:
            return failure.exit_code
        return _SIGNAL + int(failure.signal or 0)

    def place(self, result: Result, path: str) -> str:
        """Return the absolute path of an output; raise HostError when its bytes are lost."""
        place = self._build.place(result, path)
        if place is None:
            raise HostError(
                f"the output `{path}` vanished from the store meanwhile",
                hints=("run the command again",),
            )
        return place

    def _task(self, action: Action, outcome: Outcome, worker: Worker) -> Task:
        """Return `action` with what it reads."""
        manifest = manifests.encode(self._build.facts(action, outcome, worker))
        return task_of(
            action,
            manifest,
            key=manifests.key_of(manifest),
            contents=outcome.contents,
            results=outcome.results,
            producers=self._producers,
        )


def _failure(answer: Answer) -> Failure:
    """Return why there is no result."""
    if isinstance(answer, LostInput):
        return Failure(f"its input `{answer.path}` changed or vanished meanwhile", "host")
    assert isinstance(answer, Failed)
    if answer.fault:
        raise WorkerFault(answer.fault)
    return answer.failure
