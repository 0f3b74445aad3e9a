"""Kinds: what `[executors.NAME]` may be, and how the executor of a kind is opened.

A kind that is none of ours is looked for among the entry points of the group `mlbuild.executors`:
each is a function like `open_ssh`, which gets the table and the settings and returns an Executor.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol

from mlbuild.config import Config
from mlbuild.errors import InputError, did_you_mean
from mlbuild.exec.base import Executor
from mlbuild.settings import listed
from mlbuild.settings_file import NamedExecutor

GROUP = "mlbuild.executors"
OURS: Mapping[str, str] = {  # kind -> module:function
    "ssh": "mlbuild.remote.ssh.open:open_ssh",
    "slurm": "mlbuild.remote.slurm.open:open_slurm",
    "reapi": "mlbuild.remote.reapi.open:open_reapi_executor",
}


class Opener(Protocol):
    """Opens executors of one kind."""

    def __call__(
        self, described: NamedExecutor, config: Config, *, say: Callable[[str], None]
    ) -> Executor:
        """Return the executor that `described` says; `say` hears what a user should know.

        Connects to nobody yet. Raises InputError for a table that cannot be meant.
        """
        ...


def open_executor(
    described: NamedExecutor, config: Config, *, say: Callable[[str], None]
) -> Executor:
    """Return the executor of a table; raise InputError for one that cannot be meant."""
    return _opener(described)(described, config, say=say)


def _opener(described: NamedExecutor) -> Opener:
    kind = described.kind
    if kind in OURS:
        module, _, name = OURS[kind].partition(":")
        found: Opener = getattr(import_module(module), name)
        return found
    from importlib.metadata import entry_points  # noqa: PLC0415 - only where somebody brings one

    others = {one.name: one for one in entry_points(group=GROUP)}
    if kind not in others:
        known = (*OURS, *others)
        raise InputError(
            f"no executor is of the kind `{kind}`",
            span=described.spans.get("kind"),
            hints=did_you_mean(kind, known) or (f"the kinds are {listed(known)}",),
        )
    opener: Opener = others[kind].load()
    return opener
