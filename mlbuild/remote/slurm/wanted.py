"""Wanted: what a table of the kind `slurm` asks of Slurm for all its jobs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlbuild.remote.options import Options
from mlbuild.settings import described

TIME = re.compile(r"\d{1,6}|\d{1,6}(:\d\d){1,2}|\d{1,5}-\d\d?(:\d\d){0,2}")  # as sbatch takes it
GRES = re.compile(r"[A-Za-z][\w/.-]*(?::[A-Za-z_][\w.+-]*)?")
_NAME = re.compile(r"[\w.@+,-]{1,255}")
_OPTION = re.compile(r"(--[a-z][a-z0-9-]*)(=.*)?", re.DOTALL)
# What a job's request says by itself, or what would make it another kind of job.
_OURS = frozenset(
    {
        *("--array", "--batch", "--begin", "--chdir", "--clusters", "--comment", "--cpus-per-task"),
        *("--error", "--export", "--export-file", "--get-user-env", "--gres", "--help", "--hold"),
        *("--input", "--job-name", "--mem", "--nodes", "--ntasks", "--open-mode", "--output"),
        *(
            "--parsable",
            "--requeue",
            "--no-requeue",
            "--signal",
            "--test-only",
            "--time",
            "--usage",
        ),
        *("--version", "--wait", "--wrap", "--account", "--partition", "--qos", "--dependency"),
        *("--quiet", "--uid", "--gid", "--tmp", "--ignore-pbs"),
    }
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all jobs of an executor ask of Slurm, beside what their targets need."""

    partition: str = ""  # "" is what Slurm takes by default, here and below
    account: str = ""
    qos: str = ""
    time: str = ""  # limit of a job whose target has no timeout
    spot_partition: str = ""  # for targets that may be taken away
    spot_qos: str = ""
    gres: Mapping[str, str] = field(default_factory=dict)  # model as targets say it -> gres
    requeue: bool = True  # whether Slurm itself may start a job again
    options: tuple[str, ...] = ()  # further words for sbatch

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, as JSON has them."""
        return asdict(self)


def wanted_from(said: Mapping[str, Any]) -> Wanted:
    """Read what `as_dict` gave."""
    known = {name: said[name] for name in Wanted.__slots__ if name in said}
    return Wanted(**{**known, "options": tuple(said.get("options", ()))})


def wanted_of(options: Options) -> Wanted:
    """Read what a table says; raise InputError for what cannot be meant."""
    names = ("partition", "account", "qos", "spot_partition", "spot_qos")
    texts = {name: options.value(name, "") for name in names}
    for name, value in texts.items():
        if value and not _NAME.fullmatch(value):
            raise options.fault(name, f"is a name that Slurm knows, not `{value}`")
    time = options.value("time", "")
    if time and not TIME.fullmatch(time):
        raise options.fault(
            "time", f"is a limit as sbatch takes it, such as `12:00:00` or `2-00`, not `{time}`"
        )
    return Wanted(
        **texts,
        time=time,
        gres=_gres(options),
        requeue=options.value("requeue", True),
        options=_further(options),
    )


def _gres(options: Options) -> dict[str, str]:
    found = options.several("gres", {})
    if not isinstance(found, dict):
        raise options.fault("gres", f"is a table of GPU models, not {described(found)}")
    for model, gres in found.items():
        if not isinstance(gres, str) or not GRES.fullmatch(gres):
            raise options.fault(
                "gres", f'takes what Slurm calls a GPU, such as `{model} = "gpu:a100"`'
            )
    return {str(model): str(gres) for model, gres in found.items()}


def _further(options: Options) -> tuple[str, ...]:
    found = options.several("options", [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise options.fault("options", 'is a list of texts: `["--constraint=a100"]`')
    for one in found:
        option = _OPTION.fullmatch(one)
        if not option or not one.isprintable():
            raise options.fault("options", f"takes words like `--constraint=a100`, not `{one}`")
        if option[1] in _OURS:
            raise options.fault("options", f"cannot have `{option[1]}`: {_instead(option[1])}")
    return tuple(found)


def _instead(option: str) -> str:
    name = option[2:]
    if name in {"partition", "account", "qos", "time", "requeue", "gres"}:
        return f"write `{name}` in the table"
    if name in {"cpus-per-task", "mem", "tmp"}:
        return "it comes from the `resources` of targets"
    return "mlbuild says it for every job"


def words_of(seconds: float) -> str:
    """Return a span of time as sbatch takes it, in whole minutes."""
    return str(max(1, -int(-seconds // 60)))


def seconds_of(text: str) -> float:
    """Return the seconds of a limit as Slurm writes it: `2-01:00:00`, `30:00`, `UNLIMITED`."""
    if not TIME.fullmatch(text):
        return float("inf")
    days, dash, rest = text.rpartition("-")
    parts = [int(one) for one in rest.split(":")]
    if dash:
        hours, minutes, seconds = _three(parts)
    elif len(parts) == 1:
        hours, minutes, seconds = 0, parts[0], 0
    else:
        hours, minutes, seconds = _three([0, *parts][-3:])
    return int(days or 0) * 86400.0 + hours * 3600 + minutes * 60 + seconds


def _three(parts: Sequence[int]) -> tuple[int, int, int]:
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return hours, minutes, seconds
