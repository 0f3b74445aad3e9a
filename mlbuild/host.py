"""Host: where things lie on this host, and what it lends to actions."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlbuild.core.action import Action, Run
from mlbuild.core.gpus import either, parse_wishes
from mlbuild.errors import HostError
from mlbuild.exec.base import Staged, Streams, Tool
from mlbuild.exec.gpus import Gpus
from mlbuild.exec.leases import Lent, lent
from mlbuild.exec.numerics import numerics
from mlbuild.exec.room import here
from mlbuild.exec.sandbox import SMALL
from mlbuild.store.disk import DiskStore
from mlbuild.store.locks import KeyLock
from mlbuild.tasks import Answer, LostInput, NeedsGpu, Task

LIGHT = 16 << 20  # bytes of inputs that are copied into memory


@dataclass(frozen=True, slots=True)
class Host:
    """Where things lie on this host, and what it lends to actions."""

    root: str  # the workspace
    rules_root: str
    logs: str  # folder of this invocation's logs
    downloads: str  # folder that network actions may keep things in
    tools: Callable[[str], Tool]
    caller_env: Callable[[tuple[str, ...]], Mapping[str, str]]
    gpus: Gpus
    keeps_failed: bool = False  # whether the sandbox of a failure stays for its user to look at
    resumes: bool = True  # whether an attempt gets what a killed one before it left
    streams: Streams | None = None  # what commands read and write instead of their log
    term: str = ""  # kind of the terminal that those lead to, "" for none
    lends: bool = True  # whether GPUs and disk are its own, and so the leases


def staged(
    task: Task, host: Host, *, store: DiskStore, known: Mapping[str, bytes]
) -> tuple[Staged, ...] | LostInput:
    """Find the bytes of every input on this host; `known` are those of tiny files by hash."""
    found: list[Staged] = []
    for path in task.action.inputs:
        place: str | None
        content = task.inputs[path]
        if content.kind != "t" and content.digest.hash in known:
            found.append(Staged(path, "", content))
            continue
        made = task.made.get(path)
        if made is not None:
            place = store.place(*made)
        elif path.startswith("@rules/"):
            place = os.path.join(host.rules_root, path.removeprefix("@rules/"))
        else:
            place = os.path.join(host.root, path)
        if place is None:
            return LostInput(task.action.id, path)
        found.append(Staged(path, place, content))
    return tuple(found)


def is_light(inputs: tuple[Staged, ...]) -> bool:
    """Say whether the small inputs, which are copied, fit in memory without anybody noticing."""
    sizes = [one.content.digest.size for one in inputs if one.content.kind != "t"]
    return sum(size for size in sizes if size <= SMALL) <= LIGHT


def require_disk(action: Action, run: Run, folder: str) -> None:
    """Make sure that the disk of `folder` has now what the command asks for."""
    if run.disk and (shortage := here(folder).shortage(run)):
        raise HostError(
            f"`{action.owner}` {shortage}",
            hints=("free some space, for instance with `mlbuild cache gc`",),
        )


@contextmanager
def lent_gpus(
    task: Task,
    run: Run,
    gpus: Gpus,
    *,
    lock: Callable[[str], KeyLock],
    look: Callable[[str], None],
    tell: Callable[[Answer], None],
    ask: Callable[[str], None],
    lends: bool = True,
) -> Iterator[Lent]:
    """Yield the GPUs that the command may use; wait until they are free.

    `look` is called while it waits, and ends that by raising. None where somebody else `lends`.
    """
    if not (run.gpus and lends):
        yield Lent()
        return
    action, wishes = task.action, parse_wishes(run.gpus)
    alike = run.determinism == "bitwise"
    if lack := gpus.lack(wishes, alike=alike):
        raise HostError(f"`{action.owner}` needs {either(wishes)}: {lack}")
    told = ""

    def wait(holders: str) -> None:
        nonlocal told
        look("")
        if not told:
            tell(NeedsGpu(action.id, either(wishes), holders))
        told = holders

    borrower = f"{action.owner} (process {os.getpid()})"
    offered = gpus.offers(wishes, alike=alike)
    with lent(offered, lock=lock, borrower=borrower, on_wait=wait) as chosen:
        if told:
            ask(action.id)
        yield chosen


def numerics_of(action: Action, gpus: Gpus) -> str:
    """Return what rounds the numbers of an action that must repeat to the last bit."""
    if not isinstance(action.does, Run) or action.does.determinism != "bitwise":
        return ""
    if not action.does.gpus:
        return numerics()
    typical = gpus.typical(parse_wishes(action.does.gpus))
    return numerics([typical] if typical else ())
