"""Hooks: installs the hooks of a clone that call mlbuild, and takes them out again.

A hook that exists stays: it is renamed beside ours, which runs it first, and gets its name back.
The settings of the repository say for which workspaces a hook is on: a script of ours does nothing
in a clone that nobody installed it in.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from mlbuild.errors import HostError, InputError
from mlbuild.git.clone import Clone
from mlbuild.git.script import Script, before_in, is_edited, is_ours

HOOKS = ("pre-push", "post-commit", "post-merge", "post-receive", "pre-commit")
ASIDE = "before-mlbuild"
_KEPT = ".legacy"  # pre-commit renames a hook so, and runs it first, as we do
_LARGEST = 1 << 20  # bytes of a script that may be ours
State = Literal["on", "off", "replaced", "edited"]


@dataclass(frozen=True, slots=True)
class Hook:
    """How a hook of a clone stands."""

    name: str
    path: str  # of the script
    state: State  # "replaced": it is on, but its script is gone; "off": it is not on here
    before: str  # path of the hook that ours runs first, "" for none
    workspaces: tuple[str, ...]  # that it is on for, seen from the top of the repository


class Hooks:
    """The hooks of a clone for one of its workspaces, which is "." at the top."""

    def __init__(self, clone: Clone, workspace: str = ".") -> None:
        self._clone = clone
        self._workspace = workspace or "."
        folder = clone.hooks()
        # What lies in `.husky/_` is written anew by each `husky`, and calls what lies above it.
        self._sourced = os.path.basename(folder) == "_" and os.path.isfile(f"{folder}/h")
        self.folder = os.path.dirname(folder) if self._sourced else folder

    def install(self, hook: str, *, python: str) -> Hook:
        """Have git call mlbuild; doing it twice does it once. Returns how the hook stands then.

        Raises InputError for a hook of ours that somebody edited, HostError for what cannot be
        written.
        """
        place = self._place(hook)
        with _changing(place):
            # Through a link to nothing too.
            os.makedirs(os.path.realpath(self.folder), exist_ok=True)
            text = _text(place)
            _check_unedited(place, text)
            script = Script(hook, python, sourced=self._sourced)
            if is_ours(text):
                script = replace(script, before=before_in(text))
            elif os.path.lexists(place):
                script = replace(script, before=_put_aside(place))
            if script.text != text:
                _write(place, script.text)
        self._clone.wish(hook, self._workspace)
        return self.hook(hook)

    def uninstall(self, hook: str) -> bool:
        """Undo `install` for the workspace; say whether there was something to undo.

        The script stays while another workspace of the clone needs it.
        """
        place = self._place(hook)
        was_on = bool(self._clone.wishes(hook))
        text = _text(place)
        others = [one for one in self._clone.wishes(hook) if one != self._workspace]
        if is_ours(text) and not others:
            _check_unedited(place, text)
            with _changing(place):
                _take_out(place, before_in(text))
        self._clone.forget(hook, self._workspace)
        return was_on or is_ours(text)

    def hook(self, hook: str) -> Hook:
        """Return how a hook stands."""
        place = self._place(hook)
        text = _text(place)
        wishes = tuple(self._clone.wishes(hook))
        state: State = "on" if wishes else "off"
        if wishes and is_edited(text):
            state = "edited"
        elif wishes and not is_ours(text):
            state = "replaced"
        aside = os.path.join(os.path.dirname(place), before_in(text)) if before_in(text) else ""
        before = aside if aside and os.path.lexists(aside) else ""
        return Hook(hook, place, state, before, wishes)

    def all(self) -> list[Hook]:
        """Return how each hook stands."""
        return [self.hook(name) for name in HOOKS]

    def leftovers(self, hook: str) -> list[str]:
        """Return the names of hooks that were put aside and that nothing runs any more."""
        current = os.path.basename(self.hook(hook).before)
        try:
            names = sorted(os.listdir(self.folder))
        except OSError:
            return []
        return [one for one in names if one.startswith(f"{hook}.{ASIDE}") and one != current]

    def _place(self, hook: str) -> str:
        """Return where our script is, or should be."""
        place = os.path.join(self.folder, hook)
        kept = place + _KEPT
        return kept if not is_ours(_text(place)) and is_ours(_text(kept)) else place


def _text(place: str) -> str:
    """Return the text of a small regular file, "" for anything else."""
    try:
        status = os.stat(place)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return ""
        with open(place, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError:
        return ""


def _check_unedited(place: str, text: str) -> None:
    if is_edited(text):
        raise InputError(
            f"`{place}` was edited since mlbuild wrote it",
            hints=("put your own lines into another file, and remove this one",),
        )


def _put_aside(place: str) -> str:
    """Give the hook that exists another name as well; return that name.

    A name, not a copy: bytes, mode and what a link leads to stay as they are.
    """
    if os.path.isdir(place):
        raise InputError(f"`{place}` is a folder, where git looks for a hook")
    folder, hook = os.path.split(place)
    name, count = f"{hook}.{ASIDE}", 1
    while os.path.lexists(os.path.join(folder, name)):
        count += 1
        name = f"{hook}.{ASIDE}-{count}"
    aside = os.path.join(folder, name)
    try:
        os.link(place, aside, follow_symlinks=False)  # so that git has a hook at all times
    except OSError:
        os.rename(place, aside)
    return name


def _write(place: str, text: str) -> None:
    """Write a program in one step."""
    number, temporary = tempfile.mkstemp(prefix=".mlbuild-hook-", dir=os.path.dirname(place))
    try:
        with open(number, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            os.fchmod(number, 0o755)
        os.replace(temporary, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _take_out(place: str, before: str) -> None:
    """Remove our script; what it ran first gets its name back."""
    aside = os.path.join(os.path.dirname(place), before)
    if before and os.path.lexists(aside):
        os.replace(aside, place)
    else:
        os.unlink(place)


@contextmanager
def _changing(place: str) -> Iterator[None]:
    """Turn what the disk says into one sentence."""
    try:
        yield
    except OSError as error:
        raise HostError(f"cannot change the hook `{place}`: {error.strerror}") from error
