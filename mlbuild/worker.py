"""Worker: what one action takes: its facts, its known result, or staging, running, keeping."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Protocol

from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Run, Write
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.event import Failure
from mlbuild.core.manifest import Manifest
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, digest_tree, tree_of
from mlbuild.errors import ActionError, GateError, InputError, Interrupted, MlbuildError
from mlbuild.exec.base import Execution, Executor, Job, Staged, Tool
from mlbuild.exec.hints import wanted_files
from mlbuild.exec.launcher import end_orphans
from mlbuild.exec.sandbox import SMALL, InputChanged
from mlbuild.metrics import read_metrics
from mlbuild.store import files
from mlbuild.store.disk import DiskStore
from mlbuild.tasks import (
    Answer,
    Done,
    Ended,
    Failed,
    LostInput,
    Started,
    Task,
    Waiting,
)

LONG = 5.0  # seconds; what took longer is made durable at once
QUICK = 0.05  # seconds; a command that took less left little to keep
LIGHT = 16 << 20  # bytes of inputs that are copied into memory
TAIL = 20  # lines of a log that a failure shows


class Watcher(Protocol):
    """Tells which sources differ from the digests taken of them."""

    def changed(self, paths: list[str]) -> list[str]:
        """Return those of `paths` whose files are not those that were hashed."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """Where things lie on this host, and what it lends to actions."""

    root: str  # the workspace
    rules_root: str
    logs: str  # folder of this invocation's logs
    downloads: str  # folder that network actions may keep things in
    tools: Callable[[str], Tool]
    caller_env: Callable[[tuple[str, ...]], Mapping[str, str]]


class Worker:
    """Looks up and runs actions, one at a time."""

    def __init__(
        self, store: DiskStore, executor: Executor, *, host: Host, watcher: Watcher
    ) -> None:
        self._cancelled = False
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

    def digest_of_inputs(self, inputs: Mapping[str, Content | None], base: str) -> str | None:
        """Return what a stated digest is held against: one file's, or the tree of all inputs."""
        contents = {path: content for path, content in inputs.items() if content is not None}
        if len(contents) < len(inputs):
            return None
        if len(contents) == 1:
            return str(next(iter(contents.values())).digest)
        prefix = f"{base}/" if base else ""
        kinds = {"f": Kind.FILE, "x": Kind.EXECUTABLE, "t": Kind.FILE}
        entries = [
            Entry(path.removeprefix(prefix), kinds[content.kind], content.digest)
            for path, content in contents.items()
        ]
        return str(digest_tree(tree_of(entries)))

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
        id_, key = task.action.id, task.key
        try:
            with files.full_disk(self._store.root):
                return self._locked(task, tell, ask=ask)
        except InputChanged as changed:
            return LostInput(id_, changed.path)
        except Interrupted as error:
            return Failed(id_, key, Failure(error.message, "interrupted"))
        except MlbuildError as error:
            return Failed(id_, key, Failure(error.message, "host", hints=error.hints))
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
            return self._run(task, task.action.does, tell)  # type: ignore[arg-type]
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

    def _run(self, task: Task, run: Run, tell: Callable[[Answer], None]) -> Answer:
        action = task.action
        staged = self._staged(task)
        if isinstance(staged, LostInput):
            return staged
        log = os.path.join(self._host.logs, _log_name(action.id))

        @contextmanager
        def turn() -> Iterator[None]:
            tell(Started(action.id, task.key, log))
            since = monotonic()
            yield
            if monotonic() - since > QUICK:
                tell(Ended(action.id))

        scratch = self._store.scratch()
        staging = self._store.staging() if _is_light(staged) else ""
        try:
            execution = self._executor.run(
                Job(
                    action,
                    run,
                    staged,
                    {name: self._host.tools(name) for name in run.tools},
                    self._host.caller_env(run.caller_env) if run.network else {},
                    scratch,
                    staging,
                    log,
                    self._store.checkpoint(task.key) if run.checkpoint else "",
                    self._host.downloads if run.network else "",
                    self._known,
                    turn(),
                )
            )
            failure = self._failure(task, run, execution, log)
            if failure is not None:
                return Failed(action.id, task.key, self._explained(failure))
            return self._keep(task, run, execution, log)
        finally:
            self._store.drop(scratch)
            if staging:
                self._store.unstage(staging)

    def _staged(self, task: Task) -> "tuple[Staged, ...] | LostInput":
        """Find the bytes of every input on this host."""
        staged: list[Staged] = []
        for path in task.action.inputs:
            place: str | None
            content = task.inputs[path]
            if content.kind != "t" and content.digest.hash in self._known:
                staged.append(Staged(path, "", content))
                continue
            made = task.made.get(path)
            if made is not None:
                place = self._store.place(*made)
            elif path.startswith("@rules/"):
                place = os.path.join(self._host.rules_root, path.removeprefix("@rules/"))
            else:
                place = os.path.join(self._host.root, path)
            if place is None:
                return LostInput(task.action.id, path)
            staged.append(Staged(path, place, content))
        return tuple(staged)

    def _failure(self, task: Task, run: Run, execution: Execution, log: str) -> Failure | None:
        """Say in one sentence why the command failed; None when it did not."""
        if execution.exit_code == 0 and not (
            execution.timed_out or execution.out_of_memory or execution.interrupted
        ):
            return None
        tail = self._log_tail(log)
        hints: tuple[str, ...] = ()
        if execution.interrupted:
            reason, kind = "it was interrupted", "interrupted"
        elif execution.timed_out:
            reason, kind = f"it was ended after its timeout of {run.timeout:g} s", "timeout"
        elif execution.out_of_memory:
            limit = f" of {run.memory >> 20} MiB" if run.memory else ""
            reason, kind = f"it used more than its memory{limit} and was killed", "memory"
            hints = ("raise `memory` in its `resources`",)
        elif execution.exit_code is None:
            reason, kind = f"it was killed by signal {execution.signal}", "signal"
        elif run.gate and execution.exit_code == GateError.exit_code:
            reason, kind = "a gate was missed", "gate"
        else:
            reason, kind = f"it ended with exit code {execution.exit_code}", "exit"
            hints = self._hints(task, log)
        return Failure(
            reason,
            kind,
            execution.exit_code,
            str(execution.signal or ""),
            log,
            tail,
            hints,
            execution.seconds,
        )

    def _hints(self, task: Task, log: str) -> tuple[str, ...]:
        """Name the workspace files that the script wanted but its target does not declare."""
        declared = set(task.action.inputs)
        root = self._host.root

        def undeclared(path: str) -> bool:
            return path not in declared and os.path.isfile(os.path.join(root, path))

        script = next(
            (
                path
                for path in task.action.inputs
                if path.endswith(".py") and not path.startswith("@")
            ),
            "",
        )
        found = wanted_files(
            _read(log, 1 << 20).decode("utf-8", "replace"),
            undeclared,
            root=root,
            near=os.path.dirname(script),
        )
        return tuple(
            f"`{path}` is a file of the workspace, but not an input: "
            f"add it to `{_attribute(path)}` of `{task.action.owner}`"
            for path in found
        )

    def _explained(self, failure: Failure) -> Failure:
        """Blame a full disk where there is one: the log may have found no room to say so."""
        full = files.fullness(self._store.root)
        if full is None or failure.kind == "interrupted":
            return failure
        return replace(failure, reason=full.message, kind="host", hints=full.hints)

    def _keep(self, task: Task, run: Run, execution: Execution, log: str) -> Answer:
        """Put outputs and result where they belong; refuse what is no complete success."""
        action, key = task.action, task.key
        try:
            metrics = read_metrics(execution.out, run.metrics)
            kept = self._store.ingest(execution.out, action.outputs)
        except (ActionError, InputError) as error:
            tail = self._log_tail(log)
            kind = "metrics" if isinstance(error, InputError) else "output"
            failure = Failure(error.message, kind, 0, "", log, tail, error.hints, execution.seconds)
            return Failed(action.id, key, failure)
        result = Result(
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
        )
        changed = self._watcher.changed([path for path in action.inputs if path not in task.made])
        if changed:
            note = f"`{changed[0]}` changed while it ran, so the result is not kept"
            return Done(action.id, key, result, ran=True, log=log, note=note)
        address = key if self._executor.hermetic else unsealed(key)
        kept_result = self._store.publish(address, result, manifest=task.manifest)
        if run.checkpoint:
            self._store.drop(self._store.checkpoint(key))
        if execution.seconds > LONG:
            self._store.sync()
        note = ""
        if kept_result.tree != result.tree:
            note = "it made other bytes than the result that is kept for its key, which serves on"
        return Done(action.id, key, kept_result, ran=True, log=log, note=note)

    def _kept_log(self, log: str) -> Digest | None:
        try:
            if os.stat(log).st_size == 0:
                return None
        except FileNotFoundError:
            return None
        return self._store.put(_read(log, 64 << 20))

    def _log_tail(self, log: str) -> tuple[str, ...]:
        text = _read(log, 1 << 20).decode("utf-8", "replace")
        return tuple(text.splitlines()[-TAIL:])


def _is_light(inputs: tuple[Staged, ...]) -> bool:
    """Say whether the small inputs, which are copied, fit in memory without anybody noticing."""
    sizes = [one.content.digest.size for one in inputs if one.content.kind != "t"]
    return sum(size for size in sizes if size <= SMALL) <= LIGHT


def unsealed(key: str) -> str:
    """Return the address of what ran for `key` outside a sandbox."""
    return digest_of(b"unsealed " + key.encode()).hash


def _attribute(path: str) -> str:
    """Return the attribute that an undeclared file most likely belongs to."""
    return "srcs" if path.endswith((".py", ".sh")) else "srcs` or `data"


def _log_name(id_: str) -> str:
    """Return a file name for the log of an action: readable, unique in an invocation."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in id_)
    return (
        f"{safe.strip('_')[:80]}-{digest_of(id_.encode('utf-8', 'surrogateescape')).hash[:8]}.log"
    )


def _read(path: str, limit: int) -> bytes:
    """Return the last `limit` bytes of a file, nothing when there is none."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - limit))
            return file.read()
    except FileNotFoundError:
        return b""
