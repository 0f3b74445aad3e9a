"""Starter: how an agent has runners started on its machine, and knows whether they live.

What starts them is named by the submitter, in the words of its question: `{"kind": …}` with options
of that kind. Without a kind a runner is a fork of the agent.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from tempfile import gettempdir
from typing import Any, Protocol

from mlbuild.errors import HostError
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.exec.prctl import leave_orphans
from mlbuild.remote.control import Control
from mlbuild.remote.freight import bucket_at, freight_in
from mlbuild.remote.machine.runner import run_order
from mlbuild.remote.machine.site import Site
from mlbuild.remote.state import State
from mlbuild.remote.terms import Terms
from mlbuild.shared.base import Bucket

LOOK = 0.05  # seconds between two looks of a runner at its bucket, which is a folder here
FAR_LOOK = 0.5  # likewise, where the bucket is somewhere else

OTHERS: Mapping[str, str] = {  # kind -> module:function of (site, options)
    "slurm": "mlbuild.remote.slurm.starter:slurm_starter",
}


class Starter(Protocol):
    """Starts runners, and answers for them while they cannot do so themselves."""

    def start(self, words: Mapping[str, Any], *, lock: int) -> None:
        """Have a runner started for the order `words["id"]`, on the terms of the other words.

        `lock` holds the right to run it; the caller closes it, a runner may keep a copy of its own.
        Raises HostError where none can be started.
        """
        ...

    def alive(self, id_: str) -> bool:
        """Say whether the order runs, or will; nobody else may start it meanwhile."""
        ...

    def cancel(self, id_: str) -> None:
        """See to it that an order ends that was asked to, also where no runner of it lives yet."""
        ...

    def seen(self, id_: str, state: State) -> State:
        """Return the state that the runner told, with what only we know: why it waits, its end."""
        ...

    def engine(self) -> Mapping[str, Any]:
        """Return what starts the runners, in JSON: nothing where that is only this machine."""
        ...


def starter_of(
    options: Mapping[str, Any],
    site: Site,
    *,
    leave: Callable[[], None],
    ring: Callable[[], None],
) -> Starter:
    """Return the starter that the options of a submitter name.

    `leave` lets a fork of this process give up what only the agent is to hold; a runner may `ring`
    when it has told something.
    """
    kind = options.get("kind", "")
    if not kind:
        return Fork(site, leave=leave, ring=ring)
    if kind not in OTHERS:
        raise HostError(f"this runner starts nothing by `{kind}`")
    module, _, name = OTHERS[kind].partition(":")
    made: Starter = getattr(import_module(module), name)(site, options)
    return made


def bucket_of(words: Mapping[str, Any], site: Site) -> Bucket:
    """Return the bucket that a submitter means, with this machine's own credentials for it."""
    if not words["store"]:
        return site.bucket()
    return bucket_at(words["store"])


class Fork:
    """Starts runners as forks of this process, which nobody waits for."""

    def __init__(self, site: Site, *, leave: Callable[[], None], ring: Callable[[], None]) -> None:
        self._site = site
        self._leave = leave
        self._ring = ring
        self._is_prepared = False

    def start(self, words: Mapping[str, Any], *, lock: int) -> None:
        """Run an order in a process of its own, which holds `lock` as long as it lives."""
        self._prepare()
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        code = 1
        try:
            os.setsid()
            if os.fork():  # so that its parent is the init of the machine
                os._exit(0)
            self._leave_all(words["id"])
            os.set_inheritable(lock, False)
            bucket = bucket_of(words, self._site)
            run_order(
                words["id"],
                self._site,
                control=Control(bucket),
                freight=freight_in(bucket),
                terms=Terms(words["slots"], words["inside"], words["store"]),
                caller_env=words["env"],
                attempt=words["attempt"],
                pause=FAR_LOOK if words["store"] else LOOK,
                ring=self._ring,
            )
            os.close(lock)
            with self._site.open() as store:
                self._site.collect(store)
            code = 0
        except BaseException:  # noqa: BLE001 - the last place where it can be noted
            traceback.print_exc(file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _prepare(self) -> None:
        """Do once what each fork would do first."""
        if self._is_prepared:
            return
        self._is_prepared = True
        gettempdir()
        with suppress(HostError, OSError):  # who needs a sandbox says so
            Bubblewrap(os.path.join(self._site.root, "sandbox")).prepare()
        leave_orphans()  # a runner is nobody's child

    def alive(self, id_: str) -> bool:
        """Say whether a runner of the order holds its lock."""
        lock = self._site.take(id_)
        if lock is not None:
            os.close(lock)
        return lock is None

    def cancel(self, id_: str) -> None:
        """Do nothing: the runner lives already, and looks for the wish itself."""

    def seen(self, id_: str, state: State) -> State:  # noqa: ARG002 - the protocol's
        """Return what the runner told: it tells all there is."""
        return state

    def engine(self) -> Mapping[str, Any]:
        """Return nothing: there is only this machine."""
        return {}

    def _leave_all(self, id_: str) -> None:
        """Hold nothing of the connection any more; what we print goes into a file."""
        nothing = os.open(os.devnull, os.O_RDWR)
        said = f"{self._site.root}/remote/runners.log"
        log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        self._leave()
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.write(log, f"runner of {id_[:12]}\n".encode())
        os.close(nothing)
        os.close(log)
