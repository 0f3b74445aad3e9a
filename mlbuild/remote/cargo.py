"""Cargo: the inputs of a job as trees, so that only those travel that are missing elsewhere.

A folder is a tree of its own, and so is each large file: what did not change is not sent again.
All small files of a job make one tree.
"""

import os
from dataclasses import dataclass

from mlbuild.columns import SKIPPED
from mlbuild.core.digest import Digest
from mlbuild.core.result import Content
from mlbuild.core.tree import Entry, Kind, Tree, digest_tree, tree_of
from mlbuild.errors import InputError
from mlbuild.exec.base import Job, Staged, Tool
from mlbuild.exec.sandbox import SMALL, InputChanged, content_of
from mlbuild.remote.freight import Freight
from mlbuild.remote.order import Item
from mlbuild.remote.outputs import digest_of_file, scan

_KINDS = {"f": Kind.FILE, "x": Kind.EXECUTABLE}


@dataclass(frozen=True, slots=True)
class Cargo:
    """What a job reads: an Item for each input, and what makes up their trees."""

    items: tuple[Item, ...]
    sources: dict[Digest, tuple[Staged, ...]]  # by tree: one folder, one large file, or small files


def cargo_of(job: Job) -> Cargo:
    """Return the cargo of `job`; nothing is read. Raises InputError for names of no tree."""
    items: dict[str, Item] = {}
    sources: dict[Digest, tuple[Staged, ...]] = {}
    small = []
    for one in job.inputs:
        digest = one.content.digest
        if one.content.kind == "t":
            tree, below = digest, ""
        elif digest.size > SMALL:
            below = os.path.basename(one.place)
            tree = digest_tree(_alone(one))
        else:
            small.append(one)
            continue
        items[one.path] = Item(one.path, one.content, tree, below)
        sources[tree] = (one,)
    if small:
        tree = digest_tree(_together(small))
        sources[tree] = tuple(small)
        items |= {one.path: Item(one.path, one.content, tree, one.path) for one in small}
    return Cargo(tuple(items[one.path] for one in job.inputs), sources)


def send(tree: Digest, sources: tuple[Staged, ...], job: Job, *, freight: Freight) -> None:
    """Send one tree of the cargo of `job`.

    Raises InputChanged for what is not what was hashed, and SharedTrouble.
    """
    first = sources[0]
    if first.content.kind == "t":
        listing, folder = _listed(first), first.place
        if digest_tree(listing) != tree:
            listing = _without_skipped(listing)  # it is a folder of the workspace
        if digest_tree(listing) != tree:
            raise InputChanged(first.path)
    elif first.content.digest.size > SMALL:
        listing, folder = _alone(first), os.path.dirname(first.place)
    else:
        listing, folder = _together(sources), f"{job.scratch}/cargo"
        _copy(sources, folder, job.known)
    try:
        freight.send(listing, folder)
    except (InputError, FileNotFoundError) as error:
        raise InputChanged(first.path) from error


def send_tool(tool: Tool, *, freight: Freight) -> tuple[Digest, str]:
    """Send a tool that is one file; return its tree, and the path in it."""
    folder, _, name = tool.root.rpartition("/")
    listing = tree_of([Entry(name, Kind.EXECUTABLE, digest_of_file(tool.root))])
    return freight.send(listing, folder), name


def _alone(one: Staged) -> Tree:
    return tree_of([_entry(os.path.basename(one.place), one.content)])


def _together(small: "list[Staged] | tuple[Staged, ...]") -> Tree:
    return tree_of(_entry(one.path, one.content) for one in small)


def _entry(path: str, content: Content) -> Entry:
    return Entry(path, _KINDS[content.kind], content.digest)


def _listed(one: Staged) -> Tree:
    """Return the listing of a folder, whose links all stay inside."""
    try:
        tree, odd = scan(one.place)
    except FileNotFoundError as error:
        raise InputChanged(one.path) from error
    if odd:
        raise InputError(f"`{one.path}/{odd[0][0]}` leads out of its folder, or is no file")
    return tree


def _without_skipped(tree: Tree) -> Tree:
    """Return a tree without what is never an input of anything."""
    return Tree(tuple(one for one in tree.entries if SKIPPED.isdisjoint(one.path.split("/"))))


def _copy(sources: tuple[Staged, ...], folder: str, known: dict[str, bytes]) -> None:
    """Write small files below `folder`, each checked against its digest."""
    for one in sources:
        content = content_of(one, known=known)
        place = f"{folder}/{one.path}"
        os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
        if not os.path.exists(place):
            with open(place, "xb") as file:
                file.write(content)
