"""Face: mlbuild for Python programs and notebooks, as `mlbuild.Workspace` and `mlbuild.load`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlbuild import workspace as places
from mlbuild.assembly import Request
from mlbuild.config import load as load_config
from mlbuild.config import process_environment
from mlbuild.core.action import Json
from mlbuild.core.event import ActionFailed, Event
from mlbuild.core.label import parse_label
from mlbuild.errors import (
    ActionError,
    GateError,
    HostError,
    InputError,
    Interrupted,
    MlbuildError,
    did_you_mean,
)
from mlbuild.invocation import Invocation
from mlbuild.settings import Value

Emit = Callable[[Event], None]
_ERRORS: Mapping[int, type[MlbuildError]] = {
    kind.exit_code: kind for kind in (ActionError, GateError, Interrupted, HostError)
}


@dataclass(frozen=True, slots=True)
class Built:
    """What a build reached. Labels are texts, paths absolute."""

    ran: tuple[str, ...]
    cached: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    outputs: Mapping[str, tuple[str, ...]]  # of each requested target that succeeded
    metrics: Mapping[str, Mapping[str, Json]]  # of every target that took part and has some
    seconds: float
    exit_code: int  # that of the command line: 0 done, 1 an action failed, 3 a gate was missed
    reasons: Mapping[str, str]  # why, for each target that failed


@dataclass(frozen=True, slots=True)
class Loaded:
    """A target that is built: where its files lie, and what it measured."""

    label: str
    paths: tuple[str, ...]  # absolute
    metrics: Mapping[str, Json]

    def path(self, name: str) -> str:
        """Return the one file whose path ends with `name`, such as `model.npz`.

        Raises InputError when there is none, or several.
        """
        found = [path for path in self.paths if f"/{path}".endswith(f"/{name}")]
        if len(found) == 1:
            return found[0]
        names = [os.path.basename(path) for path in self.paths]
        raise InputError(
            f"`{self.label}` has {'several outputs' if found else 'no output'} `{name}`",
            hints=did_you_mean(name, names) or (f"its files are {', '.join(self.paths)}",),
        )


class Workspace:
    """The workspace that holds `folder`, from which relative patterns are seen.

    Raises InputError when there is none.
    """

    def __init__(self, folder: str = ".") -> None:
        self._folder = os.path.realpath(folder)
        self._workspace = places.Workspace.find(self._folder)
        self._package = self._workspace.package_of(self._folder)

    @property
    def root(self) -> str:
        """The absolute path of the folder with `mlbuild.toml`."""
        return self._workspace.root

    def build(
        self,
        *patterns: str,
        jobs: int | None = None,
        executor: str | None = None,
        keep_going: bool | None = None,
        dry_run: bool = False,
        rerun: bool = False,
        emit: Emit | None = None,
    ) -> Built:
        """Build what `patterns` select, as the command line does, and show nothing.

        What is None is as the settings say. `emit` is called with every event, from this thread.
        Raises InputError for what is wrong in files or words; an action that fails is no exception:
        look at `exit_code`.
        """
        if not patterns:
            raise InputError("no target is named", hints=('`build("//...")` builds all',))
        reasons: dict[str, str] = {}

        def note(event: Event) -> None:
            if isinstance(event, ActionFailed):
                reasons.setdefault(event.owner, event.failure.reason)
            if emit is not None:
                emit(event)

        wishes = {"build.jobs": jobs, "build.executor": executor, "build.keep_going": keep_going}
        flags: dict[str, Value] = {key: one for key, one in wishes.items() if one is not None}
        request = Request(patterns, package=self._package, dry_run=dry_run, rerun=rerun)
        done = self._invocation(flags, note).build(request)
        return Built(
            ran=done.ran,
            cached=done.cached,
            failed=done.failed,
            skipped=done.skipped,
            outputs={
                label: tuple(os.path.join(self.root, path) for path in paths)
                for label, paths in done.outputs.items()
            },
            metrics=done.metrics,
            seconds=done.seconds,
            exit_code=done.exit_code,
            reasons=reasons,
        )

    def query(self, *patterns: str) -> tuple[str, ...]:
        """Return the labels that `patterns` select; nothing is built."""
        from mlbuild.reading import Reading  # noqa: PLC0415 - start-up: most builds read nothing

        config = load_config(self.root, environ=process_environment(), flags={})
        reading = Reading(self._workspace, config, say=lambda _: None)
        found = reading.targets(patterns, self._package)
        return tuple(str(target.label) for target in found)

    def load(self, label: str, *, emit: Emit | None = None) -> Loaded:
        """Build the target `label` if need be; return its files and metrics.

        Raises ActionError, GateError, HostError or Interrupted when that fails.
        """
        wanted = str(parse_label(label, package=self._package))
        built = self.build(wanted, emit=emit)
        if built.exit_code:
            reasons = [f"`{owner}`: {reason}" for owner, reason in built.reasons.items()]
            raise _ERRORS[built.exit_code](
                f"`{wanted}` could not be built",
                hints=tuple(f"`mlbuild log {owner}` shows its log" for owner in built.reasons),
                notes=tuple(reasons),
            )
        (found,) = built.outputs  # where an output was named: the label of its target
        return Loaded(found, built.outputs[found], built.metrics.get(found, {}))

    def _invocation(self, flags: Mapping[str, Value], emit: Emit) -> Invocation:
        config = load_config(self.root, environ=process_environment(), flags=flags)
        return Invocation(self._workspace, config, emit=emit)


def load(label: str, *, folder: str = ".", emit: Emit | None = None) -> Loaded:
    """Build the target `label` of the workspace of `folder` if need be; return what it made."""
    return Workspace(folder).load(label, emit=emit)
