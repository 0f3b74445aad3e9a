"""Objects: the contents of git objects, read through one process of git."""

import contextlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mlbuild.errors import HostError
from mlbuild.git.repository import Repository, git_command, no_git

_PIECE = 1 << 20  # bytes of what nobody wants that are read at a time


@dataclass(frozen=True, slots=True)
class Object:
    """One object: what it is, and its bytes, unless there are too many."""

    kind: str  # "blob", "tree" or "commit"
    size: int
    content: bytes | None


class Objects:
    """Reads objects by id, or by any name of git without a line end. Used in a `with`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        command = git_command(repository.folder, ("cat-file", "--batch"))
        try:
            self._process = subprocess.Popen(
                command,
                env=repository.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except OSError as error:
            self._said.close()
            raise no_git(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._said.close()

    def read(self, name: str, *, most: int | None = None) -> Object:
        """Return an object; one of more than `most` bytes without its content.

        In a partial clone git fetches what is not here. Raises HostError where an object is absent.
        """
        found = self._find(name, most=most)
        if found is None:
            raise self._lost(name)
        return found

    def _find(self, name: str, *, most: int | None) -> Object | None:
        """Return an object, None where there is none of that name."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out = self._process.stdout
        try:
            self._process.stdin.write(name.encode("utf-8", "surrogateescape") + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._lost(name) from None
        head = out.readline().split()
        if head[-1:] == [b"missing"]:
            return None
        if len(head) != 3 or not head[2].isdigit():  # noqa: PLR2004 - id, kind, size
            raise self._lost(name)
        kind, size = head[1].decode(), int(head[2])
        if most is not None and size > most:
            self._skip(size + 1)
            return Object(kind, size, None)
        content = out.read(size)
        if len(content) != size:
            raise self._lost(name)
        out.read(1)
        return Object(kind, size, content)

    def tree_of(self, commit: str) -> str:
        """Return the id of the tree of a commit; "" for what is no commit, or is not here."""
        found = self._find(commit, most=None)
        if found is None or found.kind != "commit" or found.content is None:
            return ""
        return found.content[5 : found.content.index(b"\n")].decode()

    def _skip(self, size: int) -> None:
        assert self._process.stdout is not None
        while size > 0:
            size -= len(self._process.stdout.read(min(size, _PIECE))) or size

    def _lost(self, name: str) -> HostError:
        """Return the error for an object that git cannot give."""
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        why = re.sub(r"^(fatal|error): ", "", lines[-1]) if lines else ""
        promised = self._repository.run("config", "--get-regexp", r"^remote\..*\.promisor$")
        if not promised.code:
            return HostError(
                f"the object `{name}` is not in this partial clone, and could not be fetched",
                hints=("git needs its remote for that: look at the network and at your access",),
                notes=(why,) if why else (),
            )
        return HostError(
            f"the repository lacks the object `{name}`",
            hints=("`git fsck` says what is damaged",),
            notes=(why,) if why else (),
        )
