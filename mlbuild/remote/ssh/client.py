"""Ssh: links through the system's own OpenSSH client, with its user's settings, keys and hosts.

One connection to a host serves all sessions (ControlMaster): the user's own where there is one,
else one of ours that ends a minute after its last use. Nothing listens on a port anywhere. A host
key that is not the known one is refused by ssh itself, and never tried again.
"""

import fcntl
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlbuild.core.digest import digest_of
from mlbuild.errors import HostError, InputError
from mlbuild.remote.link import baggage, boot
from mlbuild.remote.link.link import OLDEST, Link
from mlbuild.remote.link.process import bounded_file, greeted, printed, started
from mlbuild.remote.outage import Cut

_HOST = re.compile(r"(?!.*@-)(?:ssh://)?(?!-)[A-Za-z0-9_.:@%\[\]-]{1,255}")
_PERSIST = 60  # seconds that our connection outlives its last use
_LONGEST = 60  # letters of a folder for sockets: the kernel takes 107 with the name
_PATIENCE = 60.0  # seconds that ssh may take for anything but a session
_NO_PYTHON = 97  # exit code of our own script
_SSH_FAILED = 255
_OPTIONS = (
    *("-T", "-x", "-a", "-oBatchMode=yes", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no"),
    *("-oConnectTimeout=15", "-oServerAliveInterval=5", "-oServerAliveCountMax=4"),
)
# A user who names a Python means no other; else the version of our own comes first.
_FIND = (
    "wanted=$1 best=$2 program=$3 digest=$4 root=$5; "
    'case $wanted in "") set -- "python$best" python3;; '
    '"~/"*) set -- "$HOME/${wanted#??}";; *) set -- "$wanted";; esac; '
    'for one do if command -v "$one" >/dev/null 2>&1; then '
    'exec "$one" -I -c "$program" "$digest" "$root"; fi; done; '
    f"exit {_NO_PYTHON}"
)


@dataclass(frozen=True, slots=True)
class Remote:
    """A host as the settings name it."""

    host: str  # as ssh takes it
    python: str = ""  # its interpreter for the runner; "" is the best that is found
    root: str = ""  # absolute path of its store; "" is where its own settings keep it


def host_fault(host: str) -> str:
    """Say what is wrong with the name of a host; "" when nothing is."""
    if _HOST.fullmatch(host):
        return ""
    return f"is a host as `ssh` takes it, such as `gpu1` or `ana@gpu1`, not `{host}`"


class Ssh:
    """Opens links to a host. `folder` is a private folder of ours, `environ` the user's."""

    def __init__(self, remote: Remote, *, folder: str, environ: Mapping[str, str]) -> None:
        self._remote = remote
        self._folder = folder
        self._environ = environ
        self._sharing: tuple[str, ...] | None = None  # options, once we know what the user has

    def connect(self) -> Link:
        """Return a new link; raise Outage where the host cannot be reached, else HostError."""
        sharing = self._shared()
        with self._alone():
            if sharing:
                self._ensure_master(sharing)
            host = self._remote.host
            link = started(
                [*self._command(*sharing), self._program()],
                where=host,
                environ=self._environ,
                why=lambda code, said: trouble_of(host, code, said),
            )
        return greeted(link)

    def _program(self) -> str:
        """Return what the login shell of the host is to do: find Python and start our program."""
        best = baggage.own_kind().split("-")[1]
        ours = baggage.digest(f"{self._folder}/baggage")
        words = (self._remote.python, best, boot.one_line(), ours, self._remote.root)
        return " ".join(("exec", "/bin/sh", "-c", *map(_quoted, (_FIND, "sh", *words))))

    def _command(self, *options: str) -> list[str]:
        return ["ssh", *_OPTIONS, *options, "--", self._remote.host]

    def _shared(self) -> tuple[str, ...]:
        """Return the options for a connection that all sessions share; () for the user's own."""
        if self._sharing is None:
            self._sharing = self._found_sharing()
        return self._sharing

    def _found_sharing(self) -> tuple[str, ...]:
        try:
            done = subprocess.run(
                ["ssh", "-G", "--", self._remote.host],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env={**self._environ},
                timeout=_PATIENCE,
                check=False,
            )
        except FileNotFoundError as error:
            raise HostError(
                "`ssh` is not installed", hints=("apt-get install openssh-client",)
            ) from error
        except subprocess.TimeoutExpired as error:
            raise HostError(
                f"`ssh -G {self._remote.host}` does not end: what does your `~/.ssh/config` run?"
            ) from error
        if done.returncode:
            said = " ".join(done.stderr.split())
            raise HostError(f"`ssh` cannot read its settings for `{self._remote.host}`: {said}")
        known = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
        if known.get("controlpath", "none") != "none":
            return ()
        # One socket for each set of settings: other users' settings are another connection.
        name = digest_of(done.stdout.encode()).hash[:24]
        return (f"-oControlPath={self._sockets()}/{name}", f"-oControlPersist={_PERSIST}")

    def _sockets(self) -> str:
        """Return a private folder whose path is short enough for sockets."""
        runtime = self._environ.get("XDG_RUNTIME_DIR", "")
        places = (
            f"{self._folder}/ssh",
            *([f"{runtime}/mlbuild"] if os.path.isabs(runtime) else []),
            f"/tmp/mlbuild-ssh-{os.getuid()}",  # noqa: S108 - checked below
        )
        for place in places:
            if len(place) > _LONGEST:
                continue
            try:
                os.makedirs(place, 0o700, exist_ok=True)
            except OSError:
                continue
            found = os.lstat(place)
            if found.st_uid == os.getuid() and not found.st_mode & 0o077:
                return place
        raise HostError("there is no private folder for the sockets of ssh")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let nobody else of us connect meanwhile: a server refuses many newcomers at once."""
        os.makedirs(self._folder, 0o700, exist_ok=True)
        name = digest_of(self._remote.host.encode()).hash[:24]
        fd = os.open(f"{self._folder}/{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _ensure_master(self, sharing: tuple[str, ...]) -> None:
        """Make the connection that is shared, unless it is there."""
        if self._spoken("-O", "check", *sharing)[0] == 0:
            return
        code, said = self._spoken("-oControlMaster=yes", *sharing, "-N", "-f")
        if code:
            raise trouble_of(self._remote.host, code, said)

    def _spoken(self, *options: str) -> tuple[int, str]:
        """Run ssh without a command; return its exit code and what it said."""
        said = bounded_file()
        try:
            done = subprocess.run(
                self._command(*options),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**self._environ},
                start_new_session=True,
                timeout=_PATIENCE,
                check=False,
            )
            return done.returncode, printed(said)
        except subprocess.TimeoutExpired:
            return _SSH_FAILED, f"it does not let us in within {_PATIENCE:.0f} s"
        finally:
            os.close(said)


def trouble_of(host: str, code: int, said: str) -> HostError:
    """Say in a sentence why ssh, or what it ran, ended; `said` is what it printed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else f"it ended with exit code {code}"
    if code == _NO_PYTHON:
        return HostError(
            f"there is no Python on `{host}` where it is looked for",
            hints=(f"install Python {OLDEST} or later there, or say where it is: `python`",),
        )
    if "nknown option: -I" in said:
        return HostError(
            f"the Python of `{host}` is of the 2nd generation, and the runner needs {OLDEST}",
            hints=(f"install Python {OLDEST} or later there, or say where it is: `python`",),
        )
    if code != _SSH_FAILED:
        return Cut(f"the connection to `{host}` ended: {last}")
    if "IDENTIFICATION HAS CHANGED" in said or "HOST IDENTIFICATION" in said:
        return HostError(
            f"the host key of `{host}` is not the one that you know: the connection is refused",
            hints=(
                "somebody may stand in for it; ask who looks after it whether its key is new",
                f"if it is: `ssh-keygen -R {_bare(host)}`, then `ssh {host}` by hand",
            ),
        )
    if "ost key verification failed" in said or "host key is known" in said:
        return HostError(
            f"the host key of `{host}` is not known here, so the connection is refused",
            hints=(f"connect once by hand, and compare the key that is shown: `ssh {host}`",),
        )
    if "ermission denied" in said or "Too many authentication failures" in said:
        return HostError(
            f"`{host}` does not let you in: {last}",
            hints=(f"`ssh {host} true` must work without a question: see `ssh-agent`",),
        )
    return Cut(f"`{host}` cannot be reached: {last}", hints=(f"try `ssh {host} true`",))


def _bare(host: str) -> str:
    return host.removeprefix("ssh://").rpartition("@")[2]


def _quoted(word: str) -> str:
    """Quote a word for any login shell: one line, no `!` for csh, no backslash for fish."""
    if {"\n", "!", "\\"} & set(word):
        raise InputError(f"`{word!r}` cannot be handed to the shell of another machine")
    return shlex.quote(word)
