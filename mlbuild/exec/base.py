"""The protocol of executors: run one Action in a Sandbox, tell what happened."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mlbuild.core.action import Action, Run
from mlbuild.core.result import Content


@dataclass(frozen=True, slots=True)
class Staged:
    """An input whose bytes lie at `place` on this host."""

    path: str  # where the action sees it, relative to its working directory
    place: str  # absolute path of a file or directory; "" when its bytes are in `Job.known`
    content: Content


@dataclass(frozen=True, slots=True)
class Tool:
    """A host tool: its files at `root`, seen by actions at `mount`, its executable below."""

    name: str  # as in Run.tools
    root: str  # absolute host path of a directory or file
    mount: str  # absolute path inside a sandbox; "" where the sandbox shows `root` itself anyway
    executable: str  # relative to root; "" when root is the executable
    content: str  # identity for the manifest
    hidden: tuple[str, ...] = ()  # folders below root that an action must not see


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this host that an action may use."""

    uuid: str  # "GPU-…", the same after every restart
    name: str  # "NVIDIA A100-SXM4-80GB"
    driver: str = ""  # version of the host's driver
    memory: int = 0  # bytes
    cuda: str = ""  # the latest version of CUDA that the driver serves

    def __str__(self) -> str:
        words = (self.driver and f"driver {self.driver}", self.cuda and f"CUDA {self.cuda}")
        return ", ".join(filter(None, (self.name, *words)))


@dataclass(frozen=True, slots=True)
class Streams:
    """Descriptors that a command reads and writes, instead of nothing and its log."""

    stdin: int
    stdout: int
    stderr: int
    terminal: bool = False  # all three are one terminal, and the command's session owns it


@dataclass(frozen=True, slots=True)
class Job:
    """One command to run: everything an Executor needs, prepared and frozen."""

    action: Action
    run: Run
    inputs: tuple[Staged, ...]
    tools: Mapping[str, Tool]
    caller_env: Mapping[str, str]  # the caller's variables that `run.caller_env` lets through
    scratch: str  # absolute path of an existing empty private directory, removed by the caller
    staging: str  # likewise, in memory, for small files; "" for none
    log: str  # absolute path; stdout and stderr are appended
    checkpoint: str  # absolute path of a private directory that survives; "" for none
    cache: str = ""  # absolute path of a directory that network actions may use between runs
    known: dict[str, bytes] = field(default_factory=dict)  # bytes of tiny files by hash; grows
    turn: AbstractContextManager[None] = field(default_factory=nullcontext)  # held by the command
    gpus: tuple[Gpu, ...] = ()  # lent to it alone
    streams: Streams | None = None  # of a command that somebody talks with
    keep: bool = False  # leave what was staged where it is, all of it, for somebody to look at
    key: str = ""  # of the action; "" for a run whose outcome nobody else may be given
    wait: Callable[[str], None] = lambda _: None  # hears what the command waits for, elsewhere
    locks: tuple[int, ...] = ()  # descriptors that its processes keep: what they lock is taken


@dataclass(frozen=True, slots=True)
class Execution:
    """How a command ended. Its outputs lie in `out`; no process of it is alive."""

    out: str  # absolute path of the output directory, inside the job's scratch
    exit_code: int | None  # None when a signal ended it
    signal: int = 0
    timed_out: bool = False
    out_of_memory: bool = False  # from the cgroup's own counter, never guessed
    interrupted: bool = False  # stopped by `cancel`
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0  # bytes
    gpus: tuple[Gpu, ...] = ()  # that it was lent
    resumed: bool = False  # whether it had something that an earlier attempt left
    taken: Callable[[], None] = lambda: None  # to be called once what it made is kept, or judged


class Executor(Protocol):
    """Runs one Job at a time per calling thread."""

    hermetic: bool

    @property
    def name(self) -> str:
        """What ran the last job of the calling thread."""
        ...

    def run(self, job: Job) -> Execution:
        """Run the command of `job` to its end; raise HostError where this host cannot."""
        ...

    def cancel(self) -> None:
        """End every running command, now and with all its children; later `run`s end at once."""
        ...

    def close(self) -> None:
        """Free what is held between runs."""
        ...


class Patient(Executor, Protocol):
    """An Executor of this machine, which lets commands take their time to end."""

    def cancel(self, *, grace: float = 2.0) -> None:
        """End every running command, each after `grace` seconds at most; later `run`s at once."""
        ...


@runtime_checkable
class Away(Protocol):
    """What an Executor also has whose jobs run on other machines: CPUs and GPUs are theirs."""

    where: str  # what a user calls the machine, or the machines
    jobs: int  # CPUs whose actions may be under way together, those that wait there included

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs that it may lend; raise HostError where nobody answers."""
        ...


@runtime_checkable
class Reachable(Protocol):
    """What an Away also has that this host may stand in for: `fallback` in its table."""

    def reach(self) -> None:
        """Connect; raise HostError where that cannot be, an Outage where it may pass."""
        ...
