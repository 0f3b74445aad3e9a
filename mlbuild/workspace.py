"""Workspace: the directory with `mlbuild.toml`, and the places that belong to it."""

import os
from dataclasses import dataclass

from mlbuild.core.action import OUT
from mlbuild.errors import HostError, InputError

MARKER = "mlbuild.toml"
LOCAL = "mlbuild.local.toml"  # settings of one checkout, not in git
STATE = ".mlbuild"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory that labels start from. `root` is absolute."""

    root: str

    @classmethod
    def find(cls, start: str) -> "Workspace":
        """Return the workspace that holds the absolute folder `start`.

        Raises InputError when neither it nor a folder above has a `mlbuild.toml`.
        """
        folder = start
        while not os.path.isfile(os.path.join(folder, MARKER)):
            above = os.path.dirname(folder)
            if above == folder:
                raise InputError(
                    f"no `{MARKER}` in `{start}` or a folder above it",
                    hints=(
                        "`mlbuild init` makes a folder a workspace that builds at once",
                        "to build a workspace elsewhere, give its folder: `mlbuild -C FOLDER …`",
                    ),
                )
            folder = above
        return cls(folder)

    def package_of(self, path: str) -> str:
        """Return the package of the absolute folder `path`, "" for the root's.

        Raises InputError for a folder outside the workspace.
        """
        if path == self.root:
            return ""
        if not path.startswith(self.root.rstrip("/") + "/"):
            raise InputError(f"`{path}` is not in the workspace `{self.root}`")
        return path[len(self.root.rstrip("/")) + 1 :]

    @property
    def state(self) -> str:
        """The folder of what may be deleted at any time; made on first use, invisible to git."""
        folder = os.path.join(self.root, STATE)
        ignore = os.path.join(folder, ".gitignore")
        if not os.path.lexists(ignore):
            try:
                os.makedirs(folder, exist_ok=True)
                with open(ignore, "w", encoding="utf-8") as file:
                    file.write("*\n")
            except OSError as error:
                raise HostError(
                    f"cannot write `{folder}`: {error.strerror}",
                    hints=("mlbuild keeps an index of the workspace there",),
                ) from error
        return folder

    @property
    def out(self) -> str:
        """The folder that requested outputs appear in."""
        return os.path.join(self.root, OUT)

    def rules_root(self) -> str:
        """Return the folder of the rule library, which is loaded as `@rules//`."""
        return rules_root()


def rules_root() -> str:
    """Return the folder of the rule library: in an installed mlbuild, else beside its source."""
    package = os.path.dirname(os.path.abspath(__file__))
    shipped = os.path.join(package, "_rules")
    return shipped if os.path.isdir(shipped) else os.path.join(os.path.dirname(package), "rules")
