"""Clone: a repository as it lies on this machine: working tree, shared folder, hooks."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlbuild.errors import HostError, InputError
from mlbuild.git.repository import Repository

_OURS = ("global", "system")  # scopes of settings that all repositories of a user share


@dataclass(frozen=True, slots=True)
class Clone:
    """Where a repository lies. All paths are absolute."""

    repository: Repository
    top: str  # of the working tree; "" where there is none, or git was started outside of it
    common: str  # the folder of git that all working trees share

    @classmethod
    def at(cls, folder: str, *, environ: Mapping[str, str]) -> "Clone":
        """Return the clone that holds an absolute folder, or that git started a hook for there.

        Raises InputError where there is none, HostError where git cannot look.
        """
        try:
            repository = Repository.holding(folder, environ=environ)
        except InputError:
            place = environ.get("GIT_DIR", "")
            if not place:
                raise
            # A working tree that does not know its repository: `git --git-dir=… commit`.
            repository = Repository.holding(os.path.join(folder, place), environ=environ)
        common = repository.checked("rev-parse", "--git-common-dir").line()
        inside = repository.run("rev-parse", "--is-inside-work-tree").line() == "true"
        return cls(
            repository,
            repository.checked("rev-parse", "--show-toplevel").line() if inside else "",
            os.path.realpath(os.path.join(repository.folder, common)),
        )

    @property
    def bare(self) -> bool:
        """Whether the repository has no working tree."""
        return self.repository.run("rev-parse", "--is-bare-repository").line() == "true"

    @property
    def name(self) -> str:
        """A name for people and folders: of letters, digits, `.`, `_` and `-`."""
        folder, last = os.path.split(self.common)
        name = os.path.basename(folder) if last == ".git" else last.removesuffix(".git")
        return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".") or "repository"

    def hooks(self) -> str:
        """Return the folder that git takes hooks from, be it there or not."""
        return os.path.normpath(self.repository.place("hooks"))

    def hooks_are_shared(self) -> bool:
        """Say whether that folder is one for all repositories of the user, or of the machine."""
        answer = self.repository.run("config", "--show-scope", "--get", "core.hooksPath")
        return answer.line().partition("\t")[0] in _OURS

    def wishes(self, hook: str) -> list[str]:
        """Return the workspaces, seen from the top of the repository, that a hook is on for."""
        answer = self.repository.run("config", "--local", "--null", "--get-all", f"mlbuild.{hook}")
        return [os.fsdecode(text) for text in answer.out.split(b"\0") if text]

    def wish(self, hook: str, workspace: str) -> None:
        """Note in the settings of the repository that a hook is on for a workspace."""
        if workspace not in self.wishes(hook):
            self._set("--add", f"mlbuild.{hook}", workspace)

    def forget(self, hook: str, workspace: str) -> None:
        """Take such a note away."""
        if workspace in self.wishes(hook):
            self._set("--fixed-value", "--unset-all", f"mlbuild.{hook}", workspace)

    def _set(self, *words: str) -> None:
        answer = self.repository.run("config", "--local", *words)
        if answer.code:
            raise HostError(
                f"git cannot write the settings of `{self.common}`",
                notes=(answer.said,) if answer.said else (),
            )
