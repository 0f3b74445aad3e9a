"""Worker: what one action takes: its facts, its known result, or staging, running, keeping."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Protocol

from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Run, Verify, Write
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.event import Failure
from mlbuild.core.manifest import Manifest
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, digest_tree, tree_of
from mlbuild.errors import (
    ActionError,
    InputError,
    Interrupted,
    MlbuildError,
)
from mlbuild.exec.base import Away, Execution, Executor, Job
from mlbuild.exec.leases import LENT_TO
from mlbuild.exec.sandbox import InputChanged
from mlbuild.exec.strays import end_orphans
from mlbuild.failures import failure_of, log_tail, read_end, restore_strays, save_strays
from mlbuild.gather import Keep, Means, gather
from mlbuild.host import Host, is_light, lent_gpus, numerics_of, require_disk, staged
from mlbuild.metrics import read_metrics
from mlbuild.store import files
from mlbuild.store.disk import DiskStore
from mlbuild.store.kept import kept_prefix
from mlbuild.tasks import (
    Answer,
    Done,
    Ended,
    Failed,
    LostInput,
    NeedsGpu,
    Queued,
    Started,
    Task,
    Waiting,
)

LONG = 5.0  # seconds; what took longer is made durable at once
QUICK = 0.05  # seconds; a command that took less left little to keep


class Watcher(Protocol):
    """Tells which sources differ from the digests taken of them."""

    def changed(self, paths: list[str]) -> list[str]:
        """Return those of `paths` whose files are not those that were hashed."""
        ...


class Worker:
    """Looks up and runs actions, one at a time per calling thread."""

    def __init__(
        self, store: DiskStore, executor: Executor, *, host: Host, watcher: Watcher
    ) -> None:
        self._cancelled = False
        self._awaiting: set[str] = set()  # actions that were said to wait elsewhere
        self._known: dict[str, bytes] = {}  # tiny files that have been read and checked
        self._store = store
        self._executor = executor
        self._host = host
        self._watcher = watcher

    def facts(
        self, action: Action, inputs: Mapping[str, Content], platform: str, salt: str
    ) -> Manifest:
        """Return the Manifest of `action` over the contents of its inputs."""
        names = action.does.tools if isinstance(action.does, Run) else ()
        return manifests.facts(
            action,
            inputs={path: str(content) for path, content in inputs.items()},
            tools={name: self._host.tools(name).content for name in names},
            platform=platform,
            salt=salt,
            numerics=numerics_of(action, self._host.gpus),
        )

    def known(self, key: str, *, wanted: bool) -> Result | None:
        """Return the result of `key` whose bytes are here; `wanted` ones are checked closely."""
        for address in self._addresses(key):
            result = self._store.lookup(address)
            if result is None or not self._store.complete(result):
                continue
            if not wanted or self._store.place(result.tree) is not None:
                return result
        return None

    def check(self, inputs: Mapping[str, Content | None], verify: Verify) -> Failure | None:
        """Return why the content of files is not what somebody stated; None where it is.

        What is not known yet, in a dry run, is taken to be right.
        """
        contents = {path: content for path, content in inputs.items() if content is not None}
        found = _digest_of(contents, verify.base)
        if len(contents) < len(inputs) or found == verify.digest:
            return None
        return Failure(
            f"the content is {found}, but {verify.digest} is stated",
            "verify",
            hints=("state the new digest if the change is meant, restore the files if not",),
        )

    @property
    def is_away(self) -> bool:
        """Whether commands run on other machines, so that waiting is all that is done here."""
        return isinstance(self._executor, Away)

    def cancel(self) -> None:
        """End the running command and all waiting."""
        self._cancelled = True
        self._executor.cancel()

    def move_in(self) -> None:
        """Begin to work in a fork of the process that made this, with a store of its own."""
        self._store = DiskStore(self._store.root)

    def clear_up(self, pid: int) -> None:
        """End the commands of a fork that was killed, as far as they outlived it."""
        end_orphans(self._store.private_of(pid))

    def move_out(self) -> None:
        """Give back what `move_in` took."""
        self._executor.close()
        self._store.close()

    def _look(self, _: str) -> None:
        """Give up waiting for another process when the user has given up."""
        if self._cancelled:
            raise Interrupted("the build was interrupted")

    def work(
        self, task: Task, *, tell: Callable[[Answer], None], ask: Callable[[str], None]
    ) -> Answer:
        """Bring `task` to its end. Never raises.

        `tell` is called with what happens on the way. Its command may begin at once; after a wait
        for another process, `ask` is called before, with its id, and returns when it may.
        """
        return self._guarded(task, lambda: self._locked(task, tell, ask=ask))

    def repeat(self, task: Task, *, tell: Callable[[Answer], None], keep: Keep) -> Answer:
        """Run the command of `task`, whatever is known of it; `keep` decides what stays of it."""
        run = task.action.does
        assert isinstance(run, Run)
        return self._guarded(
            task, lambda: self._run(task, run, tell, ask=lambda _: None, keep=keep)
        )

    def _guarded(self, task: Task, act: Callable[[], Answer]) -> Answer:
        """Return what `act` does, or why it could not."""
        id_, key = task.action.id, task.key
        try:
            with files.full_disk(self._store.root):
                return act()
        except InputChanged as changed:
            return LostInput(id_, changed.path)
        except Interrupted as error:
            return Failed(id_, key, Failure(error.message, "interrupted"))
        except MlbuildError as error:
            return Failed(id_, key, Failure(error.message, "host", hints=error.hints))
        except KeyboardInterrupt:  # only where the main process itself is at work
            raise
        except BaseException as error:  # noqa: BLE001 - a fault of ours must reach the main process
            import traceback  # noqa: PLC0415 - a fault of ours

            return Failed(id_, key, Failure(str(error), "host"), traceback.format_exc())

    def _addresses(self, key: str) -> tuple[str, ...]:
        """Return where results of `key` may stand that serve this executor.

        What ran outside a sandbox may depend on more than its key tells. Such results have an
        address of their own, which no sandboxed build looks at and nobody shares.
        """
        return (key,) if self._executor.hermetic else (key, unsealed(key))

    def _locked(
        self, task: Task, tell: Callable[[Answer], None], *, ask: Callable[[str], None]
    ) -> Answer:
        lock = self._store.key_lock(task.key)
        waited = False
        if not lock.try_acquire():
            waited = True
            tell(Waiting(task.action.id, task.key))
            lock.acquire(math.inf, self._look)
        try:
            if waited and not task.forced:
                known = self.known(task.key, wanted=True)
                if known is not None:
                    return Done(task.action.id, task.key, known, ran=False)
            if waited:
                ask(task.action.id)
            if isinstance(task.action.does, Write):
                return self._write(task, task.action.does)
            assert isinstance(task.action.does, Run)
            lock.announce(self._log_of(task.action.id))
            if task.action.does.each:
                return self._gathered(task, task.action.does, tell, ask=ask)
            return self._run(task, task.action.does, tell, ask=ask, keep=self._keep)
        finally:
            lock.release()

    def _write(self, task: Task, write: Write) -> Answer:
        scratch = self._store.scratch()
        try:
            (output,) = task.action.outputs
            place = os.path.join(scratch, "out", output.path)
            os.makedirs(os.path.dirname(place))
            with open(place, "wb") as file:
                file.write(write.content.encode("utf-8", "surrogateescape"))
            if write.executable:
                os.chmod(place, 0o755)  # noqa: S103 - the mode that an executable output has
            kept = self._store.ingest(os.path.join(scratch, "out"), task.action.outputs)
        finally:
            self._store.drop(scratch)
        result = Result(kept.contents, kept.tree, executor="write")
        result = self._store.publish(task.key, result, manifest=task.manifest)
        return Done(task.action.id, task.key, result, ran=True)

    def _run(
        self,
        task: Task,
        run: Run,
        tell: Callable[[Answer], None],
        *,
        ask: Callable[[str], None],
        keep: Keep,
    ) -> Answer:
        action, host = task.action, self._host
        inputs = staged(task, host, store=self._store, known=self._known)
        if isinstance(inputs, LostInput):
            return inputs
        if host.lends:
            require_disk(action, run, self._store.root)
        log = self._log_of(action.id)

        @contextmanager
        def turn() -> Iterator[None]:
            tell(Started(action.id, task.key, log))
            since = monotonic()
            yield
            if monotonic() - since > QUICK:
                tell(Ended(action.id))

        scratch = self._store.scratch()
        staging = self._store.staging() if is_light(inputs) and not host.keeps_failed else ""
        caller_env = host.caller_env(run.caller_env) if run.network else {}
        checkpoint = self._checkpoint(task, scratch) if run.checkpoint else ""
        resumed = bool(checkpoint and os.listdir(checkpoint))
        try:
            lock = self._store.key_lock
            with lent_gpus(
                *(task, run, host.gpus),
                lock=lock,
                look=self._look,
                tell=tell,
                ask=ask,
                lends=host.lends,
            ) as loan:
                execution = self._executor.run(
                    Job(
                        action,
                        run,
                        inputs,
                        {name: host.tools(name) for name in run.tools},
                        {**caller_env, "TERM": host.term} if host.term else caller_env,
                        scratch,
                        staging,
                        log,
                        checkpoint,
                        host.downloads if run.network else "",
                        self._known,
                        turn(),
                        loan.gpus,
                        host.streams,
                        host.keeps_failed,
                        task.key if host.resumes and not task.forced else "",
                        lambda what: self._await(task, run, what, tell),
                        loan.locks,
                    )
                )
            if loan.gpus:
                execution = replace(execution, gpus=loan.gpus)
            if resumed:
                execution = replace(execution, resumed=True)
            failure = failure_of(action, run, execution, log=log, root=host.root)
            answer: Answer
            if failure is not None:
                answer = Failed(action.id, task.key, self._explained(failure))
            else:
                if host.keeps_failed:
                    save_strays(execution.out, action)
                answer = keep(task, run, execution, log)
            execution.taken()
            if isinstance(answer, Failed) and host.keeps_failed:
                restore_strays(execution.out)
                kept = self._store.keep_aside(scratch, kept_prefix(host.root) + action.id)
                answer = replace(answer, failure=replace(answer.failure, sandbox=kept))
            return answer
        finally:
            self._store.drop(scratch)
            if staging:
                self._store.unstage(staging)

    def _await(self, task: Task, run: Run, what: str, tell: Callable[[Answer], None]) -> None:
        """Tell once what a command waits for on another machine."""
        if task.action.id in self._awaiting:
            return
        self._awaiting.add(task.action.id)
        if run.gpus:
            wished, _, holders = what.partition(LENT_TO)
            tell(NeedsGpu(task.action.id, wished, holders))
        else:
            tell(Queued(task.action.id, what))

    def _checkpoint(self, task: Task, scratch: str) -> str:
        """Return the folder where the command may leave something for the next attempt."""
        if self._host.resumes:
            return self._store.checkpoint(task.key)
        place = f"{scratch}/checkpoint"
        os.mkdir(place, 0o700)
        return place

    def _gathered(
        self, task: Task, run: Run, tell: Callable[[Answer], None], *, ask: Callable[[str], None]
    ) -> Answer:
        """Do what an action with `each` takes."""
        means = Means(
            self._store,
            self._executor,
            self._host.root,
            known=lambda key: self.known(key, wanted=False),
            facts=self.facts,
            addresses=self._addresses,
            changed=self._watcher.changed,
            command=partial(self._run, tell=tell, ask=ask),
            keep_log=self._kept_log,
            tail=log_tail,
            wait=lambda lock: lock.acquire(math.inf, self._look),
        )
        return gather(task, run, means, tell=tell, ask=ask)

    def _explained(self, failure: Failure) -> Failure:
        """Blame a full disk where there is one: the log may have found no room to say so."""
        full = files.fullness(self._store.root)
        if full is None or failure.kind == "interrupted":
            return failure
        return replace(failure, reason=full.message, kind="host", hints=full.hints)

    def set_aside(self, task: Task, run: Run, execution: Execution, log: str) -> Answer:
        """Return what a repetition made; if it differs from what is kept, note that beside it."""
        result = self._made(task, run, execution, log)
        if isinstance(result, Failed):
            return result
        if not self._changed(task):
            self._store.publish(self._addresses(task.key)[-1], result, manifest=task.manifest)
        return Done(task.action.id, task.key, result, ran=True, log=log)

    def _made(self, task: Task, run: Run, execution: Execution, log: str) -> Result | Failed:
        """Return the result of a command that succeeded; refuse what is no complete success."""
        action, key = task.action, task.key
        try:
            metrics = read_metrics(execution.out, run.metrics)
            kept = self._store.ingest(execution.out, action.outputs)
        except (ActionError, InputError) as error:
            tail = log_tail(log)
            kind = "metrics" if isinstance(error, InputError) else "output"
            failure = Failure(error.message, kind, 0, "", log, tail, error.hints, execution.seconds)
            return Failed(action.id, key, failure)
        return Result(
            kept.contents,
            kept.tree,
            metrics,
            round(execution.seconds, 4),
            round(execution.cpu_seconds, 4),
            execution.peak_memory,
            self._executor.hermetic,
            self._executor.name,
            self._kept_log(log),
            kept.undeclared,
            share=run.share,
            gpus=tuple(map(str, execution.gpus)),
            resumed=execution.resumed,
        )

    def _changed(self, task: Task) -> list[str]:
        """Return the sources of a task that are not any more what its key says."""
        paths = [path for path in task.action.inputs if path not in task.made]
        return self._watcher.changed(paths)

    def _keep(self, task: Task, run: Run, execution: Execution, log: str) -> Answer:
        """Put outputs and result where they belong."""
        action, key = task.action, task.key
        result = self._made(task, run, execution, log)
        if isinstance(result, Failed):
            return result
        if changed := self._changed(task):
            note = f"`{changed[0]}` changed while it ran, so the result is not kept"
            return Done(action.id, key, result, ran=True, log=log, note=note)
        kept_result = result
        if run.cache != "off":
            address = self._addresses(key)[-1]
            kept_result = self._store.publish(address, result, manifest=task.manifest)
        if run.checkpoint:
            self._store.drop(self._store.checkpoint(key))
        if execution.seconds > LONG:
            self._store.sync()
        note = ""
        if kept_result.tree != result.tree:
            note = "it made other bytes than the result that is kept for its key, which serves on"
        return Done(action.id, key, kept_result, ran=True, log=log, note=note)

    def _log_of(self, id_: str) -> str:
        return os.path.join(self._host.logs, log_name(id_))

    def _kept_log(self, log: str) -> Digest | None:
        try:
            if os.stat(log).st_size == 0:
                return None
        except FileNotFoundError:
            return None
        return self._store.put(read_end(log, 64 << 20))


def unsealed(key: str) -> str:
    """Return the address of what ran for `key` outside a sandbox."""
    return digest_of(b"unsealed " + key.encode()).hash


def _digest_of(contents: Mapping[str, Content], base: str) -> str:
    """Return what a stated digest is held against: one file's, or the tree of all inputs."""
    if len(contents) == 1:
        return str(next(iter(contents.values())).digest)
    prefix = f"{base}/" if base else ""
    kinds = {"f": Kind.FILE, "x": Kind.EXECUTABLE, "t": Kind.FILE}
    entries = [
        Entry(path.removeprefix(prefix), kinds[content.kind], content.digest)
        for path, content in contents.items()
    ]
    return str(digest_tree(tree_of(entries)))


def log_name(id_: str) -> str:
    """Return a file name for the log of an action: readable, unique in an invocation."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in id_)
    return (
        f"{safe.strip('_')[:80]}-{digest_of(id_.encode('utf-8', 'surrogateescape')).hash[:8]}.log"
    )
