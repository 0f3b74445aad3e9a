"""Watch: builds, waits until the files are others than those that the build rested on, builds.

An alarm says when to look. What counts is what a look finds: the plan and the digests of all
sources as they are now, found by the code that a build finds them by. Where they are what the last
build used, nothing is done, whatever rang; where they are not, a build follows, whatever was
missed. Every half minute everything is looked at even if nothing rang.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from typing import Protocol

from mlbuild.assembly import Request
from mlbuild.config import Config, settings_files
from mlbuild.core.event import BuildFinished, Event, Hashing, Warned
from mlbuild.errors import InputError, Interrupted, MlbuildError
from mlbuild.invocation import Basis, Invocation
from mlbuild.watch.alarm import QUIET, Alarm, Deaf
from mlbuild.watch.footing import Footing, footing_of, footing_of_error, is_read
from mlbuild.watch.looks import Change, Looks, changes, is_scratch, looks_of
from mlbuild.watch.polling import Polling
from mlbuild.workspace import MARKER, Workspace

RESCAN = 30.0  # seconds after which everything is looked at, whether something rang or not
SHARE = 50  # where a look takes long it is taken less often: one part in so many of the time


class Face(Protocol):
    """Shows what happens."""

    def building(
        self, changed: Sequence[Change]
    ) -> AbstractContextManager[Callable[[Event], None]]:
        """Yield what takes the events of one build, which begins because of `changed`."""
        ...

    def looking(self) -> AbstractContextManager[Callable[[Event], None]]:
        """Yield what takes Hashing events while it is found out what differs."""
        ...

    def built(self, finished: BuildFinished) -> None:
        """Show what the build reached."""
        ...

    def failed(self, error: MlbuildError) -> None:
        """Show why there could be no build."""
        ...

    def waiting(self, folders: int) -> None:
        """Show that everything is built, and how many folders are listened to."""
        ...

    def warn(self, message: str, hints: tuple[str, ...]) -> None:
        """Show what a user should know once."""
        ...


class Watch:
    """One request, built again and again. `settings` reads them anew; raises InputError."""

    def __init__(
        self,
        workspace: Workspace,
        request: Request,
        *,
        settings: Callable[[], Config],
        environ: Mapping[str, str],
        face: Face,
        poll: bool = False,
    ) -> None:
        self._workspace = workspace
        self._request = request
        self._settings = settings
        self._environ = environ
        self._face = face
        self._poll = poll
        self._alarm: Alarm | None = None
        self._footing = Footing(workspace.root)
        self._known: frozenset[str] = frozenset()  # files that an answer was seen to rest on
        self._config: Config | None = None  # of the last build
        self._basis: Basis | None = None  # of the last build, where one is known
        self._error: MlbuildError | None = None  # why there was no last build
        self._now: Looks = {}  # how everything looked when the last look began
        self._seen: Looks = {}  # how it did before what was built was found to be what is there
        self._said: list[Warned] = []  # during the last look
        self._cost = 0.0  # seconds that it takes to look at everything
        self._building = False

    def run(self, *, once: bool) -> int:
        """Build, and build again on every change, until Ctrl-C; return the exit code.

        That is 0 for one that interrupts nothing. With `once`, return the exit code of the first
        build that follows on a change.
        """
        try:
            code = self._build(())
            while code != Interrupted.exit_code:
                code = self._build(self._changed())
                if once and not self._differs():
                    break
        except KeyboardInterrupt:
            return Interrupted.exit_code if self._building else 0
        finally:
            if self._alarm is not None:
                self._alarm.close()
        return code

    def _build(self, changed: Sequence[Change]) -> int:
        """Build what is on the disk now; return the exit code."""
        self._building = True
        self._basis, self._error = None, None
        try:
            with self._face.building(changed) as emit:
                for event in self._said:
                    emit(event)
                self._config = self._reloaded()
                invocation = Invocation(self._workspace, self._config, emit=emit)
                finished = invocation.build(self._request)
        except MlbuildError as error:
            self._error = error
            self._stand_on(footing_of_error(self._footing))
            self._face.failed(error)
            code = error.exit_code
        else:
            self._basis = invocation.basis
            self._stand_on(self._footing if self._basis is None else self._under(self._basis))
            self._face.built(finished)
            code = finished.exit_code
        self._building = False
        return code

    def _changed(self) -> tuple[Change, ...]:
        """Wait until the disk differs from what was built; return what differs, where known."""
        told = False
        rung = self._basis is None and self._error is None  # sources changed while it was built
        alarm, is_new = self._follow()
        if rung:
            alarm.wait(QUIET)
        while True:
            if is_new or rung:
                if self._differs():
                    return self._named()
            elif not told:
                self._face.waiting(alarm.count())
                told = True
            else:
                rung = alarm.wait(max(RESCAN, SHARE * self._cost)) or self._looks_different()
                continue
            rung = False
            alarm, is_new = self._follow()

    def _differs(self) -> bool:
        """Look; say whether a build would do anything else than the last one."""
        self._now = looks_of(self._footing)
        self._said = []
        try:
            config = self._reloaded()
            with self._face.looking() as emit:
                basis = self._looked(config, emit)
        except MlbuildError as error:
            if not self._is_shown(error):
                return True
            self._stand_on(footing_of_error(self._footing))  # with folders that are new by now
            return False
        if isinstance(self._error, InputError):
            return True
        if self._error is not None:  # of the host: no file tells whether it is over
            differs = self._news()
        else:
            same = self._basis is not None and basis.agrees(self._basis)
            differs = not same or config != self._config
        if not differs:
            self._stand_on(self._under(basis))
        return differs

    def _looks_different(self) -> bool:
        """Look at everything, for what nobody told us of."""
        started = monotonic()
        found = changes(self._seen, looks_of(self._footing))
        self._cost = monotonic() - started
        return bool(found)

    def _is_shown(self, error: MlbuildError) -> bool:
        """Say whether `error` is what the last build ended with, and nothing is new since."""
        last = self._error
        return (
            last is not None
            and (last.message, last.span, last.hints) == (error.message, error.span, error.hints)
            and not self._news()
        )

    def _looked(self, config: Config, emit: Callable[[Event], None]) -> Basis:
        """Return what a build would rest on; keep what it would say for the build that follows."""

        def hear(event: Event) -> None:
            if isinstance(event, Warned):
                self._said.append(event)
            elif isinstance(event, Hashing):
                emit(event)

        return Invocation(self._workspace, config, emit=hear).look(self._request)

    def _news(self) -> bool:
        """Say whether a file differs that was read, or that may have been.

        What else lies there does not count: it may be the log of somebody who watches us.
        """
        found = changes(self._seen, self._now)
        return any(one.path in self._known or is_read(one.path) for one in found)

    def _named(self) -> tuple[Change, ...]:
        """Return what differs, but for what editors leave behind for a moment."""
        found = changes(self._seen, self._now)
        return tuple(one for one in found if not is_scratch(one.path)) or found

    def _under(self, basis: Basis) -> Footing:
        return footing_of(basis, self._workspace, self._settings_files())

    def _stand_on(self, footing: Footing) -> None:
        """Have changes of `footing` noticed from the moment on that the last look began."""
        self._seen = {**looks_of(footing.beyond(self._footing)), **self._now}
        self._footing = footing
        if not footing.whole:
            self._known = footing.files

    def _follow(self) -> tuple[Alarm, bool]:
        """Listen to what matters now; say whether any of that is new."""
        try:
            if self._alarm is None:
                self._alarm = _opened(poll=self._poll)
            return self._alarm, self._alarm.follow(self._footing)
        except Deaf as deaf:
            self._face.warn(f"files are looked at every second: {deaf.why}", deaf.hints)
            if self._alarm is not None:
                self._alarm.close()
            self._alarm = Polling()
            return self._alarm, self._alarm.follow(self._footing)

    def _reloaded(self) -> Config:
        """Return the settings as they are now."""
        if not os.path.isfile(os.path.join(self._workspace.root, MARKER)):
            raise InputError(f"`{MARKER}` is gone from `{self._workspace.root}`")
        return self._settings()

    def _settings_files(self) -> list[str]:
        return settings_files(self._workspace.root, self._environ)


def _opened(*, poll: bool) -> Alarm:
    """Return what tells of changes here. Raises Deaf."""
    if poll:
        return Polling()
    try:
        from mlbuild.watch.inotify import Inotify  # noqa: PLC0415 - loads a library
    except ImportError as error:
        raise Deaf("the installed `watchdog` cannot be told what to listen to") from error
    return Inotify()
