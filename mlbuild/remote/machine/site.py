"""Site: what a machine that runs orders keeps: its store, and the bucket that others write to."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

from mlbuild import __version__
from mlbuild.config import load
from mlbuild.core.digest import Digest
from mlbuild.core.limits import limits_of
from mlbuild.exec.gpus import Gpus
from mlbuild.exec.host import platform_id
from mlbuild.exec.numerics import cpu_class
from mlbuild.exec.room import Room, free
from mlbuild.exec.toolchain import Toolchain
from mlbuild.remote.control import JOBS
from mlbuild.remote.facts import Facts
from mlbuild.shared.base import Bucket, SharedTrouble
from mlbuild.shared.folder import FolderBucket
from mlbuild.store.collect import collect
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.store.gc import now_of, plan
from mlbuild.store.private import take
from mlbuild.store.survey import survey

KEPT = 7 * 24 * 3600.0  # seconds that the bucket keeps what nobody renews
_DAY = 24 * 3600.0


class Site:
    """The store at the absolute path `root`, and what runs on it; `environ` is this machine's."""

    def __init__(self, root: str, environ: Mapping[str, str]) -> None:
        self.root = root
        self.environ = environ
        self.host = os.uname().nodename
        search = environ.get("PATH", "")
        self.gpus = Gpus(search)
        self.toolchain = Toolchain(os.path.join(root, "tools"), search=search)

    def open(self) -> DiskStore:
        """Open the store; make it where there is none."""
        return open_store(self.root)

    def bucket(self) -> Bucket:
        """Return the bucket that lies beside the store, for who has no other."""
        folder = f"{self.root}/remote"
        os.makedirs(folder, 0o700, exist_ok=True)
        # A power cut ends all runs anyway: what it damages is started anew.
        return FolderBucket(folder, durable=False)

    def look(self, id_: str) -> tuple[int, int]:
        """Return what changes whenever the state of an order in that bucket does."""
        try:
            found = os.stat(f"{self.root}/remote/jobs/{id_}/state", follow_symlinks=False)
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def lacks(self, trees: list[Digest]) -> list[Digest]:
        """Return those of `trees` that are not in the store."""
        store = DiskStore(self.root)
        return [tree for tree in trees if store.place(tree) is None]

    def take(self, id_: str) -> int | None:
        """Return a descriptor that holds the right to run an order; None when it is run now."""
        os.makedirs(f"{self.root}/locks", 0o700, exist_ok=True)
        return take(f"{self.root}/locks/job-{id_}")

    def free(self) -> int:
        """Return the bytes that are free on the disk of the store."""
        place = self.root
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        return free(place)

    def room(self) -> Room:
        """Return what this machine has for commands."""
        cores = len(os.sched_getaffinity(0))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Room(f"`{self.host}`", cores, memory, max(1, self.free()), self.root)

    def facts(self) -> Facts:
        """Return what this machine is."""
        room = self.room()
        version = ".".join(map(str, sys.version_info[:3]))
        return Facts(
            self.host,
            __version__,
            version,
            platform_id(),
            cpu_class(),
            room.cpus,
            room.memory,
            room.free,
            self.root,
        )

    def collect(self, store: DiskStore) -> None:
        """Remove garbage of the store, as its own settings say; looks at most once a day."""
        config = load("/", environ=self.environ, flags={})
        lock = take(f"{self.root}/locks/gc") if self._is_due("collected") else None
        if lock is None:
            return
        try:
            now = now_of(store)
            found = survey(self.root)
            disk = os.statvfs(self.root)
            limits = limits_of(
                *(config.max_size, config.max_age),
                disk=disk.f_blocks * disk.f_frsize,
                room=found.size + disk.f_bavail * disk.f_frsize,
            )
            collect(store, plan(found, limits, now=now))
        finally:
            os.close(lock)

    def _is_due(self, what: str) -> bool:
        """Say whether a day has gone since this was last true."""
        mark = f"{self.root}/remote/.{what}"
        try:
            if time.time_ns() / 1e9 - os.stat(mark).st_mtime < _DAY:
                return False
        except FileNotFoundError:
            pass
        with open(mark, "wb"):
            os.utime(mark)
        return True

    def sweep(self) -> None:
        """Remove what has lain in the bucket for a week; looks at most once a day.

        All of a job stays while some of it is renewed, however long it runs.
        """
        bucket = self.bucket()
        with suppress(OSError, SharedTrouble):
            if self._is_due("swept"):
                oldest = time.time_ns() / 1e9 - KEPT
                found = [*bucket.names("")]
                young = {_whole(one.name) for one in found if one.modified >= oldest}
                bucket.remove([one.name for one in found if _whole(one.name) not in young])
                _remove_empty(f"{self.root}/remote/{JOBS}", oldest)


def _whole(name: str) -> str:
    """Return what an object is a part of: a job, or only itself."""
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == JOBS else name


def _remove_empty(place: str, oldest: float) -> None:
    """Remove the folders in a folder that have been empty since a moment."""
    with os.scandir(place) as folders:
        for one in folders:
            if one.stat(follow_symlinks=False).st_mtime < oldest:
                with suppress(OSError):  # it is not empty
                    os.rmdir(one.path)


def site_of(root: str, environ: Mapping[str, str]) -> Site:
    """Return the site at `root`; "" is where this machine's own settings keep the store."""
    if not root:
        root = load("/", environ=environ, flags={}).cache_dir
    home = environ.get("HOME", "")
    if root.startswith("~/") and home:
        root = home + root[1:]
    return Site(os.path.abspath(root), environ)
