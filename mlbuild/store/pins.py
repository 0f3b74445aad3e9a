"""Pins: results that stay until somebody says otherwise.

A pin is one file, `pins/<name>`: a target of a workspace, and the keys of what it rested on when it
was pinned. It keeps those results also after the target has changed.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlbuild.core.digest import digest_of
from mlbuild.store import files
from mlbuild.store.private import Private

FOLDER = "pins"
_NAME = 32  # letters


@dataclass(frozen=True, slots=True)
class Pin:
    """One pinned target."""

    label: str
    workspace: str  # its root
    keys: tuple[str, ...]
    when: str  # UTC, `2026-11-21T10:56:00Z`


def pin(private: Private, label: str, *, workspace: str, keys: Iterable[str]) -> Pin:
    """Keep the results of `keys`; a pin that the target had before gives way."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made = Pin(label, workspace, tuple(sorted(set(keys))), when)
    fields = {"label": label, "workspace": workspace, "keys": made.keys, "when": when}
    name = private.name()
    files.write_new(name, json.dumps(fields).encode(), mode=0o600)
    private.settle(name, _path(private.root, label, workspace))
    return made


def unpin(root: str, label: str, *, workspace: str) -> bool:
    """Let a target go; say whether it was pinned.

    Pins of workspaces that are gone are found by their label alone.
    """
    path = _path(root, label, workspace)
    found = os.path.lexists(path)
    files.remove(path)
    for one in list(pins(root)):
        if one.label == label and not os.path.isdir(one.workspace):
            files.remove(_path(root, label, one.workspace))
            found = True
    return found


def pins(root: str) -> Iterator[Pin]:
    """Yield all pins, the oldest first; what cannot be read is none."""
    found = []
    for path in files.below(f"{root}/{FOLDER}"):
        try:
            fields = json.loads(files.read_file(path) or b"")
            keys = tuple(str(key) for key in fields["keys"])
            found.append(Pin(fields["label"], fields["workspace"], keys, fields["when"]))
        except (ValueError, KeyError, TypeError):
            continue
    yield from sorted(found, key=lambda one: (one.when, one.label))


def _path(root: str, label: str, workspace: str) -> str:
    words = f"{workspace}\0{label}".encode("utf-8", "surrogateescape")
    return f"{root}/{FOLDER}/{digest_of(words).hash[:_NAME]}"
