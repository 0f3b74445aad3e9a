"""Verify: read everything in a store again and compare it with its name."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlbuild.core.digest import Digest
from mlbuild.core.manifest import key_of
from mlbuild.core.result import decode
from mlbuild.errors import InputError
from mlbuild.store import files
from mlbuild.store.blobs import EXECUTABLE, PLAIN, STAMP
from mlbuild.store.private import Private
from mlbuild.store.sidecar import SUFFIX
from mlbuild.store.trees import Trees


@dataclass(slots=True)
class Report:
    """What a verification found. Paths are relative to the store's root."""

    blobs: int = 0
    trees: int = 0
    entries: int = 0
    manifests: int = 0
    damaged: list[str] = field(default_factory=list)
    healed: list[str] = field(default_factory=list)  # those of `damaged` that are whole again

    @property
    def seen(self) -> int:
        """How many things have been looked at."""
        return self.blobs + self.trees + self.entries + self.manifests

    @property
    def whole(self) -> bool:
        """Say whether everything that is in the store now is what its name says."""
        return len(self.damaged) == len(self.healed)


def verify(
    root: str,
    private: Private,
    trees: Trees,
    *,
    repair: bool,
    since: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> Report:
    """Hash all that changed at or after `since` (ns; 0 is everything) and say what is damaged.

    With `repair`, what is damaged goes to the quarantine, and trees are healed from blobs. `tell`
    hears again and again how many things have been looked at.
    """
    report = Report()
    check = _Check(root, private, trees, report, repair=repair, since=since, tell=tell)
    check.blobs()
    check.trees()
    check.entries()
    check.manifests()
    return report


class _Check:
    """One verification on its way."""

    def __init__(
        self,
        root: str,
        private: Private,
        trees: Trees,
        report: Report,
        *,
        repair: bool,
        since: int,
        tell: Callable[[int], None],
    ) -> None:
        self._root = root
        self._private = private
        self._trees = trees
        self._report = report
        self._repair = repair
        self._since = since
        self._tell = tell

    def blobs(self) -> None:
        """Compare each blob with its name."""
        for kind in (PLAIN, EXECUTABLE):
            for path in self._files(kind):
                if path.endswith(STAMP):
                    continue
                self._report.blobs += 1
                found = files.hash_path(path)
                if found is None or found.hash != os.path.basename(path):
                    self._damaged(path)

    def trees(self) -> None:
        """Compare each complete tree with its listing; one without a sidecar is none."""
        for path in self._files("trees"):
            if not path.endswith(SUFFIX):
                continue
            self._report.trees += 1
            place = path.removesuffix(SUFFIX)
            digest = Digest(os.path.basename(place), 0)
            if self._trees.proven(digest):
                continue
            if not self._damaged(path, aside=False) or not self._repair:
                continue
            self._private.quarantine(place)
            if self._trees.place(digest) is not None:
                self._report.healed.append(os.path.relpath(path, self._root))
            else:
                self._private.quarantine(path)

    def entries(self) -> None:
        """Compare each result with its own checksum."""
        for path in self._files("ac"):
            self._report.entries += 1
            try:
                decode(files.read_file(path) or b"")
            except (InputError, ValueError, KeyError, TypeError):
                self._damaged(path)

    def manifests(self) -> None:
        """Compare each manifest with its key."""
        for path in self._files("manifests"):
            self._report.manifests += 1
            if key_of(files.read_file(path) or b"") != os.path.basename(path):
                self._damaged(path)

    def _damaged(self, path: str, *, aside: bool = True) -> bool:
        """Note what is damaged, unless somebody removed it meanwhile; say whether it is there."""
        if not os.path.lexists(path):
            return False
        self._report.damaged.append(os.path.relpath(path, self._root))
        if self._repair and aside:
            self._private.quarantine(path)
        return True

    def _files(self, kind: str) -> Iterator[str]:
        """Yield the files below root/kind/*/ that changed since."""
        for shard in _names(f"{self._root}/{kind}"):
            folder = f"{self._root}/{kind}/{shard}"
            for name in _names(folder):
                path = f"{folder}/{name}"
                # A sidecar is touched when its tree is used; the tree itself is not.
                place = path.removesuffix(SUFFIX)
                looked = place if os.path.isdir(place) else path
                self._tell(self._report.seen)
                try:
                    if self._since and os.lstat(looked).st_ctime_ns < self._since:
                        continue
                except FileNotFoundError:
                    continue
                yield path


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
