"""Packages: what queries ask of packages, and of the files that they are read from."""

import os
from collections.abc import Iterable

from mlbuild.errors import InputError, did_you_mean
from mlbuild.query.paths import Labels
from mlbuild.query.record import BUILD_FILE, RULES, Record, order, package_of, path_of
from mlbuild.query.universe import Universe


def siblings(universe: Universe, labels: Labels) -> Labels:
    """Return everything in the packages of `labels`."""
    return {
        label: None
        for record in _records(universe, labels)
        for label in universe.members(record.path)
    }


def buildfiles(universe: Universe, labels: Labels) -> Labels:
    """Return the BUILD.ml of the packages of `labels`, and the .bzl files that they load.

    The BUILD.ml of the packages that those .bzl files lie in are among them.
    """
    found: Labels = {}
    for record in _records(universe, labels):
        found[_build_file(record.path)] = None
        for label in _loaded(universe, record):
            found[label] = None
            above = package_of(label)
            if not label.startswith(RULES) and _is_package(universe, above):
                found[universe.enter_file(path_of(_build_file(above)))] = None
    return found


def loadfiles(universe: Universe, labels: Labels) -> Labels:
    """Return the .bzl files that the packages of `labels` load."""
    return {
        label: None for record in _records(universe, labels) for label in _loaded(universe, record)
    }


def rbuildfiles(universe: Universe, files: Iterable[str], *, package: str) -> Labels:
    """Return the BUILD.ml files of the workspace that any of `files` takes part in.

    A file is a label, or a path from the root of the workspace or from `package`.
    """
    wanted = {path for file in files for path in _paths(universe, file, package)}
    found: Labels = {}
    for record in _all(universe):
        label = _build_file(record.path)
        if path_of(label) in wanted or not wanted.isdisjoint(record.loads):
            found[label] = None
    return found


def owner(universe: Universe, file: str, *, package: str) -> Labels:
    """Return the targets of the workspace that name `file`, or a folder that holds it.

    Of a folder, those that name something in it are among them.
    Of a BUILD.ml, the targets that it declares; of a .bzl file, those of the packages that load it.
    """
    paths = _paths(universe, file, package)
    above = {folder for path in paths for folder in _and_above(path)}
    inside = tuple(f"{path}/" for path in paths)
    found: Labels = {}
    for record in _all(universe):
        reads = {path_of(_build_file(record.path)), *record.loads}
        if not reads.isdisjoint(paths):
            found.update(dict.fromkeys(record.targets))
            continue
        for label in record.targets:
            named = [path_of(one) for one in universe.below(label)]
            if any(one in above or one.startswith(inside) for one in named):
                found[label] = None
    if not found and not any(os.path.lexists(os.path.join(universe.root, one)) for one in paths):
        here = os.path.join(universe.root, os.path.dirname(paths[0]))
        names = os.listdir(here) if os.path.isdir(here) else []
        raise InputError(
            f"there is no file `{file}`", hints=did_you_mean(os.path.basename(file), names)
        )
    return dict.fromkeys(sorted(found, key=order))


def _paths(universe: Universe, file: str, package: str) -> list[str]:
    """Return the paths, relative to the workspace, that a word may mean."""
    if file.startswith(RULES):
        return [file]
    if file.startswith(("//", ":")):
        whole = f"//{package}{file}" if file.startswith(":") else file
        name = whole if ":" in whole else f"{whole}:{whole.rpartition('/')[2]}"
        return [path_of(name)]
    if os.path.isabs(file):
        return [os.path.relpath(file, universe.root)]
    inside = os.path.normpath(os.path.join(package, file))
    plain = os.path.normpath(file)
    if inside != plain and os.path.lexists(os.path.join(universe.root, inside)):
        return [inside]
    return [plain]


def _records(universe: Universe, labels: Iterable[str]) -> list[Record]:
    """Return the packages of `labels`; files may lie in none."""
    found: dict[str, Record] = {}
    for path in dict.fromkeys(package_of(one) for one in labels if not one.startswith(RULES)):
        if not _is_package(universe, path):
            continue
        try:
            found[path] = universe.record(path)
        except InputError as error:
            universe.fault(error)
    return list(found.values())


def _all(universe: Universe) -> list[Record]:
    """Return all packages of the workspace."""
    found: list[Record] = []
    for path in universe.packages():
        try:
            found.append(universe.record(path))
        except InputError as error:
            universe.fault(error)
    return found


def _loaded(universe: Universe, record: Record) -> list[str]:
    return [universe.enter_file(path) for path in record.loads]


def _build_file(package: str) -> str:
    return f"//{package}:{BUILD_FILE}"


def _is_package(universe: Universe, path: str) -> bool:
    return os.path.lexists(os.path.join(universe.root, path, BUILD_FILE))


def _and_above(path: str) -> list[str]:
    found = [path]
    while "/" in found[-1]:
        found.append(found[-1].rpartition("/")[0])
    return found
