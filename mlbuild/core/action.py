"""Action: one step of a plan, and the Artifacts it reads and makes.

An Artifact is named by its path as an action sees it, relative to the working directory: a source
by its path in the workspace (`models/train.py`), an output as
`mlbuild-out/<package>/<target>/<path>`. A path names one artifact of a plan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OUT = "mlbuild-out"

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class InputRef:
    """In a word: where the input artifact `path` lies."""

    path: str


@dataclass(frozen=True, slots=True)
class OutputRef:
    """In a word: where the output `path` (relative to the output directory) is to be written."""

    path: str


@dataclass(frozen=True, slots=True)
class ToolRef:
    """In a word: the executable of the host tool `name`."""

    name: str


Word = tuple[str | InputRef | OutputRef | ToolRef, ...]  # the parts are joined without a separator


@dataclass(frozen=True, slots=True)
class Output:
    """A declared output: a path relative to the action's output directory."""

    path: str
    kind: Literal["file", "tree"] = "file"
    name: str = ""  # its name in the context file, "" for none


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command over the inputs."""

    argv: tuple[Word, ...]
    env: tuple[tuple[str, Word], ...] = ()
    params: Mapping[str, Json] = field(default_factory=dict)
    names: tuple[tuple[str, str], ...] = ()  # input name -> artifact path, for the context file
    tools: tuple[str, ...] = ()  # host tools, such as "python@3.11" and "uv"
    seed: int | None = None
    cpus: int = 1
    memory: int = 0  # bytes; 0 is not limited
    gpus: str = ""  # wishes in the order of preference (core/gpus.py)
    disk: int = 0  # bytes of disk that must be free where it starts; 0 is not said
    spot: bool = False  # whether it may run on a machine that can be taken away
    timeout: float = 0.0  # seconds; 0 is not limited
    network: bool = False
    caller_env: tuple[
        str, ...
    ] = ()  # patterns of the caller's variables that reach it, not the key
    quiet_env: tuple[tuple[str, str], ...] = ()  # variables that reach it but not the key
    metrics: str = ""  # the output that holds a JSON object of numbers
    checkpoint: bool = False  # whether it may keep something for an attempt after a killed one
    gate: bool = False  # its failure is a verdict (exit 3), not an accident
    each: str = ""  # an input whose every line has a result of its own; the output unites them
    share: bool = True  # whether others may be given its result
    root: str = ""  # the input that is its root file system (docs/containers.md); "" for the host's
    determinism: str = ""  # what repeating it must give again: "bitwise" "metric" "none"; "" unsaid
    tolerance: Mapping[str, float] = field(default_factory=dict)  # metric -> difference accepted
    cache: str = (
        "shared"  # who keeps results and is asked for them: "shared" "result" "local" "off"
    )


@dataclass(frozen=True, slots=True)
class Write:
    """Write the one output from a text known at analysis."""

    content: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Verify:
    """Make sure that the inputs, seen from folder `base`, are the bytes that somebody stated."""

    digest: str  # "blake3:" and 64 hex digits
    base: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan. `id` is unique there; a target's further actions are `label#mnemonic`."""

    id: str
    owner: str  # label of the target that declared it
    mnemonic: str
    does: Run | Write | Verify
    inputs: tuple[str, ...] = ()  # artifact paths, sorted
    outputs: tuple[Output, ...] = ()
    after: tuple[str, ...] = ()  # ids of Verify actions that must have passed
    folder: str = ""  # where outputs appear: mlbuild-out/<package>/<target>

    def artifact(self, output: str) -> str:
        """Return the artifact path of one of the outputs."""
        return f"{self.folder}/{output}"
