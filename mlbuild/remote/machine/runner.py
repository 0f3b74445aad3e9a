"""Runner: takes one order to its end on this machine, and tells how far it is.

It runs by itself: whoever ordered it may go away. Inputs come out of the freight into the store of
this machine, the command runs in the same sandbox or container as everywhere, and what it wrote
goes back as a tree. Why there is no result is told in the state too.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, replace
from functools import partial
from time import monotonic

from mlbuild.core.digest import Digest
from mlbuild.core.gpus import either, parse_wishes
from mlbuild.errors import HostError, InputError, Interrupted, MlbuildError
from mlbuild.exec import cgroup
from mlbuild.exec.base import Execution, Gpu, Job, Patient, Staged, Tool
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.exec.choice import Choice
from mlbuild.exec.leases import LENT_TO, Lent, lent
from mlbuild.exec.process import Process
from mlbuild.exec.strays import end_lost
from mlbuild.remote.control import Control
from mlbuild.remote.freight import Freight
from mlbuild.remote.machine.fitness import check
from mlbuild.remote.machine.lot import Lot
from mlbuild.remote.machine.report import Report
from mlbuild.remote.machine.site import Site
from mlbuild.remote.machine.slots import Slots
from mlbuild.remote.machine.tools import carried, fitting, travels
from mlbuild.remote.order import Order, Wanted, decode
from mlbuild.remote.outage import Outage, bucket_troubles, full_disk
from mlbuild.remote.outputs import open_up, scan
from mlbuild.remote.state import ENDED, Fault
from mlbuild.remote.terms import PROCESS, Terms
from mlbuild.store import files
from mlbuild.store.disk import DiskStore
from mlbuild.store.private import is_lost, rooms

_AGAIN = 5.0  # seconds between two looks for what killed runners left
FAREWELL = 20.0  # seconds that a command has to save what it knows when its machine is taken away


class _Lacking(Exception):  # noqa: N818 - what happened, not a kind of error
    """Trees that the inputs come in are nowhere, or tools."""

    def __init__(self, trees: list[Digest], tools: list[str]) -> None:
        super().__init__()
        self.trees = trees
        self.tools = tools


def run_order(
    id_: str,
    site: Site,
    *,
    control: Control,
    freight: Freight,
    terms: Terms,
    caller_env: Mapping[str, str],
    attempt: str,
    pause: float,
    ring: Callable[[], None] = lambda: None,
    lot: Lot | None = None,
) -> None:
    """Bring the order `id_` to its end. The caller holds the right to run it.

    `caller_env` are the variables of the submitter that network actions may see. The state is
    told at least every few seconds; `pause` are the seconds between two looks at the bucket, and
    `ring` is called whenever something was told. With a `lot` an engine has given CPUs and GPUs
    already; else this machine lends them.
    """
    report = Report(id_, control, attempt=attempt, host=site.host, pause=pause, ring=ring)
    try:
        order = _order(id_, control)
        with bucket_troubles(site.host):
            report.begin(order)
            report.note(job=lot.job if lot else "")
            check(order, site)
            with site.open() as store:
                what = _Run(
                    *(order, site, store, report), terms=terms, caller_env=caller_env, lot=lot
                )
                what.go(id_, freight, control)
    except _Lacking as lacking:
        trees = tuple((tree.hash, tree.size) for tree in lacking.trees)
        said = "inputs do not arrive" if trees else "tools do not arrive"
        report.fail(Fault("lacking", said, trees=trees, tools=tuple(lacking.tools)))
    except Interrupted:
        report.end("cancelled")
    except MlbuildError as error:
        report.fail(_fault(error, site.root))
    except OSError as error:
        full = full_disk(site.host) if files.fullness(site.root) else None
        report.fail(_fault(full or HostError(f"the runner failed: {error}"), site.root))
    except Exception as error:
        report.fail(Fault("host", f"the runner on `{site.host}` failed: {error!r}"))
        raise
    finally:
        report.close()


def _order(id_: str, control: Control) -> Order:
    """Return the order with this name, which is the digest of its bytes."""
    content = control.order(id_)
    if content is None:
        raise InputError(f"there is no order `{id_}`")
    return decode(content)


def _fault(error: MlbuildError, root: str) -> Fault:
    kind = "outage" if isinstance(error, Outage) or files.fullness(root) else "host"
    if isinstance(error, InputError):
        kind = "input"
    return Fault(kind, error.message, error.hints)


class _Run:
    """One order on this machine."""

    def __init__(
        self,
        order: Order,
        site: Site,
        store: DiskStore,
        report: Report,
        *,
        terms: Terms,
        caller_env: Mapping[str, str],
        lot: Lot | None,
    ) -> None:
        self._order = order
        self._site = site
        self._store = store
        self._report = report
        self._terms = terms
        self._caller_env = caller_env
        self._lot = lot
        self._ended_lost = 0.0  # when that was last seen to

    def go(self, id_: str, freight: Freight, control: Control) -> None:
        """Do everything; tell the state at the end."""
        order, store, report = self._order, self._store, self._report
        tools = self._tools(freight, control)
        inputs = self._inputs(freight)
        executor = self._executor()
        report.on_cancel(executor.cancel, leave=partial(executor.cancel, grace=FAREWELL))
        scratch = store.scratch()
        checkpoint = ""
        try:
            if order.checkpoint:
                checkpoint = store.checkpoint(order.key or id_)
                report.note(resumed=bool(os.listdir(checkpoint)))
            with self._lent() as loan:
                execution = self._measured(
                    executor,
                    Job(
                        order.action,
                        order.run,
                        inputs,
                        tools,
                        self._caller_env,
                        scratch,
                        "",
                        report.log,
                        checkpoint,
                        self._downloads() if order.run.network else "",
                        turn=self._turn(loan.gpus),
                        gpus=loan.gpus,
                        locks=loan.locks,
                    ),
                )
            if report.preempted and execution.interrupted:
                raise Outage(f"`{self._site.host}` took the machine away")
            if checkpoint and _was_killed(execution) and os.listdir(checkpoint):
                raise Outage(f"its command was killed by signal {execution.signal}")
            self._deliver(execution, freight)
            if checkpoint and execution.exit_code == 0:
                store.drop(checkpoint)
        finally:
            executor.close()
            store.drop(scratch)

    def _slots(self) -> Slots:
        limit = self._terms.slots or len(os.sched_getaffinity(0))
        return Slots(self._store, limit)

    def _tools(self, freight: Freight, control: Control) -> dict[str, Tool]:
        """Return all tools: those of this machine, or what was sent because it lacks them."""
        found: dict[str, Tool] = {}
        lacking = []
        for name, wanted in self._order.tools.items():
            try:
                found[name] = fitting(
                    name, wanted, self._site.toolchain.resolve, host=self._site.host
                )
            except HostError:
                if not travels(wanted):
                    raise
                sent = self._carried(name, wanted, freight, control)
                if sent is None:
                    lacking.append(name)
                else:
                    found[name] = sent
        if lacking:
            raise _Lacking([], lacking)
        return found

    def _carried(
        self, name: str, wanted: Wanted, freight: Freight, control: Control
    ) -> Tool | None:
        with bucket_troubles(self._site.host):
            known = control.tool(wanted.content)
        if known is None:
            return None
        tree, path = known
        place = self._place(tree, freight)
        return carried(name, wanted, f"{place}/{path}") if place is not None else None

    def _inputs(self, freight: Freight) -> tuple[Staged, ...]:
        """Return all inputs as they lie in the store of this machine."""
        places = {tree: self._place(tree, freight) for tree in self._order.trees}
        if lacking := [tree for tree, place in places.items() if place is None]:
            raise _Lacking(lacking, [])
        return tuple(
            Staged(item.path, os.path.join(places[item.tree] or "", item.below), item.content)
            if item.below
            else Staged(item.path, places[item.tree] or "", item.content)
            for item in self._order.items
        )

    def _place(self, tree: Digest, freight: Freight) -> str | None:
        """Return where a tree lies, once it is here; None when nobody has it."""
        place = self._store.place(tree)
        if place is not None:
            return place
        folder = self._store.scratch()
        try:
            with bucket_troubles(self._site.host):
                found = freight.bring(tree, folder)
            if found is not None:
                self._store.admit(folder, found)
                return self._store.place(tree)
            return None
        finally:
            self._store.drop(folder)

    def _executor(self) -> Patient:
        """Return what runs the command; a plain process only where that was asked for."""
        inside = self._terms.inside
        if inside == PROCESS:
            if not self._order.plain:
                raise HostError(
                    f"`{self._order.action.owner}` was sent to run in a sandbox or a container: "
                    "what a plain process makes would be taken for what they make",
                    hints=('its sender may allow it: `inside = "process"` of its executor',),
                )
            return Process()
        folder = os.path.join(self._site.root, "sandbox")
        sandbox = Bubblewrap(folder)
        if inside == "sandbox":
            return sandbox
        environ = self._site.environ
        return Choice(sandbox, folder=folder, environ=environ, insist=inside == "docker")

    def _measured(self, executor: Patient, job: Job) -> Execution:
        """Run the command, and see whether an engine's limit on memory ended it."""
        kills = cgroup.kills_here()
        done = self._executed(executor, job)
        # An engine gives each job a group: what the kernel killed in it was the command's.
        if self._lot is not None and done.exit_code != 0 and cgroup.kills_here() > kills:
            return replace(done, out_of_memory=True)
        return done

    def _executed(self, executor: Patient, job: Job) -> Execution:
        """Run the command; where that cannot be, see whether that is for want of a sandbox."""
        try:
            return executor.run(job)
        except HostError as error:
            sandbox = Bubblewrap(os.path.join(self._site.root, "sandbox"))
            why_not = sandbox.available() if executor.name == sandbox.name else ""
            sandbox.close()
            if not why_not:
                raise
            host = self._site.host
            raise HostError(
                f"`{host}` has no sandbox: {why_not}",
                hints=(
                    f"on `{host}`: apt-get install bubblewrap",
                    'or write `inside = "process"` for it: results are then never shared',
                ),
            ) from error

    @contextmanager
    def _lent(self) -> Iterator[Lent]:
        """Hold what the command needs of this machine; yield its GPUs."""
        self._end_lost()
        if self._lot is not None:
            yield Lent(self._lot.gpus if self._order.run.gpus else ())
            return
        # In this order: who waits for a GPU keeps nobody waiting who needs none.
        with self._gpus() as loan, self._slots().held(self._order.run.cpus, self._wait):
            yield loan

    @contextmanager
    def _gpus(self) -> Iterator[Lent]:
        """Hold the GPUs that the command needs, which nobody else has meanwhile."""
        run, owner = self._order.run, self._order.action.owner
        if not run.gpus:
            yield Lent()
            return
        wishes, alike = parse_wishes(run.gpus), run.determinism == "bitwise"
        gpus = self._site.gpus
        if lack := gpus.lack(wishes, alike=alike):
            lack = lack.replace("this host", f"`{self._site.host}`")
            raise HostError(f"`{owner}` needs {either(wishes)}: {lack}")
        with lent(
            gpus.offers(wishes, alike=alike),
            lock=self._store.key_lock,
            borrower=f"{owner} (process {os.getpid()})",
            on_wait=lambda holders: self._wait_for_gpus(either(wishes) + LENT_TO + holders),
        ) as found:
            yield found

    def _wait_for_gpus(self, what: str) -> None:
        self._wait(what)
        if monotonic() - self._ended_lost > _AGAIN:
            self._end_lost()  # who has them may have lost its runner just now

    def _end_lost(self) -> None:
        """End what plain processes left whose runner was killed, where it could be in the way."""
        run = self._order.run
        if not (run.gpus or (self._order.checkpoint and self._order.plain)):
            return
        if not end_lost(rooms(self._site.root), is_lost=partial(is_lost, self._site.root)):
            raise Outage(f"what a killed runner left on `{self._site.host}` does not end")
        self._ended_lost = monotonic()

    def _wait(self, what: str) -> None:
        if self._report.preempted:
            raise Outage(f"`{self._site.host}` took the machine away")
        if self._report.is_cancelled():
            raise Interrupted("the build was interrupted")
        self._report.note(waits=what)

    @contextmanager
    def _turn(self, gpus: tuple[Gpu, ...]) -> Iterator[None]:
        """Tell that the command runs."""
        lent_to_it = tuple(astuple(gpu) for gpu in gpus)
        self._report.phase("running", waits="", gpus=lent_to_it)
        yield

    def _downloads(self) -> str:
        folder = os.path.join(self._site.root, "downloads")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return folder

    def _deliver(self, execution: Execution, freight: Freight) -> None:
        """Send what the command wrote, then say how it ended."""
        if execution.exit_code and files.fullness(self._site.root):
            raise full_disk(self._site.host)
        open_up(execution.out)
        tree, odd = scan(execution.out)
        with bucket_troubles(self._site.host):
            digest = freight.send(tree, execution.out)
        said = {name: getattr(execution, name) for name in ENDED}
        self._report.end("ended", ended=said, tree=(digest.hash, digest.size), odd=odd)


def _was_killed(execution: Execution) -> bool:
    """Say whether somebody outside killed a command."""
    ours = execution.timed_out or execution.out_of_memory or execution.interrupted
    return not ours and execution.signal in {signal.SIGKILL, signal.SIGTERM}
