"""Event: something that happened, frozen; the engine's only voice.

Terminal, plain text, `events.jsonl` and history are readers of one stream.
"""

from dataclasses import dataclass, field

from mlbuild.core.action import Json
from mlbuild.core.result import Result


@dataclass(frozen=True, slots=True)
class BuildStarted:
    """An invocation begins."""

    invocation: str
    patterns: tuple[str, ...]
    jobs: int
    executor: str


@dataclass(frozen=True, slots=True)
class PlanReady:
    """The graph is analysed: this many targets and actions take part."""

    targets: int
    actions: int


@dataclass(frozen=True, slots=True)
class Hashing:
    """Digests of source files are being taken. Emitted while it takes long."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ActionStarted:
    """A command starts; its output grows in `log`."""

    id: str
    owner: str
    mnemonic: str
    key: str
    log: str  # absolute path


@dataclass(frozen=True, slots=True)
class ActionWaiting:
    """Another mlbuild process runs the same key; this one waits for its result."""

    id: str
    owner: str
    key: str


@dataclass(frozen=True, slots=True)
class GpuAwaited:
    """All GPUs that would do are lent, to `holders`; this action waits for `gpus` of them.

    Or it waits in the queue of another machine: then `gpus` says for what, and `holders` is "".
    """

    id: str
    owner: str
    gpus: str  # "1 GPU", "2 A100 GPUs"
    holders: str


@dataclass(frozen=True, slots=True)
class Fetching:
    """The bytes of an action's result are on their way from the shared cache."""

    id: str
    owner: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """They have come or, where not `here`, cannot be had: the action runs if they are needed."""

    id: str
    owner: str
    here: bool


@dataclass(frozen=True, slots=True)
class Uploading:
    """The build waits for so many results on their way to the shared cache."""

    results: int
    bytes: int  # sent so far


@dataclass(frozen=True, slots=True)
class ActionFinished:
    """An action has its outputs: it ran, or `source` says whose result serves.

    That is "local", or "shared" for one from the shared cache, whose bytes may have stayed there.
    """

    id: str
    owner: str
    mnemonic: str
    key: str
    ran: bool
    result: Result
    source: str = ""
    log: str = ""
    shared: bool = True  # False: used here and now, not kept in any cache
    note: str = ""  # why not


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an action failed, in full: enough to draw the whole block."""

    reason: str  # one sentence without a full stop
    kind: str  # "exit" "signal" "memory" "timeout" "output" "metrics" "gate" "verify" "host"
    exit_code: int | None = None
    signal: str = ""
    log: str = ""  # absolute path, "" where no command ran
    tail: tuple[str, ...] = ()  # the last lines of the log
    hints: tuple[str, ...] = ()
    seconds: float = 0.0
    sandbox: str = ""  # absolute path of what was staged and written, where that was kept


@dataclass(frozen=True, slots=True)
class ActionFailed:
    """An action failed; nothing of it is kept but its log."""

    id: str
    owner: str
    mnemonic: str
    key: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class ActionSkipped:
    """An action could not run because `because` (an action id) failed, or the build stopped."""

    id: str
    owner: str
    because: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a user should know once."""

    message: str
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WouldRun:
    """In a dry run: an action that would run, and the reason."""

    id: str
    owner: str
    mnemonic: str
    reason: str


@dataclass(frozen=True, slots=True)
class BuildFinished:
    """What an invocation reached."""

    ran: tuple[str, ...]
    cached: tuple[str, ...]
    fetched: tuple[str, ...]
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    outputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    metrics: dict[str, dict[str, Json]] = field(default_factory=dict)
    seconds: float = 0.0
    exit_code: int = 0
    dry_run: bool = False
    down: int = 0  # bytes from the shared cache
    up: int = 0  # bytes to it
    saved: float = 0.0  # seconds that the results from the shared cache had taken to make
    saved_local: float = 0.0  # the same for those of the local store
    uploads_left: int = 0  # results that are still to be uploaded
    uploads_go_on: bool = False  # whether that happens now, without this process


Event = (
    BuildStarted
    | PlanReady
    | Hashing
    | ActionStarted
    | ActionWaiting
    | GpuAwaited
    | Fetching
    | Fetched
    | Uploading
    | ActionFinished
    | ActionFailed
    | ActionSkipped
    | Warned
    | WouldRun
    | BuildFinished
)
