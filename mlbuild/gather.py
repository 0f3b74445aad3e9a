"""Gather: an action that makes one tree of a list, of which every line has a result of its own.

One command makes all parts that have no result yet, each in a folder of its own; the rest is
linking and small copies. So an environment that shares all packages but one with any other costs
that one package.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from mlbuild import parts
from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Run
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.event import Failure
from mlbuild.core.manifest import Manifest
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, below, digest_tree, tree_of
from mlbuild.errors import ActionError, InputError
from mlbuild.exec.base import Execution, Executor
from mlbuild.store.disk import DiskStore
from mlbuild.store.locks import KeyLock
from mlbuild.tasks import Answer, Done, Failed, LostInput, Task, Waiting

Keep = Callable[[Task, Run, Execution, str], Answer]  # keeps what a command made


class Command(Protocol):
    """Stages the inputs of a task, runs its command and gives what it made to `keep`."""

    def __call__(self, task: Task, run: Run, *, keep: Keep) -> Answer:
        """Return what `keep` says, or why there is nothing to keep."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What gathering takes of the worker that does it."""

    store: DiskStore
    executor: Executor
    root: str  # the workspace
    known: Callable[[str], Result | None]
    facts: Callable[[Action, Mapping[str, Content], str, str], Manifest]
    addresses: Callable[[str], tuple[str, ...]]
    changed: Callable[[list[str]], list[str]]
    command: Command
    keep_log: Callable[[str], Digest | None]
    tail: Callable[[str], tuple[str, ...]]
    wait: Callable[[KeyLock], object]


def gather(
    task: Task,
    run: Run,
    means: Means,
    *,
    tell: Callable[[Answer], None],
    ask: Callable[[str], None],
) -> Answer:
    """Run the command for those lines of a list that have no result yet; unite all trees."""
    lines = _lines(task, run.each, means)
    if lines is None:
        return LostInput(task.action.id, run.each)
    folder = task.action.folder
    path = parts.own(run.each, folder)
    action = parts.alone(task.action, run)
    seen = replace(
        task,
        action=action,
        inputs={parts.own(one, folder): content for one, content in task.inputs.items()},
        made={parts.own(one, folder): place for one, place in task.made.items()},
    )
    wanted = _parts(seen, path, lines, means)
    known: dict[str, Digest] = {}
    done: Done | None = None
    with _locked(wanted, known, task, means, tell=tell, ask=ask):
        missing = [part for part in wanted if part.key not in known]
        if missing:
            joint = _joint(seen, path, missing, means)

            def keep(task: Task, run: Run, execution: Execution, log: str) -> Answer:
                return _keep(missing, known, task, run, execution, log, means=means)

            assert isinstance(joint.action.does, Run)
            answer = means.command(joint, joint.action.does, keep=keep)
            if not isinstance(answer, Done):
                return answer
            done = answer
    return _unite(task, run, [known[part.key] for part in wanted], done, means)


def _lines(task: Task, path: str, means: Means) -> list[str] | None:
    """Return the lines of a list; None when its bytes are not what they were."""
    digest = task.inputs[path].digest
    content = means.store.read(digest)
    if content is None and path in task.made:
        tree, below = task.made[path]
        means.store.place(tree, below)  # heals what it can
        content = means.store.read(digest)
    elif content is None:
        try:
            with open(f"{means.root}/{path}", "rb") as file:
                content = file.read()
        except OSError:
            return None
    if content is None or digest_of(content) != digest:
        return None
    return parts.lines_of(content)


def _parts(task: Task, path: str, lines: list[str], means: Means) -> list[parts.Part]:
    """Return the part of each line of the list at `path`, in their order."""
    given = {fact.name: fact.value for fact in manifests.decode(task.manifest)}
    facts = means.facts(task.action, task.inputs, given["platform"], given.get("salt", ""))
    return [parts.part_of(facts, path, line) for line in dict.fromkeys(lines)]


@contextmanager
def _locked(
    wanted: list[parts.Part],
    known: dict[str, Digest],
    task: Task,
    means: Means,
    *,
    tell: Callable[[Answer], None],
    ask: Callable[[str], None],
) -> Iterator[None]:
    """Add to `known` what has a result, and hold the locks of the other parts meanwhile."""
    waited = False
    with ExitStack() as held:
        for part in sorted(wanted, key=lambda part: part.key):  # everybody takes them in one order
            if _is_known(part, known, task, means):
                continue
            lock = held.enter_context(means.store.key_lock(part.key))
            if lock.try_acquire():
                continue
            if not waited:
                tell(Waiting(task.action.id, task.key))
            waited = True
            means.wait(lock)
            _is_known(part, known, task, means)
        if waited:
            ask(task.action.id)
        yield


def _is_known(part: parts.Part, known: dict[str, Digest], task: Task, means: Means) -> bool:
    """Look up a part; add what it made to `known`."""
    result = None if task.forced else means.known(part.key)
    if result is not None:
        known[part.key] = result.tree
    return result is not None


def _joint(task: Task, path: str, missing: list[parts.Part], means: Means) -> Task:
    """Return the task that makes the missing parts, its list at `path`, with one command."""
    text = parts.listing(part.line for part in missing)
    content = Content("f", means.store.put(text))
    tree = means.store.materialise(tree_of([Entry("list.txt", Kind.FILE, content.digest)]))
    assert tree is not None, "its one file has just been kept"
    made = {**task.made, path: (tree, "list.txt")}
    action = parts.joint(task.action, len(missing))
    return replace(task, action=action, inputs={**task.inputs, path: content}, made=made)


def _keep(
    missing: list[parts.Part],
    known: dict[str, Digest],
    task: Task,
    run: Run,
    execution: Execution,
    log: str,
    *,
    means: Means,
) -> Answer:
    """Keep what the command made for each line as a result of its own."""
    action, store = task.action, means.store
    folder = action.outputs[0].path.rpartition("/")[0]
    try:
        made = store.ingest_each(execution.out, action.outputs, at=folder)
    except (ActionError, InputError) as error:
        return Failed(action.id, task.key, _failure(error, log, execution, means))
    changed = means.changed(
        [path for path in action.inputs if path not in task.made and not path.startswith("own/")]
    )
    result = Result(
        (),
        digest_of(b""),
        None,
        round(execution.seconds, 4),
        round(execution.cpu_seconds, 4),
        execution.peak_memory,
        means.executor.hermetic,
        means.executor.name,
        means.keep_log(log),
        share=run.share,
    )
    for part, digest in zip(missing, made, strict=True):
        known[part.key] = digest
        tree = store.tree(digest)
        assert tree is not None, "it has just been made"
        content = Content("t", digest_tree(Tree(tuple(below(tree, folder)))))
        result = replace(result, outputs=((folder, content),), tree=digest)
        if not changed:
            store.publish(means.addresses(part.key)[-1], result, manifest=part.manifest)
    note = f"`{changed[0]}` changed while it ran, so the result is not kept" if changed else ""
    return Done(action.id, task.key, result, ran=True, log=log, note=note)


def _failure(
    error: ActionError | InputError, log: str, execution: Execution, means: Means
) -> Failure:
    said = means.tail(log)
    return Failure(error.message, "output", 0, "", log, said, error.hints, execution.seconds)


def _unite(task: Task, run: Run, made: list[Digest], answer: Done | None, means: Means) -> Answer:
    """Make one tree of all parts."""
    action, key = task.action, task.key
    (output,) = action.outputs
    trees: dict[Digest, Tree] = {}
    for digest in made:
        tree = means.store.tree(digest)
        if tree is None:
            return LostInput(action.id, run.each)
        trees[digest] = tree
    try:
        entries = parts.union(tree.entries for tree in trees.values())
        whole = tree_of(entries or [Entry(output.path, Kind.EMPTY)])
        content = Content("t", digest_tree(Tree(tuple(below(whole, output.path)))))
    except InputError as error:
        reason = f"what its lines give does not fit together: {error.message}"
        return Failed(action.id, key, Failure(reason, "output"))
    united = means.store.unite(whole, trees)
    if united is None:
        return LostInput(action.id, run.each)
    result = Result(
        ((output.path, content),),
        united,
        hermetic=means.executor.hermetic,
        executor=means.executor.name,
        share=run.share,
    )
    if answer is not None:
        ran = answer.result
        result = replace(
            result,
            seconds=ran.seconds,
            cpu_seconds=ran.cpu_seconds,
            peak_memory=ran.peak_memory,
            log=ran.log,
        )
        if answer.note:
            return replace(answer, result=result)
    kept = means.store.publish(means.addresses(key)[-1], result, manifest=task.manifest)
    return Done(action.id, key, kept, ran=True, log=answer.log if answer else "")
