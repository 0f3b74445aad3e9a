"""View: what an action is told about its surroundings: its words, its environment, its context."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlbuild.core.action import InputRef, Json, OutputRef, ToolRef, Word
from mlbuild.exec.base import Job, Tool
from mlbuild.exec.sandbox import EPOCH

TEMPORARY = "/tmp"  # noqa: S108 - the action's own
HOME = "/tmp/home"  # noqa: S108


@dataclass(frozen=True, slots=True)
class View:
    """Where an action sees things: host paths, or the paths inside its sandbox. All absolute."""

    work: str
    out: str
    context: str
    home: str
    temporary: str
    checkpoint: str  # "" for none
    cache: str  # "" for none
    tools: Mapping[str, str]  # name -> executable
    image_env: Mapping[str, str] = field(default_factory=dict)  # what the image says


def contained(job: Job, *, image_env: Mapping[str, str]) -> View:
    """Return what an action sees that has a file system of its own, in a sandbox or a container."""
    return View(
        work="/work",
        out="/out",
        context="/context.json",
        home=HOME,
        temporary=TEMPORARY,
        checkpoint="/checkpoint" if job.checkpoint else "",
        cache="/cache" if job.cache and job.run.network else "",
        tools={name: mounted(tool) for name, tool in job.tools.items()},
        image_env=image_env,
    )


def mounted(tool: Tool) -> str:
    """Return where a sandbox shows the executable of `tool`."""
    return _executable(tool, tool.mount or tool.root)


def on_host(tool: Tool) -> str:
    """Return where the executable of `tool` lies on the host."""
    return _executable(tool, tool.root)


def _executable(tool: Tool, root: str) -> str:
    return f"{root}/{tool.executable}" if tool.executable else root


def text(word: Word, view: View) -> str:
    """Return `word` as the action is to see it. Inputs are relative to its working directory."""
    return "".join([part if isinstance(part, str) else _place(part, view) for part in word])


def _place(part: InputRef | OutputRef | ToolRef, view: View) -> str:
    match part:
        case InputRef(path):
            return path
        case OutputRef(path):
            return f"{view.out}/{path}"
        case ToolRef(name):
            return view.tools[name]


def environment(job: Job, view: View, caller_env: Mapping[str, str]) -> dict[str, str]:
    """Return all variables of the action: fixed ones, then the rule's, then the caller's.

    An image may say where programs are (PATH) and add what is not fixed.
    """
    run = job.run
    cpus = str(run.cpus)
    variables = {
        "PATH": "/usr/bin:/bin",
        **view.image_env,
        "HOME": view.home,
        "TMPDIR": view.temporary,
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "OMP_NUM_THREADS": cpus,
        "OPENBLAS_NUM_THREADS": cpus,
        "MKL_NUM_THREADS": cpus,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "MLBUILD_CONTEXT": view.context,
        "MLBUILD_OUT": view.out,
    }
    if run.seed is not None:
        variables["MLBUILD_SEED"] = str(run.seed)
    if run.determinism == "bitwise":
        variables["MLBUILD_DETERMINISM"] = run.determinism
    if job.gpus:
        # By UUID: numbers differ with the order that a library counts in.
        chosen = ",".join(gpu.uuid for gpu in job.gpus)
        variables |= {"CUDA_VISIBLE_DEVICES": chosen, "NVIDIA_VISIBLE_DEVICES": chosen}
    variables.update((name, text(word, view)) for name, word in run.env)
    variables.update(caller_env)
    variables.update(run.quiet_env)
    if view.cache:  # the caller's own would be read-only here
        variables["UV_CACHE_DIR"] = f"{view.cache}/uv"
    return variables


def context(job: Job, view: View) -> bytes:
    """Return the JSON that MLBUILD_CONTEXT names; a name of several inputs has a list of paths."""
    run = job.run
    inputs: dict[str, Json] = {}
    for name, path in run.names:
        before = inputs.get(name)
        if before is None:
            inputs[name] = path
        else:
            inputs[name] = [*(before if isinstance(before, list) else [before]), path]
    return json.dumps(
        {
            "params": dict(run.params),
            "inputs": inputs,
            "outputs": {
                output.name or output.path: f"{view.out}/{output.path}"
                for output in job.action.outputs
            },
            "seed": run.seed,
            "resources": {"cpus": run.cpus},
            "checkpoint": view.checkpoint or None,
        }
    ).encode()
