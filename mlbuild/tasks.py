"""Tasks: what the scheduler orders of its crew, and what is answered, both as bytes too."""

import marshal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlbuild.core.action import Action
from mlbuild.core.digest import Digest
from mlbuild.core.event import Failure
from mlbuild.core.result import Content, Result


@dataclass(frozen=True, slots=True)
class Task:
    """One action to run, with everything known about its inputs."""

    action: Action
    key: str
    manifest: bytes
    inputs: Mapping[str, Content]
    made: Mapping[str, tuple[Digest, str]]  # of inputs that are outputs: the tree, the path in it
    forced: bool  # run even where another process has a result by now


def task_of(
    action: Action,
    manifest: bytes,
    *,
    key: str,
    contents: Mapping[str, Content],
    results: Mapping[str, Result],
    producers: Mapping[str, Action],
    forced: bool = False,
) -> Task:
    """Return the task of `action`, when all that it reads is known.

    `contents` has the artifacts by path, `results` the actions by id that made some of them.
    """
    made = {
        path: (results[one.id].tree, path[len(one.folder) + 1 :])
        for path in action.inputs
        if (one := producers.get(path))
    }
    inputs = {path: contents[path] for path in action.inputs}
    return Task(action, key, manifest, inputs, made, forced)


@dataclass(frozen=True, slots=True)
class Started:
    """The command starts."""

    id: str
    key: str
    log: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The command has ended; what it made is being kept."""

    id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another process holds the key."""

    id: str
    key: str


@dataclass(frozen=True, slots=True)
class NeedsGpu:
    """The GPUs that the command needs are lent to others."""

    id: str
    gpus: str
    holders: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The command waits for its turn on another machine, for what needs no GPU."""

    id: str
    waits: str  # for what


@dataclass(frozen=True, slots=True)
class Asking:
    """What was waited for is ours, and the command wants to run."""

    id: str


@dataclass(frozen=True, slots=True)
class Done:
    """There is a result; `note` says why it was not kept in the cache, if it was not."""

    id: str
    key: str
    result: Result
    ran: bool
    log: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """There is none. `fault` is the traceback of a fault of ours."""

    id: str
    key: str
    failure: Failure
    fault: str = ""


@dataclass(frozen=True, slots=True)
class LostInput:
    """The bytes of the input `path` are not what they were: lost, damaged or edited meanwhile."""

    id: str
    path: str


Answer = Started | Ended | Waiting | NeedsGpu | Queued | Asking | Done | Failed | LostInput


def packed_task(task: Task) -> bytes:
    """Return a task as bytes, its action by id."""
    return marshal.dumps(
        (
            task.action.id,
            task.key,
            task.manifest,
            {path: _flat(content) for path, content in task.inputs.items()},
            {path: (tree.hash, tree.size, below) for path, (tree, below) in task.made.items()},
            task.forced,
        )
    )


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to Asking: whether the command may run."""

    id: str
    go: bool


def packed_grant(grant: Grant) -> bytes:
    """Return a grant as bytes."""
    return marshal.dumps((grant.id, grant.go))


def order_from(message: bytes, actions: Mapping[str, Action]) -> Task | Grant:
    """Read what `packed_task` or `packed_grant` wrote."""
    fields = marshal.loads(message)  # noqa: S302 - ours
    return Grant(*fields) if len(fields) == len(Grant.__slots__) else _task(fields, actions)


def _task(fields: tuple[Any, ...], actions: Mapping[str, Action]) -> Task:
    id_, key, manifest, inputs, made, forced = fields
    return Task(
        actions[id_],
        key,
        manifest,
        {path: _content(one) for path, one in inputs.items()},
        {path: (Digest(hash_, size), below) for path, (hash_, size, below) in made.items()},
        forced=forced,
    )


def _flat(content: Content) -> tuple[str, str, int]:
    return content.kind, content.digest.hash, content.digest.size


def _content(flat: tuple[str, str, int]) -> Content:
    return Content(flat[0], Digest(flat[1], flat[2]))


def packed_answer(answer: Answer) -> bytes:
    """Return an answer as bytes: the number of its kind, and its fields as plain values."""
    match answer:
        case Done(result=result):
            flat = _flat_result(result)
            fields: tuple[Any, ...] = (
                *(answer.id, answer.key, flat, answer.ran, answer.log, answer.note),
            )
        case Failed(failure=failure):
            fields = (answer.id, answer.key, *(getattr(failure, name) for name in _FAILURE))
            fields = (*fields, answer.fault)
        case Started():
            fields = (answer.id, answer.key, answer.log)
        case Waiting():
            fields = (answer.id, answer.key)
        case LostInput():
            fields = (answer.id, answer.path)
        case NeedsGpu():
            fields = (answer.id, answer.gpus, answer.holders)
        case Queued():
            fields = (answer.id, answer.waits)
        case Asking() | Ended():
            fields = (answer.id,)
    return marshal.dumps((_KINDS.index(type(answer)), fields))


def answer_from(message: bytes) -> Answer:
    """Read what `packed_answer` wrote."""
    number, fields = marshal.loads(message)  # noqa: S302 - ours
    kind = _KINDS[number]
    if kind is Done:
        id_, key, flat, ran, log, note = fields
        return Done(id_, key, _result(flat), ran=ran, log=log, note=note)
    if kind is Failed:
        id_, key, *failure, fault = fields
        return Failed(id_, key, Failure(*failure), fault)
    answer: Answer = kind(*fields)
    return answer


_KINDS: tuple[Any, ...] = (
    Done,
    Failed,
    Started,
    Waiting,
    LostInput,
    Asking,
    Ended,
    NeedsGpu,
    Queued,
)
_FAILURE = Failure.__slots__


def _flat_result(result: Result) -> tuple[Any, ...]:
    return (
        [(path, *_flat(content)) for path, content in result.outputs],
        (result.tree.hash, result.tree.size),
        result.metrics,
        (result.seconds, result.cpu_seconds, result.peak_memory),
        (result.hermetic, result.executor),
        (result.log.hash, result.log.size) if result.log else None,
        result.undeclared,
        result.share,
        result.gpus,
        result.resumed,
    )


def _result(flat: tuple[Any, ...]) -> Result:
    outputs, tree, metrics, used, where, log, undeclared, share, gpus, resumed = flat
    return Result(
        tuple((path, _content(rest)) for path, *rest in outputs),
        Digest(*tree),
        metrics,
        seconds=used[0],
        cpu_seconds=used[1],
        peak_memory=used[2],
        hermetic=where[0],
        executor=where[1],
        log=Digest(*log) if log else None,
        undeclared=undeclared,
        share=share,
        gpus=gpus,
        resumed=resumed,
    )
