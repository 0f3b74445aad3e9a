"""Slurm starter: hands runners to `sbatch`, and answers for them by what `squeue` says."""

import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from os import makedirs
from typing import Any

from mlbuild.core.digest import digest_of
from mlbuild.core.redact import is_secret, redacted
from mlbuild.core.tree import Tree
from mlbuild.errors import HostError
from mlbuild.remote.control import Control
from mlbuild.remote.freight import freight_in
from mlbuild.remote.machine.site import Site
from mlbuild.remote.machine.starter import bucket_of
from mlbuild.remote.order import Order, decode
from mlbuild.remote.slurm.commands import Commands
from mlbuild.remote.slurm.pools import FORMAT, Pool, pools_in
from mlbuild.remote.slurm.queue import OVER, Entry, Queue
from mlbuild.remote.slurm.request import NOTICE, request_for
from mlbuild.remote.slurm.wanted import seconds_of, wanted_from
from mlbuild.remote.state import Fault, State
from mlbuild.shared.base import SharedTrouble

CLERKS = 4  # commands that hand in jobs at a time
_SILENT = 1e8  # seconds: Slurm knows better than a beat whether a job lives
_POOLS = 300.0  # seconds that an answer of `sinfo` is used
_GRACE: Mapping[str, float] = {"COMPLETED": 20.0, "FAILED": 5.0}  # else _SHORT
_SHORT = 2.0  # seconds that the last word of a runner may need until it is seen here
# Ends of which a runner hears no more than that it has to go.
_KNOWN_BETTER = OVER - {"COMPLETED", "FAILED"}
_STUBBORN = 12.0  # seconds that a job has to end by itself once it was asked to
_NEVER = re.compile(
    r"Partition(NodeLimit|TimeLimit|Config)|BadConstraints|Invalid(Account|QOS)|JobLaunchFailure|"
    r"launch_failed_requeued_held|(QOS|Assoc)Max\w*PerJob\w*|\w*Max(Wall|Cpu|Node|Mem|GRES)\w*PerJob"
    r"|job_requeued_in_held_state|AccountNotAllowed|QOSNotAllowed"
)


def slurm_starter(site: Site, options: Mapping[str, Any]) -> "SlurmStarter":
    """Return the starter that a submitter's options describe."""
    return SlurmStarter(site, options)


class SlurmStarter:
    """Starts runners by `sbatch`; for any number of threads."""

    def __init__(self, site: Site, options: Mapping[str, Any]) -> None:
        self._site = site
        self._wanted = wanted_from(options["wanted"])
        self._store = str(options["store"])
        self._node_root = str(options["node_cache_dir"]) or site.root
        self._commands = Commands(site.environ, host=site.host)
        place = digest_of(f"{site.root}\0{self._store}".encode()).hash[:12]
        self._queue = Queue(self._commands, place=place)
        self._pools: tuple[Pool, ...] = ()
        self._asked = float("-inf")  # for the pools
        self._clerks = ThreadPoolExecutor(CLERKS, "sbatch")
        self._refused: dict[str, Fault] = {}
        self._gone: dict[tuple[str, int], float] = {}  # when a job was first seen to be over
        self._asked_to_end: dict[str, float] = {}

    def start(self, words: Mapping[str, Any], *, lock: int) -> None:  # noqa: ARG002 - no copy
        """Have a job handed in for an order, without waiting for that: `sbatch` may take long."""
        _refuse_secrets(words["env"])
        id_ = words["id"]
        self._refused.pop(id_, None)
        self._asked_to_end.pop(id_, None)
        self._queue.note(id_, 0)
        self._clerks.submit(self._hand_in, words)

    def _hand_in(self, words: Mapping[str, Any]) -> None:
        """Hand in a job; what keeps it from that is seen later."""
        id_ = words["id"]
        try:
            self._queue.note(id_, self._submitted(words))
            if id_ in self._asked_to_end:
                self._withdraw(id_)
        except SharedTrouble as trouble:
            cures = (trouble.cure,) if trouble.cure else ()
            self._refused[id_] = Fault("outage", trouble.message, cures)
        except HostError as error:
            self._refused[id_] = Fault("host", error.message, tuple(error.hints))
        except Exception as error:  # noqa: BLE001 - a fault of ours must reach the other side
            self._refused[id_] = Fault("host", f"its agent failed: {error!r}")

    def _submitted(self, words: Mapping[str, Any]) -> int:
        """Return the number that Slurm gave a job for an order."""
        id_ = words["id"]
        told = {
            "id": id_,
            "attempt": words["attempt"],
            "root": self._node_root,
            "bucket": "" if words["store"] else f"{self._site.root}/remote",
            "store": words["store"],
            "inside": words["inside"],
            "env": dict(words["env"]),
        }
        request = request_for(
            self._order(id_),
            told,
            wanted=self._wanted,
            pools=self.pools(),
            said=self._said(id_),
            mark=self._queue.mark(id_),
        )
        answer = self._commands.run("sbatch", "--parsable", *request.options, stdin=request.script)
        number = answer.strip().partition(";")[0]
        if not number.isdigit():
            raise HostError(f"`sbatch` does not tell the number of its job, but {answer!r}")
        return int(number)

    def alive(self, id_: str) -> bool:
        """Say whether Slurm has a job of the order that may yet say a word."""
        entry = None if id_ in self._refused else self._queue.entry(id_)
        if entry is None:
            return False
        return not entry.over or (self._may_speak(id_, entry) and not self._has_spoken(id_))

    def cancel(self, id_: str) -> None:
        """Have Slurm forget a job that waits; one that runs hears of it by itself, or is ended."""
        self._asked_to_end.setdefault(id_, time.monotonic())
        self._clerks.submit(self._withdraw, id_)

    def _withdraw(self, id_: str) -> None:
        """Have Slurm forget a job while it waits."""
        entry = self._queue.entry(id_)
        if entry is not None and not entry.over and entry.job:
            with suppress(HostError, SharedTrouble):  # it may have begun just now
                self._commands.run("scancel", "--state=PENDING", str(entry.job))
            self._queue.look_again()

    def seen(self, id_: str, state: State) -> State:
        """Return the state that the runner told, with what Slurm knows beside."""
        if fault := self._refused.get(id_):
            return replace(state, phase="failed", waits="", fault=fault)
        try:
            entry = self._queue.entry(id_)
            return self._told(id_, state, entry) if entry is not None else state
        except (HostError, SharedTrouble):  # Slurm or the bucket: the next look may do better
            return state

    def _told(self, id_: str, state: State, entry: Entry) -> State:
        job = f"slurm {entry.job}" if entry.job else ""
        if _is_outage(state) and not entry.over:  # Slurm may well start the job again
            state = replace(state, phase="queued", fault=None)
        if state.over:
            return self._corrected(id_, replace(state, job=job), entry)
        state = replace(state, job=job, every=_SILENT)
        if entry.over:
            return state if self._may_speak(id_, entry) else self._ended(id_, state, entry)
        if entry.waits:
            return self._waiting(state, entry)
        self._insist(id_, entry)
        return state

    def engine(self) -> Mapping[str, Any]:
        """Return what Slurm is and has."""
        said = self._commands.run("sinfo", "--version").split()
        return {
            "version": said[-1] if said else "",
            "pools": [pool.as_dict() for pool in self.pools()],
            "ping": self._commands.run("scontrol", "ping").strip().partition("\n")[0],
        }

    def pools(self) -> tuple[Pool, ...]:
        """Return what Slurm has; asked for now and then."""
        if time.monotonic() - self._asked > _POOLS:
            said = self._commands.run("sinfo", "-h", "-a", "-e", "-o", FORMAT)
            self._pools = pools_in(said)
            self._asked = time.monotonic()
        return self._pools

    def _order(self, id_: str) -> Order:
        content = self._control().order(id_)
        if content is None:
            raise HostError(f"there is no order `{id_}`")
        return decode(content)

    def _control(self) -> Control:
        return Control(bucket_of({"store": self._store}, self._site))

    def _said(self, id_: str) -> str:
        """Return the file for what a runner says that is no log of its command."""
        folder = f"{self._site.root}/remote/slurm"
        makedirs(folder, 0o700, exist_ok=True)
        return f"{folder}/{id_}.out"

    def _may_speak(self, id_: str, entry: Entry) -> bool:
        """Say whether the last word of a job that is over may still be on its way."""
        now = time.monotonic()
        since = self._gone.setdefault((id_, entry.job), now)
        return now - since < _GRACE.get(entry.state, _SHORT)

    def _has_spoken(self, id_: str) -> bool:
        state = self._control().state(id_)
        return state is not None and state.over

    def _insist(self, id_: str, entry: Entry) -> None:
        """End a job that was asked to end and does not."""
        asked = self._asked_to_end.get(id_)
        if asked is not None and time.monotonic() - asked > _STUBBORN:
            self._asked_to_end[id_] = float("inf")
            with suppress(HostError, SharedTrouble):
                self._commands.run("scancel", str(entry.job))

    def _waiting(self, state: State, entry: Entry) -> State:
        """Return the state of a job that Slurm has wait, by its own or the first time."""
        if _NEVER.fullmatch(entry.reason):
            with suppress(HostError, SharedTrouble):
                self._commands.run("scancel", str(entry.job))
            there = "; ".join(map(str, self._pools))
            fault = Fault(
                "host",
                f"Slurm would never start it: {entry.reason} (partition {entry.partition})",
                (f"it has {there}", "see `resources` of the target, and the executor's table"),
            )
            return replace(state, phase="failed", fault=fault)
        waits = ""
        if self._queue.trouble:
            waits = f"Slurm, which does not answer: {self._queue.trouble}"
        elif entry.reason not in {"", "None"}:
            waits = f"Slurm: {entry.reason} (partition {entry.partition})"
        if "gpu" in entry.gres and entry.reason in {"Resources", "Priority"}:
            holders = self._queue.holders(entry.partition)
            waits += f"; GPUs: {holders}" if holders else ""
        return replace(state, phase="queued", waits=waits)

    def _ended(self, id_: str, state: State, entry: Entry) -> State:
        """Return how a job is over whose runner did not say that."""
        what = f"its Slurm job {entry.job}"
        match entry.state:
            case "CANCELLED" if self._control().is_cancelled(id_):
                return replace(state, phase="cancelled", waits="")
            case "CANCELLED":
                return _failed(state, "host", f"{what} was cancelled (`scancel`)")
            case "TIMEOUT" | "DEADLINE":
                return self._timed_out(id_, state, entry)
            case "OUT_OF_MEMORY":
                return self._out_of_memory(id_, state)
            case "COMPLETED" | "FAILED":
                why = self._last_line(id_) or "without a word"
                return _failed(state, "outage", f"the runner of {what} ended: {why}")
            case _:
                return _failed(state, "outage", f"{what} was lost: {entry.state}")

    def _timed_out(self, id_: str, state: State, entry: Entry) -> State:
        """Return the end by a limit on time: one that keeps checkpoints goes on from there."""
        kind = "outage" if self._order(id_).checkpoint else "host"
        return _failed(
            state,
            kind,
            f"Slurm ended its job {entry.job} after {entry.limit}, the limit of the partition "
            f"`{entry.partition}` or of the job",
            "say a longer `timeout` for the target, or `time` or another `partition` for the "
            "executor; a script that keeps a checkpoint goes on from there",
        )

    def _corrected(self, id_: str, state: State, entry: Entry) -> State:
        """Return an end that a runner told of, who knows only that it had to go."""
        if not _is_outage(state):
            return state
        if entry.state in _KNOWN_BETTER:
            return self._ended(id_, state, entry)
        if entry.left and seconds_of(entry.left) <= 2 * NOTICE:
            return self._timed_out(id_, state, entry)
        return state

    def _out_of_memory(self, id_: str, state: State) -> State:
        """Return the end of a job that the kernel killed, runner and all."""
        bucket = bucket_of({"store": self._store}, self._site)
        nothing = freight_in(bucket).send(Tree(()), self._site.root)
        order = self._order(id_)
        return replace(
            state,
            phase="ended",
            owner=order.action.owner,
            key=order.key,
            waits="",
            ended={"exit_code": None, "signal": 9, "out_of_memory": True},
            tree=(nothing.hash, nothing.size),
        )

    def _last_line(self, id_: str) -> str:
        try:
            with open(self._said(id_), "rb") as file:
                lines = file.read(1 << 20).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return redacted(next((line.strip() for line in reversed(lines) if line.strip()), ""))


def _is_outage(state: State) -> bool:
    return state.fault is not None and state.fault.kind == "outage"


def _failed(state: State, kind: str, message: str, *hints: str) -> State:
    return replace(state, phase="failed", waits="", fault=Fault(kind, message, hints))


def _refuse_secrets(variables: Mapping[str, str]) -> None:
    """Raise HostError for a variable that Slurm must not be given: it keeps what it gets."""
    for name, value in variables.items():
        if is_secret(name, value):
            raise HostError(
                f"the action gets your variable `{name}`, which holds a secret, and Slurm keeps "
                "all that it is given",
                hints=("build it here first: `--executor sandbox`",),
            )
