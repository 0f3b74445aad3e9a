"""Labour: what a job takes: finding out what it affects, and building that in a checkout.

What is built is the commit: edits that nobody committed take no part.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from mlbuild.assembly import Request
from mlbuild.config import Config, load
from mlbuild.core.event import Warned
from mlbuild.core.label import parse_label
from mlbuild.errors import Interrupted, MlbuildError
from mlbuild.git.affected import Reason, changes
from mlbuild.git.checkout import Checkout, checkout, remove
from mlbuild.git.clone import Clone
from mlbuild.git.jobs import Job, Jobs, State, Work
from mlbuild.git.objects import Objects
from mlbuild.git.repository import Repository
from mlbuild.git.revision import Source
from mlbuild.git.tree import Trees
from mlbuild.git.voice import Voice
from mlbuild.invocation import Invocation
from mlbuild.ui.summary import result_lines, summary_line
from mlbuild.ui.text import plural
from mlbuild.workspace import LOCAL, MARKER, Workspace

_SHORT = 12  # digits of a commit
_FEW = 3  # reasons that are told of a target


class Labour:
    """Does what jobs ask for, and notes what became of them."""

    def __init__(self, jobs: Jobs, *, environ: Mapping[str, str]) -> None:
        self._jobs = jobs
        self._environ = environ

    def look(self, job: Job, voice: Voice) -> Job:
        """Return the job with the targets that it affects, of state "nothing" where none is.

        Raises MlbuildError where that cannot be told, which is noted too.
        """
        with self._noted(job, voice):
            works = self._looked(job, voice)
        affecting = tuple(work for work in works if work.labels)
        if affecting:
            job = replace(job, works=affecting)
            self._jobs.write(job)
            return job
        patterns = dict.fromkeys(text for work in works for text in work.patterns)
        message = f"nothing to build: no target of `{' '.join(patterns)}` is affected"
        voice.line(message)
        return self._jobs.end(replace(job, works=works), "nothing", message=message)

    def build(self, job: Job, voice: Voice) -> int:
        """Build what a job affects, note what became of it, and return the exit code.

        Raises MlbuildError for what is wrong before anything runs, KeyboardInterrupt for a signal;
        both are noted.
        """
        code = 0
        with self._noted(job, voice):
            job = replace(job, works=self._looked(job, voice))
            for work in job.works:
                if work.labels:
                    code = max(code, self._built(job, work, voice))
        state: State = "failed" if code else "done"
        if code == Interrupted.exit_code:
            state = "stopped"
        message = f"{plural(len(job.labels), 'target')} built" if state == "done" else ""
        self._jobs.end(job, state, code=code, message=message)
        voice.line(f"job {job.number}: {state}")
        return code

    def sweep(self, job: Job) -> None:
        """Remove the checkouts that killed processes have left of other jobs."""
        for number in self._jobs.left():
            if number != job.number:
                clone = Clone.at(job.folder, environ=self._environ)
                remove(clone.repository, self._jobs.tree(number))

    def _looked(self, job: Job, voice: Voice) -> tuple[Work, ...]:
        """Return the works of a job with the labels that they affect."""
        clone = Clone.at(job.folder, environ=self._environ)
        return tuple(
            work if work.looked else self._affecting(clone, job, work=work, voice=voice)
            for work in job.works
        )

    def _affecting(self, clone: Clone, job: Job, *, work: Work, voice: Voice) -> Work:
        voice.line(f"{work.ref} {work.base[:_SHORT]}..{work.head[:_SHORT]}")
        with self._workspace(clone, job, work) as workspace:
            found = changes(
                workspace,
                self._config(workspace),
                base=work.base,
                head=work.head,
                patterns=work.patterns,
                say=lambda text: voice.event(Warned(text)),
            )
        for one in found.affected:
            voice.line(f"  {one.label}  {', '.join(map(_told, one.reasons[:_FEW]))}")
        return replace(work, labels=tuple(one.label for one in found.affected), looked=True)

    @contextmanager
    def _workspace(self, clone: Clone, job: Job, work: Work) -> Iterator[Workspace]:
        """Yield the workspace as it lies in the clone or, where it does not, an empty one."""
        here = _here(clone, work)
        if here is not None:
            yield here
            return
        place = self._jobs.tree(job.number)
        with checkout(clone.repository, work.head, place=place) as empty:
            root = _joined(empty.folder, work.workspace)
            os.makedirs(root, exist_ok=True)
            yield Workspace(root)

    def _built(self, job: Job, work: Work, voice: Voice) -> int:
        """Build the targets that a work affects; return the exit code."""
        clone = Clone.at(job.folder, environ=self._environ)
        short = work.head[:_SHORT]
        voice.line(f"building {plural(len(work.labels), 'target')} of {short}")
        place = self._jobs.tree(job.number)
        with checkout(clone.repository, work.head, place=place) as tree:
            tree.fill()
            here = _here(clone, work)
            if here is not None:
                self._bring(work, here, tree)
            workspace = Workspace(_joined(tree.folder, work.workspace))
            config = replace(self._config(workspace), keep_going=True)
            finished = Invocation(workspace, config, emit=voice.event).build(Request(work.labels))
        # The paths of outputs are gone with the checkout; the metrics are not.
        made = replace(finished, outputs=dict.fromkeys(finished.outputs, ()))
        for line in result_lines(made, root="", folder=""):
            voice.line(line)
        voice.line(summary_line(finished))
        return finished.exit_code

    def _bring(self, work: Work, here: Workspace, tree: Checkout) -> None:
        """Bring what the commit needs and git does not have: local settings, data."""
        tree.bring(_joined(work.workspace, LOCAL), source=_joined(here.root, LOCAL))
        repository = Repository.holding(here.root, environ=self._environ).with_modules()
        labels = [parse_label(text, package="") for text in work.labels]
        with Objects(repository) as objects:
            say: Callable[[str], None] = lambda _: None  # noqa: E731 - it was told while looking
            trees, config = Trees(objects), self._config(here)
            source = Source(here, config, trees, repository.prefix, say)
            revision = source.read(work.head, work.head, lambda _: labels)
        for path in revision.files.missing:
            tree.bring(_joined(work.workspace, path), source=_joined(here.root, path))

    def _config(self, workspace: Workspace) -> Config:
        return load(workspace.root, environ=self._environ, flags={})

    @contextmanager
    def _noted(self, job: Job, voice: Voice) -> Iterator[None]:
        """Note what ends a job early."""
        try:
            yield
        except MlbuildError as error:
            state: State = "stopped" if isinstance(error, Interrupted) else "failed"
            voice.error(error)
            self._jobs.end(job, state, code=error.exit_code, message=error.message)
            raise
        except KeyboardInterrupt:
            voice.line("stopped by a signal")
            self._jobs.end(job, "stopped", code=Interrupted.exit_code)
            raise


def _told(reason: Reason) -> str:
    return reason.path if reason.kind == reason.path else f"{reason.kind} {reason.path}"


def _here(clone: Clone, work: Work) -> Workspace | None:
    """Return the workspace of a work where it lies in the working tree."""
    root = _joined(clone.top, work.workspace)
    found = clone.top and os.path.isfile(os.path.join(root, MARKER))
    return Workspace(root) if found else None


def _joined(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))
