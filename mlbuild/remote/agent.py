"""Agent: a machine's own side of a connection: its bucket, and the start of runners.

It serves one submitter, through its standard input and output, and ends with them. What it starts
goes on: a runner is a fork in a session of its own, which holds nothing of the connection.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from mlbuild.config import process_environment
from mlbuild.core.digest import Digest
from mlbuild.errors import MlbuildError
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.exec.docker_engine import Engine
from mlbuild.remote.control import Control
from mlbuild.remote.frames import hear, say
from mlbuild.remote.freight import bucket_at, freight_in
from mlbuild.remote.runner import run_order
from mlbuild.remote.site import Site, site_of
from mlbuild.remote.state import State
from mlbuild.remote.terms import Terms
from mlbuild.shared.base import Bucket, SharedTrouble

LOOK = 0.05  # seconds between two looks of a runner at its bucket, which is a folder here
FAR_LOOK = 0.5  # likewise, where the bucket is somewhere else

Answer = tuple[dict[str, Any], bytes]


def main(root: str, answers: int) -> NoReturn:
    """Serve whoever is at our standard input, with the site at `root`, until it ends."""
    code = 1
    try:
        Agent(site_of(root, process_environment()), answers=answers).serve()
        code = 0
    except BrokenPipeError:
        code = 0
    finally:
        os._exit(code)


class Agent:
    """Answers, in order, what it is asked."""

    def __init__(self, site: Site, *, answers: int) -> None:
        self._site = site
        self._answers = answers
        self._asked: Mapping[str, Callable[[dict[str, Any], bytes], Answer]] = {
            "facts": self._facts,
            "gpus": self._gpus,
            "insides": self._insides,
            "read": self._read,
            "write": self._write,
            "names": self._names,
            "remove": self._remove,
            "lacks": self._lacks,
            "start": self._start,
            "alive": self._alive,
        }

    def serve(self) -> None:
        """Answer until there is nobody who asks."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        while frame := hear(0):
            words, content = frame
            say(self._answers, *self._answer(words, content))

    def _answer(self, words: dict[str, Any], content: bytes) -> Answer:
        try:
            return self._asked[words["ask"]](words, content)
        except SharedTrouble as trouble:
            return {"trouble": trouble.kind, "message": trouble.message, "cure": trouble.cure}, b""
        except MlbuildError as error:
            return {"error": error.message, "hints": error.hints}, b""
        except Exception as error:  # noqa: BLE001 - a fault of ours must reach the other side
            traceback.print_exc(file=sys.stderr)
            return {"error": f"its agent failed: {error!r}", "hints": ()}, b""

    # what the machine is

    def _facts(self, _words: dict[str, Any], _: bytes) -> Answer:
        return {"facts": self._site.facts().as_dict()}, b""

    def _gpus(self, _words: dict[str, Any], _: bytes) -> Answer:
        found = self._site.gpus.found
        return {"gpus": [[g.uuid, g.name, g.driver, g.memory, g.cuda] for g in found]}, b""

    def _insides(self, _words: dict[str, Any], _: bytes) -> Answer:
        sandbox = Bubblewrap(os.path.join(self._site.root, "sandbox"))
        why_no_sandbox = sandbox.available()
        version = sandbox.version()
        sandbox.close()
        why_no_docker, docker = "", ""
        try:
            engine = Engine(self._site.environ)
            docker = engine.facts().version
            engine.close()
        except MlbuildError as error:
            why_no_docker = error.message
        except ImportError:
            why_no_docker = "its client is not part of the runner"
        return {"sandbox": [version, why_no_sandbox], "docker": [docker, why_no_docker]}, b""

    # the bucket

    def _read(self, words: dict[str, Any], _: bytes) -> Answer:
        found = self._site.bucket().read(
            words["name"], start=words["start"], size=words["size"], limit=words["limit"]
        )
        return {"found": found is not None}, found or b""

    def _write(self, words: dict[str, Any], content: bytes) -> Answer:
        written = self._site.bucket().write(words["name"], content, fresh=words["fresh"])
        return {"written": written}, b""

    def _names(self, words: dict[str, Any], _: bytes) -> Answer:
        found = self._site.bucket().names(words["prefix"])
        return {"names": [[one.name, one.size, one.modified] for one in found]}, b""

    def _remove(self, words: dict[str, Any], _: bytes) -> Answer:
        self._site.bucket().remove(words["names"])
        return {}, b""

    # runs

    def _lacks(self, words: dict[str, Any], _: bytes) -> Answer:
        trees = [Digest(hash_, size) for hash_, size in words["trees"]]
        return {"lacks": [[tree.hash, tree.size] for tree in self._site.lacks(trees)]}, b""

    def _alive(self, words: dict[str, Any], _: bytes) -> Answer:
        lock = self._site.take(words["id"])
        if lock is not None:
            os.close(lock)
        return {"alive": lock is None}, b""

    def _start(self, words: dict[str, Any], _: bytes) -> Answer:
        """Start a runner for an order, unless there is one."""
        id_ = words["id"]
        lock = self._site.take(id_)
        if lock is None:
            return {"started": False}, b""
        try:
            self._site.sweep()
            control = Control(self._bucket(words))
            control.clear(id_)
            control.tell(id_, State("queued", words["attempt"], host=self._site.host))
            self._fork(words, lock=lock)
        finally:
            os.close(lock)
        return {"started": True}, b""

    def _bucket(self, words: dict[str, Any]) -> Bucket:
        """Return the bucket that a submitter means, with this machine's own credentials for it."""
        if not words["store"]:
            return self._site.bucket()
        return bucket_at(words["store"])

    def _fork(self, words: dict[str, Any], *, lock: int) -> None:
        """Run an order in a process that nobody waits for."""
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        code = 1
        try:
            os.setsid()
            if os.fork():  # so that its parent is the init of the machine
                os._exit(0)
            self._leave(words["id"])
            os.set_inheritable(lock, False)
            bucket = self._bucket(words)
            run_order(
                words["id"],
                self._site,
                control=Control(bucket),
                freight=freight_in(bucket),
                terms=Terms(words["slots"], words["inside"], words["store"]),
                caller_env=words["env"],
                attempt=words["attempt"],
                pause=FAR_LOOK if words["store"] else LOOK,
            )
            with self._site.open() as store:
                self._site.collect(store)
            code = 0
        except BaseException:  # noqa: BLE001 - the last place where it can be noted
            traceback.print_exc(file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _leave(self, id_: str) -> None:
        """Hold nothing of the connection any more; what we print goes into a file."""
        nothing = os.open(os.devnull, os.O_RDWR)
        said = f"{self._site.root}/remote/runners.log"
        log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(self._answers)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.write(log, f"runner of {id_[:12]}\n".encode())
        os.close(nothing)
        os.close(log)
