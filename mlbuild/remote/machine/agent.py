"""Agent: a machine's own side of a connection: its bucket, and the start of runners.

It serves one submitter, through its standard input and output, and ends with them. What it starts
goes on: a runner is a fork in a session of its own, which holds nothing of the connection.
"""

import errno
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any, NoReturn

from mlbuild.config import process_environment
from mlbuild.core.digest import Digest
from mlbuild.errors import MlbuildError
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.exec.docker_engine import Engine
from mlbuild.remote.control import Control
from mlbuild.remote.link.frames import hear, say
from mlbuild.remote.machine.site import Site, site_of
from mlbuild.remote.machine.starter import Starter, bucket_of, starter_of
from mlbuild.remote.machine.survey import rows
from mlbuild.remote.machine.vigil import Answer, Vigil
from mlbuild.remote.state import State
from mlbuild.shared.base import Bucket, SharedTrouble
from mlbuild.store import files

_LETS_GO = 1.0  # seconds that a runner may hold its right when its end is told
_BLINK = 0.003  # seconds between two looks at that
_NO_ROOM: Answer = ({"trouble": "full", "message": "its disk is full", "cure": ""}, b"")


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
    """Answers what it is asked: most at once, and what waits for news of a run when there are."""

    def __init__(self, site: Site, *, answers: int) -> None:
        self._site = site
        self._answers = answers
        self._starters: dict[str, Starter] = {}
        self._buckets: dict[str, Bucket] = {}  # by URL
        self._vigil = Vigil(site)
        self._asked: Mapping[str, Callable[[dict[str, Any], bytes], Answer]] = {
            "facts": self._facts,
            "gpus": self._gpus,
            "insides": self._insides,
            "read": self._read,
            "write": self._write,
            "names": self._names,
            "remove": self._remove,
            "begin": self._begin,
            "alive": self._alive,
            "states": self._states,
            "cancel": self._cancel,
            "engine": self._engine,
            "take": self._take,
        }

    def serve(self) -> None:
        """Answer until there is nobody who asks."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ears = select.poll()
        ears.register(0, select.POLLIN)
        ears.register(self._vigil.bell, select.POLLIN)
        while True:
            if 0 in {fd for fd, _ in ears.poll(self._vigil.patience)}:
                frame = hear(0)
                if frame is None:
                    return
                self._hear(*frame)
            for number, answer in self._vigil.news():
                self._say(number, answer)

    def _hear(self, words: dict[str, Any], content: bytes) -> None:
        if words["ask"] == "await":
            self._vigil.keep(words["number"], words, starter=self._starter(words))
        else:
            self._say(words["number"], self._answer(words, content))

    def _say(self, number: int, answer: Answer) -> None:
        words, content = answer
        say(self._answers, {**words, "number": number}, content)

    def _answer(self, words: dict[str, Any], content: bytes) -> Answer:
        try:
            return self._asked[words["ask"]](words, content)
        except SharedTrouble as trouble:
            return {"trouble": trouble.kind, "message": trouble.message, "cure": trouble.cure}, b""
        except MlbuildError as error:
            return {"error": error.message, "hints": error.hints}, b""
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                return _NO_ROOM
            said = f"{error.strerror}: `{error.filename}`" if error.filename else str(error)
            return {"error": said, "hints": ()}, b""
        except Exception as error:  # noqa: BLE001 - a fault of ours must reach the other side
            traceback.print_exc(file=sys.stderr)
            return {"error": f"its agent failed: {error!r}", "hints": ()}, b""

    # what the machine is

    def _facts(self, _words: dict[str, Any], _: bytes) -> Answer:
        return {"facts": self._site.facts().as_dict()}, b""

    def _gpus(self, _words: dict[str, Any], _: bytes) -> Answer:
        return {"gpus": [astuple(gpu) for gpu in self._site.gpus.found]}, b""

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

    def _begin(self, words: dict[str, Any], order: bytes) -> Answer:
        """Have an order run, unless it does, or did with an outcome that nobody took.

        Where trees are missing that it needs, nothing is started: the answer names them.
        """
        id_, starter = words["id"], self._starter(words)
        control = self._control(words)
        if _is_there(id_, control, starter):
            return {"there": True, "lacks": []}, b""
        trees = [Digest(hash_, size) for hash_, size in words["trees"]]
        if lacks := self._site.lacks(trees):
            return {"there": False, "lacks": [[tree.hash, tree.size] for tree in lacks]}, b""
        if files.fullness(self._site.root):
            return _NO_ROOM  # before it is tried: a runner could not even tell
        lock = self._right(id_, control, starter)
        if lock is None:
            return {"there": True, "lacks": []}, b""
        try:
            self._site.sweep()
            control.clear(id_)
            control.keep_order(id_, order)
            control.tell(id_, State("queued", words["attempt"], host=self._site.host))
            starter.start(words, lock=lock)
        finally:
            os.close(lock)
        return {"there": False, "lacks": []}, b""

    def _right(self, id_: str, control: Control, starter: Starter) -> int | None:
        """Return the right to run an order; None where it runs, or will.

        One that has told its end, which nobody wants again, has the right for a moment yet; and
        others take it for a moment to see whether they can.
        """
        until = time.monotonic() + _LETS_GO
        while time.monotonic() < until:
            lock = None if starter.alive(id_) else self._site.take(id_)
            if lock is not None:
                return lock
            state = control.state(id_)
            if state is not None and not starter.seen(id_, state).over:
                return None
            time.sleep(_BLINK)
        raise SharedTrouble("slow", "its last run is over and has not ended", cure="try it again")

    def _take(self, words: dict[str, Any], _: bytes) -> Answer:
        self._control(words).take(words["id"])
        return {}, b""

    def _alive(self, words: dict[str, Any], _: bytes) -> Answer:
        return {"alive": self._starter(words).alive(words["id"])}, b""

    def _states(self, words: dict[str, Any], _: bytes) -> Answer:
        """Say how far orders are; without `ids`, all that there are."""
        control = self._control(words)
        ids = words["ids"] or sorted(control.ids())
        return {"rows": [*rows(ids, control, self._starter(words))]}, b""

    def _cancel(self, words: dict[str, Any], _: bytes) -> Answer:
        self._control(words).cancel(words["id"])
        self._starter(words).cancel(words["id"])
        return {}, b""

    def _engine(self, words: dict[str, Any], _: bytes) -> Answer:
        return dict(self._starter(words).engine()), b""

    def _control(self, words: dict[str, Any]) -> Control:
        """Return the objects of runs in the bucket that a submitter means, opened once.

        A fork of ours opens its own: no connection is for two.
        """
        store = words["store"]
        if not store:
            return Control(self._site.bucket())
        if store not in self._buckets:
            self._buckets[store] = bucket_of(words, self._site)
        return Control(self._buckets[store])

    def _starter(self, words: dict[str, Any]) -> Starter:
        """Return what starts runners for a submitter; one for all its questions."""
        options = words.get("starter", {})
        name = json.dumps(options, sort_keys=True)
        if name not in self._starters:
            self._starters[name] = starter_of(
                options, self._site, leave=self._leave, ring=self._vigil.ring
            )
        return self._starters[name]

    def _leave(self) -> None:
        """Let a fork of ours hold nothing of the connection any more."""
        os.close(self._answers)
        self._vigil.leave()


def _is_there(id_: str, control: Control, starter: Starter) -> bool:
    """Say whether an order runs, or has an outcome that nobody took."""
    state = control.state(id_)
    if state is None:
        return False
    if not state.over:
        return starter.alive(id_)
    final = state.phase == "ended" or (state.fault and state.fault.kind == "input")
    return bool(final) and not control.is_taken(id_)
