"""Checkout: `mlbuild-out/<package>/<target>` is a symlink to the target's tree in the store.

A target may be named like a package (`//:models` and `//models:lenet`). Then `mlbuild-out/models`
is a folder: it holds one link per top entry of the first one's tree (a spread), and `lenet`.
Only folders and symlinks under mlbuild-out are ours; anything else is never touched.
"""

import os
import re
import stat
from itertools import count

from mlbuild.core.digest import Digest
from mlbuild.errors import InputError
from mlbuild.store import files
from mlbuild.store.disk import DiskStore

_TREE = re.compile(r"/trees/[0-9a-f]{2}/[0-9a-f]{64}(/.*)?$", re.DOTALL)
_ASIDE = ".mlbuild-"  # starts the names, with the process's number, of what is not yet in place
_serial = count()
_swept: set[str] = set()  # folders that were looked at by this process


def checkout(store: DiskStore, *, out_root: str, package_target: str, tree: Digest) -> str:
    """Make `out_root`/`package_target` show `tree`, which has been placed; return that path.

    The change is atomic. Raises InputError when something of the user's is in the way.
    """
    path, place = f"{out_root}/{package_target}", store.path(tree)
    try:
        if os.readlink(path) == place:
            return path
    except OSError:
        pass
    with files.disk_errors(store.root):
        _make_folders(out_root, package_target)
        try:
            os.symlink(place, path)
        except FileExistsError:
            if _is_folder(path):
                _spread(path, place)
            else:
                _point(path, place)
    return path


def _make_folders(out_root: str, package_target: str) -> None:
    """Make the folders above the link; a link of ours among them becomes a spread."""
    path = out_root
    for part in package_target.split("/")[:-1]:
        path = f"{path}/{part}"
        if _is_folder(path):
            continue
        try:
            os.makedirs(path)
        except FileExistsError:
            if not _is_folder(path):
                _link_to_spread(path)
    if path == out_root:
        os.makedirs(out_root, exist_ok=True)


def _link_to_spread(path: str) -> None:
    """Replace a link to a tree by a folder of links to its top entries."""
    target = _target(path)
    shown = None if target is None else _TREE.search(target)
    if target is None or (os.path.isdir(path) and shown is None):
        raise _in_the_way(path)
    aside = _aside(path)
    os.mkdir(aside)
    if shown is not None and os.path.isdir(target):
        _spread(aside, target)
    files.remove(path)
    os.rename(aside, path)


def _spread(folder: str, place: str) -> None:
    """Make `folder` hold a link to each top entry of `place`, and no other entry of a tree."""
    wanted = set(os.listdir(place))
    for name in os.listdir(folder):
        target = _target(f"{folder}/{name}")
        if target is None and not _is_folder(f"{folder}/{name}"):
            raise _in_the_way(f"{folder}/{name}")
        shown = None if target is None else _TREE.search(target)
        if name in wanted and not (shown and shown[1]):
            raise InputError(
                f"`{folder}/{name}` is an output of two targets",
                hints=("rename the output or one of the targets",),
            )
        if name not in wanted and shown and shown[1]:
            files.remove(f"{folder}/{name}")
    for name in wanted:
        if _target(f"{folder}/{name}") != f"{place}/{name}":
            _point(f"{folder}/{name}", f"{place}/{name}")


def _point(path: str, place: str) -> None:
    """Make `path` a symlink to `place` in one step."""
    if _target(path) is None and os.path.lexists(path):
        raise _in_the_way(path)
    aside = _aside(path)
    os.symlink(place, aside)
    try:
        os.rename(aside, path)
    except BaseException:
        files.remove(aside)
        raise


def _aside(path: str) -> str:
    """Return a name beside `path` that nobody uses."""
    parent, _, _ = path.rpartition("/")
    if parent not in _swept:
        _swept.add(parent)
        _sweep(parent)
    return f"{parent}/{_ASIDE}{os.getpid()}-{next(_serial)}"


def _sweep(folder: str) -> None:
    """Remove what a process that was killed left beside the links of `folder`."""
    for name in os.listdir(folder):
        if name.startswith(_ASIDE):
            pid = name.removeprefix(_ASIDE).partition("-")[0]
            if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                files.remove(f"{folder}/{name}")


def _target(path: str) -> str | None:
    """Return where the symlink at `path` points; None when it is none."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _in_the_way(path: str) -> InputError:
    return InputError(
        f"`{path}` is not of mlbuild, and an output belongs there",
        hints=("move it away; everything under mlbuild-out is made by mlbuild",),
    )
