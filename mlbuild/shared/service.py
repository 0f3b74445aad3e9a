"""Service: the process that moves results between a local store and the shared cache.

The courier of a build (`courier.py`), seen from inside: orders come through a pipe and are done by
threads, so that a hundred of them overlap; answers go back through another. Nothing is in the store
before its bytes have been verified, and nothing in the shared cache before the bytes that it names.

When the build has gone without a word, all is dropped at once. Who is let go in the background
first finishes the uploads that are queued, with those that earlier builds could not do.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import NoReturn

from mlbuild.core.redact import redacted
from mlbuild.core.result import Result
from mlbuild.errors import MlbuildError
from mlbuild.frames import receive, send
from mlbuild.shared.base import Shared, SharedTrouble
from mlbuild.shared.messages import (
    Bring,
    Brought,
    Found,
    Lookup,
    Message,
    Opening,
    Order,
    Push,
    Pushed,
    Said,
    Settle,
    Totals,
    packed,
    unpacked,
)
from mlbuild.shared.opened import open_shared
from mlbuild.sharing import Sharing
from mlbuild.store.disk import open_store
from mlbuild.store.files import remove
from mlbuild.store.locks import KeyLock
from mlbuild.store.private import take
from mlbuild.store.remote import Remote

LOOKUPS, BRINGS, PUSHES = 32, 8, 4  # threads
EVERY = 0.2  # seconds between two words on how far the uploads are
PATIENCE = 3600.0  # seconds that another process may take to bring the same tree


def main() -> NoReturn:
    """Serve the build whose pipes are our standard input and output."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints belongs into the log
    first = receive(0)
    opening = unpacked(first) if first is not None else None
    if isinstance(opening, Opening):
        Service(opening.root, opening.sharing, orders=0, answers=answers).serve()
    os._exit(0)  # threads may be waiting for the network


class Service:
    """Does what is ordered until the orders end."""

    def __init__(self, root: str, sharing: Sharing, *, orders: int, answers: int) -> None:
        self._store = open_store(root)
        self._sharing = sharing
        self._remote = Remote(root, sharing)
        self._orders = orders
        self._answers = answers
        self._telling = Lock()
        self._lookups = ThreadPoolExecutor(LOOKUPS)
        self._brings = ThreadPoolExecutor(BRINGS)
        self._pushes = ThreadPoolExecutor(PUSHES)
        self._opened: Future[Shared | None] = self._lookups.submit(self._open)
        self._known: set[str] = set()  # keys that have been looked up by this process
        self._uploads: list[Future[None]] = []
        self._seen: set[str] = set()  # keys whose upload was tried
        self._works = self._remote.has_rested()  # whether an upload is worth a try
        self._detached = False

    def serve(self) -> None:
        """Take orders until there are none; then finish what may go on without a build."""
        while order := receive(self._orders):
            self._take(unpacked(order))
        if not self._detached:
            return
        self._finish_uploads()
        if (shared := self._opened.result()) is not None:
            shared.close()
        self._store.close()

    def _open(self) -> Shared | None:
        try:
            return open_shared(self._sharing, root=self._store.root, say=self._say)
        except SharedTrouble as trouble:
            self._say(trouble.message, (trouble.cure,) if trouble.cure else ())
        except MlbuildError as error:
            self._say(error.message, error.hints)
        except Exception as error:  # noqa: BLE001 - a fault of ours, see below
            self._fault(error)
        return None

    def _take(self, order: Order) -> None:
        match order:
            case Lookup(key=key):
                act = partial(self._look_up, key)
                self._lookups.submit(self._guarded, act, Found(key, None))
            case Bring(key=key):
                act = partial(self._bring, order)
                self._brings.submit(self._guarded, act, Brought(key, here=False))
            case Push(key=key):
                self._upload([key])
            case Settle(upload=upload):
                self._settle(upload)

    def _settle(self, upload: str) -> None:
        """End with a build that wants no more results."""
        for pool in (self._lookups, self._brings):
            pool.shutdown(wait=False, cancel_futures=True)
        if upload == "wait":
            end = self._totals(over=True)
            ThreadPoolExecutor(1).submit(self._guarded, self._report_uploads, end)
            return
        self._detached = upload == "background"
        self._tell(self._totals(over=True))

    def _report_uploads(self) -> Message:
        """Finish all uploads, and say how it goes."""
        done = ThreadPoolExecutor(1).submit(self._finish_uploads)
        while wait([done], timeout=EVERY).not_done:
            self._tell(self._totals(over=False))
        return self._totals(over=True)

    def _totals(self, *, over: bool) -> Totals:
        shared = self._opened.result() if self._opened.done() else None
        down, up = (shared.traffic.down, shared.traffic.up) if shared else (0, 0)
        left = sum(not one.done() for one in self._uploads)
        if over:
            left = len(self._remote.queued())
        return Totals(down, up, left, over=over)

    # answers

    def _tell(self, answer: Message) -> None:
        """Write an answer; where nobody listens, nobody misses it."""
        with self._telling:
            try:
                send(self._answers, packed(answer))
            except OSError:
                return

    def _say(self, message: str, hints: tuple[str, ...] = ()) -> None:
        """Tell the build, and the log, what a user should know."""
        message = redacted(message, self._sharing.secrets)
        sys.stderr.write("\n".join((message, *hints, "")))
        sys.stderr.flush()
        self._tell(Said(message, hints))

    def _guarded(self, act: Callable[[], Message], otherwise: Message) -> None:
        """Tell what `act` returns; `otherwise` where it cannot be done. Never raises."""
        answer = otherwise
        try:
            answer = act()
        except SharedTrouble as trouble:  # told already, once for each cause
            told = redacted(trouble.message, self._sharing.secrets)
            sys.stderr.write(f"{trouble.kind}: {told}\n")
        except MlbuildError as error:
            self._say(error.message, error.hints)
        except Exception as error:  # noqa: BLE001 - a fault of ours costs time, never a build
            self._fault(error)
        finally:
            self._tell(answer)

    def _fault(self, error: Exception) -> None:
        sys.stderr.write(redacted(traceback.format_exc(), self._sharing.secrets))
        self._say(f"the shared cache is left out after a fault of mlbuild: {error!r}")

    # results

    def _look_up(self, key: str) -> Message:
        shared = self._opened.result()
        result = shared.lookup(key) if shared else None
        if result is not None and not (result.hermetic and result.share):
            result = None  # nobody sends such a thing by mistake
        if result is not None:
            self._known.add(key)
            self._remote.remember(key, result)
        return Found(key, result)

    def _bring(self, order: Bring) -> Message:
        here = False
        try:
            shared = self._opened.result()
            here = shared is not None and self._fetched(order, shared)
        finally:
            if not here:
                self._remote.forget(order.key)
        return Brought(order.key, here)

    def _fetched(self, order: Bring, shared: Shared) -> bool:
        """Put the tree, the log and the result of a key into the store; False when bytes lack."""
        key, result, store = order.key, order.result, self._store
        if store.place(result.tree) is None:
            with KeyLock(f"{store.root}/locks/tree-{result.tree.hash}", store.private) as lock:
                lock.acquire(PATIENCE)
                if store.place(result.tree) is None and not self._brought(key, result, shared):
                    return False
        if result.log is not None and store.missing([result.log]):
            content = shared.read(result.log)
            if content is None:  # nothing depends on it
                result = replace(result, log=None)
            else:
                store.put(content)
        store.publish(key, result, manifest=order.manifest)
        return True

    def _brought(self, key: str, result: Result, shared: Shared) -> bool:
        """Put a tree into the store."""
        if key not in self._known:  # remembered from an earlier build: where its bytes are, is not
            now = shared.lookup(key)
            if now is None or now.tree != result.tree:
                return False
            self._known.add(key)
        folder = self._store.scratch()
        try:
            tree = shared.bring_tree(result.tree, folder)
            return tree is not None and self._store.admit(folder, tree)
        finally:
            self._store.drop(folder)

    # uploads

    def _upload(self, keys: Iterable[str]) -> list[Future[None]]:
        """Begin to upload the results of `keys`."""
        begun = []
        for key in keys:
            self._seen.add(key)
            lost = Pushed(key, kept=False)
            begun.append(self._pushes.submit(self._guarded, partial(self._push, key), lost))
        self._uploads += begun
        return begun

    def _push(self, key: str) -> Message:
        """Upload a result; then it is not queued any more."""
        shared = self._opened.result()
        try:
            kept = shared is not None and self._sent(key, shared)
        except SharedTrouble:
            self._works = False
            self._remote.note_failure()
            raise
        if shared is not None:  # what is not here any more cannot be sent, now or ever
            self._works = True
            self._remote.dequeue(key)
        return Pushed(key, kept)

    def _sent(self, key: str, shared: Shared) -> bool:
        """Upload tree and log, then the result that names them; False when it is gone.

        Of some results only that they are is told: who needs their bytes makes them.
        """
        store = self._store
        result, manifest = store.lookup(key), store.manifest(key)
        if result is None or manifest is None or not (result.hermetic and result.share):
            return False
        if not self._remote.is_whole(key):
            shared.publish(key, replace(result, log=None), manifest=manifest)
            return True
        tree, place = store.tree(result.tree), store.place(result.tree)
        if tree is None or place is None:
            return False
        shared.send_tree(tree, place)
        if result.log is not None and (log := store.read(result.log)) is not None:
            shared.put(log)
        first = shared.publish(key, result, manifest=manifest)
        if (first.tree, first.outputs) != (result.tree, result.outputs):
            store.follow(key, first, ours=result)  # somebody was faster: from now on we use theirs
        return True

    def _finish_uploads(self) -> None:
        """Finish what was begun, then what earlier builds left, unless somebody is at that."""
        wait(self._uploads)
        while self._works and (
            rest := [key for key in self._remote.queued() if key not in self._seen]
        ):
            path = f"{self._remote.queue}/courier.lock"
            held = take(path)
            if held is None:
                return  # it looks again after it has let go
            try:
                wait(self._upload(rest))
            finally:
                remove(path)
                os.close(held)


if __name__ == "__main__":
    main()
