"""Commands: Slurm's own, run on the machine that jobs are handed in from."""

import os
import subprocess
from collections.abc import Mapping

from mlbuild.core.redact import redacted
from mlbuild.errors import HostError
from mlbuild.shared.base import SharedTrouble

PATIENCE = 60.0  # seconds that a command may take: a busy controller lets others wait
# What a job is to see of the environment of its user; Slurm hands on and keeps what it is given.
_KEPT = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "XDG_CACHE_HOME"),
    *("SLURM_CONF", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"),
)
_PASSING = (
    *("Unable to contact slurm controller", "Socket timed out", "Connection refused"),
    *("temporarily unable", "temporarily unavailable", "Zero Bytes were transmitted"),
    *("controller not responding", "Connection timed out", "Connection reset"),
    *("submit limit", "Unexpected message received", "in a backup controller"),
)


class Commands:
    """Runs Slurm's commands. `environ` is the user's, `host` the machine's name."""

    def __init__(self, environ: Mapping[str, str], *, host: str) -> None:
        self._host = host
        self._environ = {name: environ[name] for name in _KEPT if name in environ}

    def run(self, *words: str, stdin: str = "") -> str:
        """Return what a command prints.

        Raises SharedTrouble where its controller does not answer now, else HostError with the
        command's own words.
        """
        try:
            done = subprocess.run(
                words,
                input=stdin.encode("utf-8", "surrogateescape"),
                capture_output=True,
                env=self._environ,
                cwd="/",
                timeout=PATIENCE,
                check=False,
            )
        except FileNotFoundError as error:
            raise HostError(
                f"`{words[0]}` is not installed on `{self._host}`",
                hints=("`host` names a machine that jobs are handed in from: a login node",),
            ) from error
        except subprocess.TimeoutExpired as error:
            raise SharedTrouble("slow", f"`{words[0]}` does not answer", cure=_CURE) from error
        except OSError as error:
            raise HostError(f"`{words[0]}` cannot be run: {error.strerror}") from error
        if done.returncode:
            raise _trouble(words[0], _complaint(done.stderr))
        return done.stdout.decode("utf-8", "replace")


_CURE = "`scontrol ping` tells whether Slurm's controller is up"


def _complaint(said: bytes) -> str:
    """Return what a command complains of, in one line, without its own name."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines()]
    told = [line.partition("error:")[2] or line.partition("fatal:")[2] for line in lines]
    words = [line.strip() for line in told if line] or lines[-1:]
    return redacted("; ".join(dict.fromkeys(words))) or "it gives no reason"


def _trouble(command: str, said: str) -> Exception:
    if any(one.lower() in said.lower() for one in _PASSING):
        return SharedTrouble("unreachable", f"`{command}` says: {said}", cure=_CURE)
    return HostError(f"`{command}` says: {said}")


def user() -> str:
    """Return who hands in jobs, as Slurm's commands take it."""
    return str(os.getuid())
