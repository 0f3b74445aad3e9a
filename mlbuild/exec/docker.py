"""Docker: runs an action in a container of its own, under the same contract as the sandbox.

The image is the action's root, made of the same tree that a sandbox would show
(`docker_image.py`). Nothing is writable but `/out`, `/checkpoint` and what is in memory; there is
no network unless declared; no right of root is left; the user is the caller.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

from mlbuild.core.action import Run
from mlbuild.errors import HostError
from mlbuild.exec import caller, cgroup, docker_usage, view
from mlbuild.exec.base import Execution, Job
from mlbuild.exec.docker_command import Command, command_of
from mlbuild.exec.docker_engine import Engine, Facts, LostEngine, engine_errors, labels
from mlbuild.exec.docker_image import load, loaded
from mlbuild.exec.docker_watch import Watch
from mlbuild.exec.etc import prepare_user
from mlbuild.exec.launcher import GRACE
from mlbuild.exec.root import ETC, root_of
from mlbuild.exec.sandbox import Sandbox, stage, write_new

_SHARED = 2 << 30  # bytes; loaders of training data hand their batches through it
_SIGNAL = 128  # an exit code above tells a signal
_SIGNALS = 64
_NANO = 1_000_000_000
# What Docker hides by itself, and the kernel's settings, which a sandbox does not show either.
_HIDDEN = (
    *("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi"),
    *("/proc/interrupts", "/sys/firmware", "/sys/devices/virtual/powercap"),
)
_CDI_SPECS = ("/etc/cdi", "/var/run/cdi")


@dataclass(frozen=True, slots=True)
class _Places:
    """What of this host a container sees: pairs of a host path and the path inside."""

    read: tuple[tuple[str, str], ...]
    written: tuple[tuple[str, str], ...]


class Docker:
    """The executor "docker". `folder` is a private directory that it may keep small files in."""

    name = "docker"
    hermetic = True

    def __init__(self, folder: str, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._facts: Facts | None = None
        self._version = "auto"  # of the API, once it is known
        self._engine: Engine | None = None
        self._process = 0  # whose connection that is: a fork makes its own
        self._beginning = Lock()  # of who asks first, or brings an image first
        self._is_cancelled = False
        self._grace = GRACE
        self._cancelled = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def available(self) -> str:
        """Return "" when actions can run in containers, else the reason why not."""
        try:
            with self._beginning:
                self._ready()
        except HostError as error:
            return error.message
        return ""

    def run(self, job: Job) -> Execution:
        """Run the command of `job` to its end; raise HostError where this host cannot."""
        root = root_of(job)
        if root is None:
            raise HostError(
                f"`{job.action.owner}` has no image to run in",
                hints=(
                    "give it a container_environment, as `environment` or `container`",
                    "or run with `--executor auto`: it takes Docker for what has an image",
                ),
            )
        with self._beginning:
            engine, facts = self._ready()
            image = loaded(engine, root, folder=self._folder, scratch=job.scratch)
        sandbox = stage(job)
        sandbox.add_mount_points()
        called = caller.shown(job)
        inside = view.contained(job, image_env=root.env)
        command = command_of([view.text(word, inside) for word in job.run.argv], root)
        env = view.environment(job, inside, called.variables) | {"PWD": inside.work}
        context = f"{job.staging or job.scratch}/context.json"
        write_new(context, view.context(job, inside))
        usage = docker_usage.usage(facts.cgroups)
        places = self._places(job, sandbox, inside, called=called, context=context)
        config = _host_config(engine, facts, job, places, parent=usage.parent)

        def create(image: str) -> str:
            return _created(engine, image, command, env, config, job=job, user=_user(facts))

        container = ""
        try:
            try:
                container = create(image)
            except KeyError:  # somebody removed the image meanwhile
                image = load(engine, root, folder=self._folder, scratch=job.scratch)
                container = create(image)
            return self._watched(engine, job, sandbox.out, container, command, usage=usage)
        finally:
            try:
                if container:
                    with suppress(LostEngine):  # the next run sweeps what this one cannot
                        engine.remove(container)
            finally:
                usage.remove()
                os.unlink(context)
                (sandbox.settle if job.keep else sandbox.clear)()

    def cancel(self, *, grace: float = GRACE) -> None:
        """End every running command with all its children; later `run`s end at once.

        Each has `grace` seconds to end by itself.
        """
        self._grace = grace
        self._is_cancelled = True
        os.eventfd_write(self._cancelled, 1)

    def close(self) -> None:
        """Close the connection to the engine."""
        if self._engine is not None and self._process == os.getpid():
            self._engine.close()
        self._engine = None

    def _ready(self) -> tuple[Engine, Facts]:
        """Return this process's connection; the first one of all sweeps what others left."""
        if self._engine is None or self._process != os.getpid():
            engine = Engine(self._environ, version=self._version)
            if self._facts is None:
                facts = engine.facts()
                if not facts.here:
                    engine.close()
                    raise HostError(
                        f"the Docker Engine at {facts.address} is on another host, so it does not "
                        "see the files of this one",
                        hints=("use an engine of this host, or `--executor sandbox`",),
                    )
                engine.sweep()
                docker_usage.sweep(facts.cgroups)
                self._facts, self._version = facts, engine.version
            self._engine, self._process = engine, os.getpid()
        assert self._facts is not None
        return self._engine, self._facts

    def _watched(
        self,
        engine: Engine,
        job: Job,
        out: str,
        container: str,
        command: Command,
        *,
        usage: docker_usage.Usage,
    ) -> Execution:
        """Start the container and see it to its end."""
        if self._is_cancelled:
            return Execution(out, None, signal=signal.SIGTERM, interrupted=True)
        watch = Watch(engine, container, log=job.log)
        try:
            with job.turn:
                started = monotonic()
                with engine_errors("a container could not be started"):
                    engine.api.start(container)
                watch.begin()
                deadline = started + job.run.timeout if job.run.timeout > 0 else 0.0
                ended_by = self._ended(watch, deadline)
                seconds = monotonic() - started
            code = watch.code()
        finally:
            watch.close()
        out_of_memory = bool(job.run.memory) and _was_out_of_memory(engine, container)
        if not (ended_by or out_of_memory):
            command.check(code, job.log, since=watch.log_start)
        exit_code, number = _split(code)
        return Execution(
            out,
            exit_code,
            signal=number,
            timed_out=ended_by == "timeout",
            out_of_memory=out_of_memory,
            interrupted=ended_by == "cancel",
            seconds=seconds,
            cpu_seconds=usage.seconds(),
            peak_memory=usage.peak_memory(),
        )

    def _ended(self, watch: Watch, deadline: float) -> str:
        """Wait until the container has ended; return what made us end it, "" for nothing."""
        ended_by = watch.wait(deadline, unless=self._cancelled)
        if ended_by:
            watch.kill(signal.SIGTERM)
            if watch.wait(monotonic() + self._grace):
                watch.kill(signal.SIGKILL)
                if watch.wait(monotonic() + 30):
                    raise LostEngine("the Docker Engine does not end a container that it shall")
        return ended_by

    def _places(
        self, job: Job, sandbox: Sandbox, inside: view.View, *, called: caller.Shown, context: str
    ) -> _Places:
        read = [(sandbox.work, inside.work), (context, inside.context)]
        read += [(whole.place, f"{inside.work}/{whole.path}") for whole in sandbox.wholes]
        read += [(tool.root, tool.mount) for tool in job.tools.values()]
        read += called.mounts
        user = prepare_user(self._folder, os.geteuid(), os.getegid())
        read += [(f"{user}/{name}", f"/etc/{name}") for name in ("passwd", "group")]
        if job.run.network:
            read += [(f"/etc/{name}", f"/etc/{name}") for name in ETC]
        written = [(sandbox.out, inside.out)]
        if inside.checkpoint:
            written.append((job.checkpoint, inside.checkpoint))
        if inside.cache:
            written.append((job.cache, inside.cache))
        return _Places(tuple(read), tuple(written))


def _user(facts: Facts) -> str:
    """Return the user of containers: whoever owns what it writes on this host is the caller."""
    return "0:0" if facts.rootless else f"{os.geteuid()}:{os.getegid()}"


def _host_config(
    engine: Engine, facts: Facts, job: Job, places: _Places, *, parent: str
) -> dict[str, Any]:
    """Return what the container may use of the host."""
    from docker.types import Mount  # noqa: PLC0415 - start-up

    run = job.run
    mounts = [
        Mount(inside, place, type="bind", read_only=read_only)
        for pairs, read_only in ((places.read, True), (places.written, False))
        for place, inside in pairs
    ]
    hidden = [f"{tool.mount}/{path}" for tool in job.tools.values() for path in tool.hidden]
    config: dict[str, Any] = engine.api.create_host_config(
        mounts=mounts,
        tmpfs={
            view.TEMPORARY: "rw,exec,nosuid,nodev,mode=1777",
            view.HOME: "rw,exec,nosuid,nodev,mode=1777",
            **dict.fromkeys(hidden, "ro"),
        },
        network_mode="host" if run.network else "none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        init=True,
        pids_limit=cgroup.PIDS,
        shm_size=max(_SHARED, run.memory),
        nano_cpus=min(run.cpus, os.cpu_count() or 1) * _NANO,
        log_config={"Type": "none"},
        device_requests=_gpus(facts, job),
        **_limits(run),
        **({"cgroup_parent": parent} if parent else {}),
        **({"userns_mode": "host"} if facts.remapped else {}),
    )
    # A GPU's libraries look it up there.
    config["MaskedPaths"] = [*_HIDDEN, *([] if job.gpus else ["/sys"])]
    return config


def _limits(run: Run) -> dict[str, int]:
    return {"mem_limit": run.memory, "memswap_limit": run.memory} if run.memory else {}


def _gpus(facts: Facts, job: Job) -> list[Any]:
    """Return the request for the GPUs that were lent to the job, by UUID."""
    if not job.gpus:
        return []
    from docker.types import DeviceRequest  # noqa: PLC0415 - start-up

    uuids = [gpu.uuid for gpu in job.gpus]
    if facts.cdi and _has_cdi_specs():
        names = [f"nvidia.com/gpu={uuid}" for uuid in uuids]
        return [DeviceRequest(driver="cdi", device_ids=names)]
    return [DeviceRequest(driver="nvidia", device_ids=uuids, capabilities=[["gpu"]])]


def _has_cdi_specs() -> bool:
    """Say whether this host describes NVIDIA's devices for CDI."""
    return any(
        name.startswith("nvidia")
        for folder in _CDI_SPECS
        if os.path.isdir(folder)
        for name in os.listdir(folder)
    )


def _created(
    engine: Engine,
    image: str,
    command: Command,
    env: Mapping[str, str],
    config: dict[str, Any],
    *,
    job: Job,
    user: str,
) -> str:
    """Create the container; return its id. Raises KeyError when the engine lacks the image."""
    from docker import errors  # noqa: PLC0415 - start-up

    variables = [f"{name}={value}" for name, value in env.items()]
    with engine_errors("a container could not be created"):
        try:
            found: dict[str, str] = engine.api.create_container(
                image,
                command=command.words,
                hostname="mlbuild",
                user=user,
                environment=[*variables, "HOSTNAME"],  # without a value: Docker's own goes
                working_dir="/work",
                labels=labels(job.action.id),
                host_config=config,
            )
        except errors.ImageNotFound as error:
            raise KeyError(image) from error
    return found["Id"]


def _was_out_of_memory(engine: Engine, container: str) -> bool:
    """Ask the engine whether the kernel has killed something in the container for its memory."""
    with engine_errors("it could not say how a container ended"):
        said = engine.api.inspect_container(container)
    return bool(said["State"].get("OOMKilled"))


def _split(code: int) -> tuple[int | None, int]:
    """Return the exit code or signal: a container tells a signal as 128 and its number."""
    if _SIGNAL < code <= _SIGNAL + _SIGNALS:
        return None, code - _SIGNAL
    return code, 0
