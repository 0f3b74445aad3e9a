"""Failures: why a command failed, in a sentence, with hints and the end of its log."""

import os

from mlbuild.core.action import Action, Run
from mlbuild.core.event import Failure
from mlbuild.errors import GateError
from mlbuild.exec.base import Execution
from mlbuild.exec.hints import stated_places, wanted_files
from mlbuild.store import files

TAIL = 20  # lines of a log that a failure shows


def failure_of(
    action: Action, run: Run, execution: Execution, *, log: str, root: str
) -> Failure | None:
    """Say in one sentence why the command failed; None when it did not."""
    if execution.exit_code == 0 and not (
        execution.timed_out or execution.out_of_memory or execution.interrupted
    ):
        return None
    tail = log_tail(log)
    hints: tuple[str, ...] = ()
    if execution.interrupted:
        reason, kind = "it was interrupted", "interrupted"
    elif execution.timed_out:
        reason, kind = f"it was ended after its timeout of {run.timeout:g} s", "timeout"
    elif execution.out_of_memory:
        limit = f" of {run.memory >> 20} MiB" if run.memory else ""
        reason, kind = f"it used more than its memory{limit} and was killed", "memory"
        hints = ("raise `memory` in its `resources`",)
    elif execution.exit_code is None:
        reason, kind = f"it was killed by signal {execution.signal}", "signal"
    elif run.gate and execution.exit_code == GateError.exit_code:
        reason, kind = "a gate was missed", "gate"
    else:
        reason, kind = f"it ended with exit code {execution.exit_code}", "exit"
        hints = _hints(action, log, root)
    return Failure(
        reason,
        kind,
        execution.exit_code,
        str(execution.signal or ""),
        log,
        tail,
        hints,
        execution.seconds,
    )


def _hints(action: Action, log: str, root: str) -> tuple[str, ...]:
    """Name the workspace files that the script wanted but its target does not declare."""
    declared = set(action.inputs)

    def undeclared(path: str) -> bool:
        return path not in declared and os.path.isfile(os.path.join(root, path))

    script = next(
        (path for path in action.inputs if path.endswith(".py") and not path.startswith("@")),
        "",
    )
    said = read_end(log, 1 << 20).decode("utf-8", "replace")
    found = wanted_files(said, undeclared, root=root, near=os.path.dirname(script))

    def text_of(path: str) -> str:
        return read_end(os.path.join(root, path), 1 << 24).decode("utf-8", "replace")

    return stated_places(said, text_of) + tuple(
        f"`{path}` is a file of the workspace, but not an input: "
        f"add it to `{_attribute(path)}` of `{action.owner}`"
        for path in found
    )


def _attribute(path: str) -> str:
    """Return the attribute that an undeclared file most likely belongs to."""
    return "srcs" if path.endswith((".py", ".sh")) else "srcs` or `data"


def log_tail(log: str) -> tuple[str, ...]:
    """Return the last lines of a log."""
    return tuple(read_end(log, 1 << 20).decode("utf-8", "replace").splitlines()[-TAIL:])


def read_end(path: str, limit: int) -> bytes:
    """Return the last `limit` bytes of a file, nothing when there is none."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - limit))
            return file.read()
    except FileNotFoundError:
        return b""


def save_strays(out: str, action: Action) -> None:
    """Save what an action wrote beside its outputs, if one of these is missing.

    What is not declared is removed when outputs are kept, and here it may be what is looked for.
    """
    if all(os.path.lexists(f"{out}/{output.path}") for output in action.outputs):
        return
    import shutil  # noqa: PLC0415 - after a failure that somebody wants to look at

    shutil.copytree(out, f"{out}-whole", symlinks=True)


def restore_strays(out: str) -> None:
    """Put back what `save_strays` saved."""
    if os.path.isdir(f"{out}-whole"):
        files.remove(out)
        os.rename(f"{out}-whole", out)
