"""Outputs: what an execution left in a server, brought into the folder of a job, verified."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlbuild.core.tree import MAX_DEPTH, safe_name
from mlbuild.remote.outage import Outage
from mlbuild.shared import reapi_messages as wire
from mlbuild.shared.reapi_blobs import Blobs, Wanted
from mlbuild.shared.reapi_records import Spot
from mlbuild.store import files

_HASH = 32  # bytes


@dataclass(frozen=True, slots=True)
class Brought:
    """What an execution said and left."""

    printed: bytes
    told: str  # by our script
    trees: dict[str, Any]  # Tree messages by output path
    seconds: float  # that the command took


def brought(result: Any, blobs: Blobs, *, told: str) -> Brought:
    """Return what an ActionResult names, all but the files of its folders, in one request.

    `told` is the path of the file with what our script has to tell.
    """
    notes = [file for file in result.output_files if file.path == told]
    digests = [folder.tree_digest for folder in result.output_directories]
    digests += [result.stdout_digest, result.stderr_digest]
    digests += [file.digest for file in notes]
    found = _contents(digests, blobs)
    times = result.execution_metadata

    def content(digest: Any) -> bytes:
        return found[digest.hash] if digest.size_bytes else b""

    return Brought(
        (result.stdout_raw or content(result.stdout_digest))
        + (result.stderr_raw or content(result.stderr_digest)),
        "".join(
            (file.contents or content(file.digest)).decode("utf-8", "replace") for file in notes
        ),
        {folder.path: _tree(content(folder.tree_digest)) for folder in result.output_directories},
        max(
            _moment(times.execution_completed_timestamp) - _moment(times.execution_start_timestamp),
            0.0,
        ),
    )


def _contents(digests: list[Any], blobs: Blobs) -> dict[str, bytes]:
    """Return bytes by hash; raise Outage when the server does not have them."""
    spots = {digest.hash: _spot(digest) for digest in digests if digest.size_bytes}
    found = blobs.contents(list(spots.values()))
    if lacking := [name for name, spot in spots.items() if spot.hash not in found]:
        raise Outage(f"the server has lost a part of the result, `{lacking[0]}`")
    return {name: found[spot.hash] for name, spot in spots.items()}


def _spot(digest: Any) -> Spot:
    try:
        name = bytes.fromhex(digest.hash)
    except ValueError:
        name = b""
    if len(name) != _HASH or digest.size_bytes < 0:
        raise Outage(f"the server names a blob `{digest.hash[:80]}`, which is no hash")
    return Spot(name, digest.size_bytes)


def _tree(content: bytes) -> Any:
    try:
        return wire.Tree.FromString(content)
    except wire.DecodeError as error:
        raise Outage("the server sent a folder that cannot be read") from error


def _moment(moment: Any) -> float:
    return float(moment.seconds + moment.nanos / 1e9)


# folders


def write(tree: Any, folder: str, blobs: Blobs) -> None:
    """Write the files of a Tree message into `folder`, in place of what is there.

    Raises Outage when bytes are gone or wrong, or names make no sense.
    """
    files.remove(folder)
    os.mkdir(folder, 0o755)
    known = {_name(child, blobs): child for child in tree.children}
    wanted: dict[tuple[bytes, int], list[tuple[str, int]]] = {}
    for path, file in _walk(tree.root, folder, known, depth=0):
        spot = _spot(file.digest)
        mode = 0o755 if file.is_executable else 0o644
        wanted.setdefault((spot.hash, spot.size), []).append((path, mode))
    for path, mode in wanted.pop((blobs.hash(b""), 0), []):
        files.write_new(path, b"", mode=mode)
    if not blobs.bring([Wanted(None, Spot(*spot), tuple(paths)) for spot, paths in wanted.items()]):
        raise Outage("the server has lost or damaged a part of the result")


def _name(message: Any, blobs: Blobs) -> str:
    return blobs.hash(message.SerializeToString(deterministic=True)).hex()


def _walk(
    directory: Any, place: str, known: dict[str, Any], *, depth: int
) -> Iterator[tuple[str, Any]]:
    """Make the folders and symlinks below `place`; yield the paths of files and their nodes."""
    if depth > MAX_DEPTH:
        raise Outage("the server sent folders that lie in each other without end")
    names: set[str] = set()
    for node in (*directory.files, *directory.directories, *directory.symlinks):
        if not safe_name(node.name) or "/" in node.name or node.name in names:
            raise Outage(f"the server sent a file called `{node.name!r}`, which is no name")
        names.add(node.name)
    for link in directory.symlinks:
        os.symlink(link.target, f"{place}/{link.name}")
    for node in directory.directories:
        below = known.get(node.digest.hash)
        if below is None:
            raise Outage("the server sent a folder that is not complete")
        os.mkdir(f"{place}/{node.name}", 0o755)
        yield from _walk(below, f"{place}/{node.name}", known, depth=depth + 1)
    for file in directory.files:
        yield f"{place}/{file.name}", file
