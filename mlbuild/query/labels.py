"""Labels: those of the kept query graph as one text, for a shell that completes them."""

import os

from mlbuild.state import keep
from mlbuild.workspace import STATE, Workspace


def keep_labels(workspace: Workspace, labels: list[str]) -> None:
    """Keep the labels of targets."""
    keep(_place(workspace), "\0".join(labels).encode("utf-8", "surrogateescape"))


def kept_labels(workspace: Workspace) -> list[str]:
    """Return the labels that were kept last, none where there are none."""
    try:
        with open(_place(workspace), "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError:
        return []
    return text.split("\0") if text else []


def _place(workspace: Workspace) -> str:
    return os.path.join(workspace.root, STATE, "query", "labels")
