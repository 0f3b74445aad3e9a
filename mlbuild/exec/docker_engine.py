"""Engine: a connection to a Docker Engine. The SDK is known here and in `docker*.py` alone."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from mlbuild.errors import HostError

ANSWER = 60  # seconds that the engine may take for an answer
FIRST_ANSWER = 10  # seconds for the very first, which decides whether there is an engine
OWNER, PID, BOOT, ACTION = "mlbuild.owner", "mlbuild.pid", "mlbuild.boot", "mlbuild.action"


class LostEngine(HostError):  # noqa: N818 - what happened, not a kind of error
    """The engine does not answer any more."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an engine says of itself."""

    version: str
    address: str  # for people: `unix:///var/run/docker.sock`, and the context if one names it
    rootless: bool
    remapped: bool  # whether users in containers are others than on this host
    cgroups: str  # "v1", "v2", or "" where ours cannot stand above those of containers
    here: bool  # whether it sees the files of this host
    cdi: bool  # whether it knows devices by CDI names


class Engine:
    """A connection. It serves one process: a fork must make its own."""

    def __init__(self, environ: Mapping[str, str], *, version: str = "auto") -> None:
        """Connect to what DOCKER_HOST, or else the docker context in use, names.

        `version` is that of the API, as an earlier connection found it. Raises HostError when
        nothing answers.
        """
        self.address, self.api = _connected(environ, version)

    @property
    def version(self) -> str:
        """The version of the API that both sides speak."""
        return str(self.api._version)  # noqa: SLF001 - the SDK shows it nowhere else

    def facts(self) -> Facts:
        """Ask the engine what it is."""
        with engine_errors("it could not say what it is"):
            said: dict[str, Any] = self.api.info()
        host = os.uname()
        options = said.get("SecurityOptions") or []
        kinds = {option.removeprefix("name=").partition(",")[0] for option in options}
        is_here = said.get("Name") == host.nodename and said.get("KernelVersion") == host.release
        version = {"1": "v1", "2": "v2"}.get(str(said.get("CgroupVersion")), "")
        return Facts(
            version=str(said.get("ServerVersion", "?")),
            address=self.address,
            rootless="rootless" in kinds,
            remapped="userns" in kinds,
            cgroups=version if said.get("CgroupDriver") == "cgroupfs" and is_here else "",
            here=is_here,
            cdi=bool(said.get("CDISpecDirs")),
        )

    def sweep(self) -> int:
        """Remove the containers of mlbuild processes of this host that are dead; count them."""
        owner = labels("")
        wanted = {"label": [f"{OWNER}={owner[OWNER]}"]}
        with engine_errors("it could not list containers"):
            found = self.api.containers(all=True, filters=wanted)
        dead = [one["Id"] for one in found if _is_dead(one.get("Labels") or {})]
        for container in dead:
            self.remove(container)
        return len(dead)

    def remove(self, container: str) -> None:
        """Remove a container with all its processes; it may have gone."""
        from docker import errors  # noqa: PLC0415 - start-up

        with engine_errors("a container could not be removed"), suppress(errors.NotFound):
            try:
                self.api.remove_container(container, v=True, force=True)
            except errors.APIError as error:
                if error.status_code != _CONFLICT:  # somebody else removes it
                    raise

    def close(self) -> None:
        """Close the connection."""
        self.api.close()


_CONFLICT = 409


def labels(action: str) -> dict[str, str]:
    """Return the labels that tell whose container one is."""
    return {
        OWNER: f"{_machine()}-{os.geteuid()}",
        PID: _process(os.getpid()),
        BOOT: _boot(),
        ACTION: action,
    }


def _is_dead(found: Mapping[str, str]) -> bool:
    """Say whether the process that a container belongs to has gone.

    Numbers of another pid namespace mean nothing here: such containers are left alone.
    """
    boot, _, namespace = found.get(BOOT, "").partition("/")
    own_boot, _, own_namespace = _boot().partition("/")
    if boot != own_boot:
        return True
    pid = found.get(PID, "").partition(".")[0]
    return namespace == own_namespace and pid.isdigit() and found[PID] != _process(int(pid))


def _process(pid: int) -> str:
    """Return a name that no other process of this boot has: the number and when it started."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return f"{pid}.{int(fields[19])}" if fields[0] not in {b"Z", b"X"} else ""
    except (OSError, IndexError):
        return ""


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"


def _machine() -> str:
    """Return a name of this host that others do not learn anything from."""
    try:
        with open("/etc/machine-id", "rb") as file:
            said = file.read().strip()
    except OSError:
        said = b""
    return hashlib.sha256(said or os.uname().nodename.encode()).hexdigest()[:16]


def _connected(environ: Mapping[str, str], version: str) -> tuple[str, Any]:
    """Return the address of the engine in words, and a client that has got an answer."""
    try:
        import docker  # noqa: PLC0415 - start-up
    except ImportError as error:
        raise HostError(
            "the Python package `docker` is not installed",
            hints=("install it with `pip install docker`",),
        ) from error
    address, options = _endpoint(environ)
    if options["base_url"].startswith("ssh://") and find_spec("paramiko") is None:
        raise HostError(
            f"the Docker Engine at {address} needs the Python package `paramiko`",
            hints=("install it with `pip install 'docker[ssh]'`",),
        )
    with engine_errors(f"no Docker Engine answers at {address}"):
        client = docker.APIClient(version=version, timeout=FIRST_ANSWER, **options)
    client.timeout = ANSWER
    return address, client


def _endpoint(environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return where the engine is, in words and as arguments of the SDK: as `docker` would."""
    from docker import utils  # noqa: PLC0415 - start-up

    host = environ.get("DOCKER_HOST", "")
    name = "" if host else environ.get("DOCKER_CONTEXT", "") or _current_context(environ)
    if name in {"", "default"}:
        options: dict[str, Any] = utils.kwargs_from_env(environment=dict(environ))
        options.setdefault("base_url", "unix:///var/run/docker.sock")
        return _with_ssh(host or "unix:///var/run/docker.sock", options)
    from docker.context import ContextAPI  # noqa: PLC0415 - start-up

    try:
        context = ContextAPI.get_context(name)
    except Exception as error:
        raise HostError(f"the docker context `{name}` cannot be read: {error}") from error
    if context is None:
        raise HostError(
            f"there is no docker context `{name}`",
            hints=("`docker context ls` shows those there are",),
        )
    options = {"base_url": context.Host}
    if context.TLSConfig:
        options["tls"] = context.TLSConfig
    address, options = _with_ssh(context.Host, options)
    return f"{address} (context `{name}`)", options


def _with_ssh(address: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if address.startswith("ssh://"):
        options["use_ssh_client"] = True  # the user's own ssh, with its settings and agent
    return address, options


def _current_context(environ: Mapping[str, str]) -> str:
    """Return the context that `docker context use` has chosen, "" for none."""
    home = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")
    try:
        with open(os.path.join(home, "config.json"), encoding="utf-8") as file:
            said = json.load(file)
        return str(said.get("currentContext", ""))
    except (OSError, ValueError, AttributeError):
        return ""


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn what the SDK and its HTTP library raise into what our callers handle."""
    import requests  # noqa: PLC0415 - start-up
    import urllib3  # noqa: PLC0415 - start-up
    from docker import errors  # noqa: PLC0415 - start-up

    try:
        yield
    except (errors.NotFound, errors.ImageNotFound):
        raise
    except errors.APIError as error:
        said = str(error.explanation or error).strip()
        raise HostError(f"the Docker Engine refuses: {what}: {said}") from error
    except (
        errors.DockerException,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as error:
        raise LostEngine(
            f"{what}: {_cause(error)}", hints=("`mlbuild doctor` looks at the engine",)
        ) from error


def _cause(error: BaseException) -> str:
    """Return the innermost reason, which is the one that says something."""
    seen = 0
    while (inner := error.__cause__ or error.__context__) is not None and seen < 10:  # noqa: PLR2004 - enough
        error, seen = inner, seen + 1
    return (getattr(error, "strerror", "") or str(error) or type(error).__name__).strip()
