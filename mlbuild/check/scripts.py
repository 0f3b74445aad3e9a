"""Scripts: the Python files of a workspace, each read once, and what their imports lead to."""

import marshal
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import astuple

from mlbuild.check.python import Import, Script, read_script
from mlbuild.core.digest import digest_of
from mlbuild.state import keep

MAX_SCRIPT = 1 << 20  # bytes: what is longer was not written by hand
_CHECK = 4  # bytes of a checksum
_VERSION = f"1 {sys.hexversion:x}"  # changes with what is kept, and with Python


class Scripts:
    """What Python files say, by content; `state` is the file that it is kept in."""

    def __init__(self, root: str, *, state: str) -> None:
        self._root = root
        self._state = state
        self._known = _kept(state)
        self._used: dict[str, tuple[object, ...]] = {}
        self._read: dict[str, Script] = {}
        self._kinds: dict[str, str] = {}

    def script(self, path: str) -> Script:
        """Return what the file imports; nothing where it cannot be read."""
        found = self._read.get(path)
        if found is None:
            found = self._read[path] = self._script(path)
        return found

    def keep(self) -> None:
        """Keep what was read for the next time."""
        if self._used != self._known:
            body = marshal.dumps((_VERSION, self._used))
            keep(self._state, zlib.crc32(body).to_bytes(_CHECK, "big") + body)

    def _script(self, path: str) -> Script:
        place = os.path.join(self._root, path)
        try:
            if not os.path.isfile(place) or os.path.getsize(place) > MAX_SCRIPT:
                return Script()
            with open(place, "rb") as file:
                source = file.read()
        except OSError:
            return Script()
        name = digest_of(source).hash
        plain = self._used.get(name) or self._known.get(name)
        found = read_script(source) if plain is None else _script_of(plain)
        self._used[name] = astuple(found) if plain is None else plain
        return found

    def files_of(self, one: Import, importer: str, *, roots: Sequence[str]) -> list[str]:
        """Return the workspace files that an import in the file `importer` needs, outermost first.

        `roots` are the folders that modules are looked for in. Empty for what lies elsewhere.
        """
        parts = one.module.split(".") if one.module else []
        if one.level:
            folder = importer
            for _ in range(one.level):
                folder = os.path.dirname(folder)
            return self._below(folder, parts, one.name)
        for root in roots:
            found = self._below(root, parts, one.name)
            if found:
                return found
        return []

    def _below(self, folder: str, parts: Sequence[str], name: str) -> list[str]:
        """Return the files that `from parts import name` reads, seen from `folder`."""
        found: list[str] = []
        for part in parts:
            path = _joined(folder, part)
            init = f"{path}/__init__.py"
            if self._kind(init) == "file":
                found.append(init)
            elif self._kind(f"{path}.py") == "file":
                return [*found, f"{path}.py"]  # what follows are names in it
            elif self._kind(path) != "folder":
                return found
            folder = path
        init = found[-1] if found else ""
        if name and not (init.startswith(f"{folder}/") and name in self.script(init).names):
            path = _joined(folder, name)
            found += [
                one for one in (f"{path}/__init__.py", f"{path}.py") if self._kind(one) == "file"
            ][:1]
        return found

    def _kind(self, path: str) -> str:
        """Return "file", "folder" or "" for a workspace path."""
        kind = self._kinds.get(path)
        if kind is None:
            place = os.path.join(self._root, path)
            kind = "file" if os.path.isfile(place) else "folder" if os.path.isdir(place) else ""
            self._kinds[path] = kind
        return kind

    def is_empty(self, path: str) -> bool:
        """Say whether a file has nothing in it."""
        try:
            return os.path.getsize(os.path.join(self._root, path)) == 0
        except OSError:
            return True


def _kept(place: str) -> dict[str, tuple[object, ...]]:
    """Return what is kept in a file, nothing where it is damaged."""
    try:
        with open(place, "rb") as file:
            content = file.read()
        body = content[_CHECK:]
        if content[:_CHECK] != zlib.crc32(body).to_bytes(_CHECK, "big"):
            return {}
        version, found = marshal.loads(body)  # noqa: S302 - ours, and only texts and numbers
    except (OSError, ValueError, EOFError, TypeError):
        return {}
    return found if version == _VERSION else {}


def _script_of(plain: tuple[object, ...]) -> Script:
    imports, *rest = plain
    return Script(tuple([Import(*one) for one in imports]), *rest)  # type: ignore[attr-defined,arg-type]


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
