"""Uses: what the builds of workspaces took from a store, and where their outputs are shown.

A build leaves one file, `uses/<name>`: its workspace, and the keys of all results that it rests on.
The file's mtime is when it was last asked for the same, so that a null build, which looks at no
result, keeps them young by touching one file. A workspace that has such a file is known: the trees
that its `mlbuild-out` links to stay.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from mlbuild.core.action import OUT
from mlbuild.core.digest import digest_of
from mlbuild.store import files
from mlbuild.store.private import Private

FOLDER = "uses"
MAGIC = b"mlbuild uses 1"
_DEEP = 256  # folders below mlbuild-out that are looked into
_NAME = 32  # letters


@dataclass(frozen=True, slots=True)
class Use:
    """What one request of one workspace took."""

    path: str  # absolute, of the file
    workspace: str  # its root
    keys: tuple[str, ...]
    used: int  # ns


def note(private: Private, *, workspace: str, request: tuple[str, ...], keys: Iterable[str]) -> str:
    """Remember what a build took; return the path of the file, to be touched by later ones."""
    words = "\0".join((workspace, *request)).encode("utf-8", "surrogateescape")
    path = f"{private.root}/{FOLDER}/{digest_of(words).hash[:_NAME]}"
    name = private.name()
    parts = [MAGIC, os.fsencode(workspace), *(key.encode() for key in sorted(set(keys)))]
    files.write_new(name, b"\0".join(parts), mode=0o600)
    private.settle(name, path)
    return path


def uses(root: str) -> Iterator[Use]:
    """Yield what is remembered; a damaged file is removed."""
    for path in files.below(f"{root}/{FOLDER}"):
        content = files.read_file(path)
        if content is None:
            continue
        magic, _, rest = content.partition(b"\0")
        workspace, *keys = rest.split(b"\0")
        if magic != MAGIC or not workspace.startswith(b"/"):
            files.remove(path)
            continue
        with suppress(FileNotFoundError):
            used = os.lstat(path).st_mtime_ns
            yield Use(path, os.fsdecode(workspace), tuple(map(os.fsdecode, keys)), used)


def shown(root: str, workspace: str) -> set[str]:
    """Return the hashes of the trees that the links of a workspace lead into."""
    pattern = re.compile(re.escape(os.path.realpath(root)) + r"/trees/[0-9a-f]{2}/([0-9a-f]{64})")
    plain = re.compile(re.escape(root) + r"/trees/[0-9a-f]{2}/([0-9a-f]{64})")
    links = _links(f"{workspace}/{OUT}", depth=0)
    matches = (plain.match(link) or pattern.match(link) for link in links)
    return {found[1] for found in matches if found}


def _links(folder: str, *, depth: int) -> Iterator[str]:
    """Yield where the symlinks below a folder point."""
    try:
        with os.scandir(folder) as names:
            entries = list(names)
    except OSError:
        return
    for entry in entries:
        with suppress(OSError):
            if entry.is_symlink():
                yield os.readlink(entry.path)
            elif entry.is_dir(follow_symlinks=False) and depth < _DEEP:
                yield from _links(entry.path, depth=depth + 1)
