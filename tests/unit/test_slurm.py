"""What is asked of Slurm, and what its answers mean."""

import json
import os
import shlex
import time
from pathlib import Path

import pytest

from mlbuild.core.action import Action, Run
from mlbuild.core.gpus import parse_wishes
from mlbuild.errors import HostError
from mlbuild.exec.base import Gpu
from mlbuild.remote.order import Order
from mlbuild.remote.slurm.commands import Commands
from mlbuild.remote.slurm.job import given_gpus
from mlbuild.remote.slurm.pools import Pool, gpus_in, gres_of, meant, pools_in
from mlbuild.remote.slurm.queue import Queue
from mlbuild.remote.slurm.request import Request, request_for, script_of
from mlbuild.remote.slurm.wanted import Wanted, seconds_of, wanted_from, words_of
from mlbuild.shared.base import SharedTrouble

SINFO = """\
main|up|4|64+|512000|0|2-00:00:00|gpu:a100:4(S:0-1),mps:8|main*
main|up|2|128|1024000|0|2-00:00:00|gpu:nvidia_h100_80gb_hbm3:8|main*
cpu|down|9|32|128000|900|infinite|(null)|cpu
a line that is none
"""
POOLS = pools_in(SINFO)


def order(run: Run, *, owner: str = "//:net") -> Order:
    return Order("ab", "1", Action("a", owner, "train", run), (), {}, "linux", "")


def request(run: Run, *, wanted: Wanted | None = None, owner: str = "//:net") -> Request:
    return request_for(
        order(run, owner=owner),
        {"id": "12"},
        wanted=wanted or Wanted(),
        pools=POOLS,
        said="/far/50%.out",
        mark="mlbuild here 12",
    )


def test_what_sinfo_prints_is_read() -> None:
    assert (
        Pool("main", True, True, 4, 64, 512000, 0, "2-00:00:00", (("a100", 4),)),
        Pool("main", True, True, 2, 128, 1024000, 0, "2-00:00:00", (("nvidia_h100_80gb_hbm3", 8),)),
        Pool("cpu", False, False, 9, 32, 128000, 900, "infinite", ()),
    ) == POOLS
    assert [one.partition for one in meant(POOLS, "")] == ["main", "main"]
    assert [one.partition for one in meant(POOLS, "cpu,night")] == ["cpu"]


@pytest.mark.parametrize(
    ("wish", "gres"),
    [
        ("1", "gpu:1"),
        ("A100:2", "gpu:a100:2"),
        ("H100-80GB:8", "gpu:nvidia_h100_80gb_hbm3:8"),
        ("A100:8", ""),
        ("8", "gpu:8"),
        ("T4", ""),
        ("T4, A100:8, H100", "gpu:nvidia_h100_80gb_hbm3:1"),
        ("big:4", "gpu:a100:4"),
    ],
)
def test_a_wish_for_gpus_becomes_what_slurm_calls_them(wish: str, gres: str) -> None:
    assert gres_of(parse_wishes(wish), POOLS, names={"big": "gpu:a100"}) == gres


def test_gpus_of_a_node_are_those_that_a_job_may_get() -> None:
    found = gpus_in(POOLS, names={"A100": "gpu:a100"})

    assert [gpu.name for gpu in found] == ["A100"] * 4 + ["nvidia_h100_80gb_hbm3"] * 8
    assert len({gpu.uuid for gpu in found}) == 12


def test_resources_become_options_of_sbatch() -> None:
    run = Run((), cpus=4, memory=1 << 30, gpus="A100:2", timeout=3600.0, spot=True)
    wanted = Wanted("main", "lab", "high", "2-00", spot_qos="spare", options=("--constraint=ib",))

    asked = request(run, wanted=wanted).options

    assert asked[-1] == "--constraint=ib"
    assert {
        *("--cpus-per-task=4", "--mem=1280M", "--gres=gpu:a100:2", "--time=75", "--partition=main"),
        *("--account=lab", "--qos=spare", "--requeue", "--signal=B:USR1@60"),
        *("--job-name=//:net", "--comment=mlbuild here 12", "--output=/far/50%%.out"),
    } <= set(asked)


def test_a_target_that_asks_for_nothing_gets_what_slurm_gives_by_default() -> None:
    asked = " ".join(request(Run(()), wanted=Wanted(requeue=False)).options)

    assert "--no-requeue" in asked
    for name in ("mem", "gres", "time", "partition", "account", "qos", "tmp"):
        assert f"--{name}=" not in asked


def test_the_time_of_a_job_ends_with_the_limit_of_its_partition() -> None:
    assert "--time=2880" in request(Run((), timeout=2 * 86400.0 - 60)).options
    with pytest.raises(HostError, match="ends jobs of the partition `main` after 2-00:00:00"):
        request(Run((), timeout=3 * 86400.0))


def test_disk_is_asked_for_only_where_slurm_counts_it() -> None:
    wanted = Wanted("cpu")

    assert "--tmp=10M" in request(Run((), disk=10 << 20), wanted=wanted).options
    assert not [one for one in request(Run((), disk=10 << 20)).options if "--tmp" in one]


@pytest.mark.parametrize("word", ["a b", "'; touch /tmp/x; '", "$(id)", "`id`", "\\", "é", "-x"])
def test_the_script_has_quoted_words_only(word: str) -> None:
    script = script_of({"root": word})

    shebang, trap, line = script.splitlines()
    words = shlex.split(line)
    assert (shebang, trap) == ("#!/bin/sh", "trap '' USR1 HUP")
    assert words[0] == "exec"
    assert json.loads(words[-1]) == {"root": word}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("2:00:00", 7200),
        ("2-12", 216000),
        ("1-00:00:01", 86401),
        ("UNLIMITED", float("inf")),
    ],
)
def test_a_limit_is_read_as_slurm_writes_it(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_a_span_of_time_is_asked_for_in_whole_minutes() -> None:
    assert [words_of(one) for one in (1, 60, 61)] == ["1", "1", "2"]


def test_what_a_table_asks_for_survives_the_way_to_the_other_side() -> None:
    wanted = Wanted("main", gres={"A100": "gpu:a100"}, options=("--nice",), requeue=False)

    assert wanted_from(json.loads(json.dumps(wanted.as_dict()))) == wanted


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, ["GPU-b", "GPU-a"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b"}, ["GPU-b"]),
        ({"SLURM_JOB_GPUS": "3"}, ["3"]),
        ({"SLURM_STEP_GPUS": "0", "SLURM_JOB_GPUS": "0,1"}, ["GPU-a"]),
        ({}, []),
    ],
)
def test_a_job_uses_the_gpus_that_slurm_gave_it(environ: dict[str, str], names: list[str]) -> None:
    found = (Gpu("GPU-a", "A100"), Gpu("GPU-b", "A100"))

    assert [gpu.uuid for gpu in given_gpus(environ, found)] == names


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_one_question_answers_for_all_jobs_and_the_last_of_an_order_counts(tmp_path: Path) -> None:
    rows = (
        "7|COMPLETED|main|1:00|0:30||None|mlbuild here aa",
        "9|PENDING|main|1:00|1:00|gpu:1|Resources|mlbuild here aa",
        "8|RUNNING|main|1:00|0:10||None|mlbuild here bb",
        "5|RUNNING|main|1:00|0:10||None|mlbuild elsewhere cc",
        "6|RUNNING|main|1:00|0:10||None|another job",
    )
    text = "\n".join(rows)
    program(tmp_path, "squeue", f"echo asked >>{tmp_path}/count\ncat <<'END'\n{text}\nEND")
    queue = Queue(Commands({"PATH": f"{tmp_path}:/usr/bin:/bin"}, host="h"), place="here")

    first, second, third = (queue.entry(one) for one in ("aa", "bb", "cc"))

    assert first is not None
    assert second is not None
    assert (first.job, first.waits, first.reason) == (9, True, "Resources")
    assert (second.job, second.waits, second.over) == (8, False, False)
    assert third is None
    assert (tmp_path / "count").read_text() == "asked\n"


def test_slurm_that_has_never_answered_is_not_taken_for_one_without_jobs(tmp_path: Path) -> None:
    program(tmp_path, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    queue = Queue(Commands({"PATH": f"{tmp_path}:/usr/bin:/bin"}, host="h"), place="here")

    for _ in range(2):  # the second time it is too early to ask again
        with pytest.raises(SharedTrouble, match="Unable to contact"):
            queue.entry("aa")


def test_nobody_waits_for_an_answer_of_slurm_who_has_an_older_one(tmp_path: Path) -> None:
    row = "7|RUNNING|main|1:00|0:30||None|mlbuild here aa"
    gate = tmp_path / "gate"
    program(tmp_path, "squeue", f"cat {gate}")
    gate.write_text(row + "\n")
    queue = Queue(Commands({"PATH": f"{tmp_path}:/usr/bin:/bin"}, host="h"), place="here")
    assert queue.entry("aa") is not None
    gate.unlink()
    os.mkfifo(gate)  # the next question has no answer until somebody writes it

    queue.look_again()
    before = queue.entry("aa")
    with gate.open("w") as answer:
        answer.write(row.replace("RUNNING", "COMPLETED") + "\n")

    assert before is not None
    assert before.state == "RUNNING"
    for _ in range(1000):
        after = queue.entry("aa")
        assert after is not None
        if after.over:
            break
        time.sleep(0.01)
    assert after.over


def test_a_job_that_slurm_has_just_taken_is_known_before_it_is_asked_again(tmp_path: Path) -> None:
    program(tmp_path, "squeue", "true")
    queue = Queue(Commands({"PATH": f"{tmp_path}:/usr/bin:/bin"}, host="h"), place="here")
    assert queue.entry("aa") is None

    queue.note("aa", 12)

    found = queue.entry("aa")
    assert found is not None
    assert (found.job, found.waits) == (12, True)


def test_trouble_of_the_controller_passes_and_a_refusal_does_not(tmp_path: Path) -> None:
    commands = Commands({"PATH": f"{tmp_path}:/usr/bin:/bin"}, host="login1")
    program(tmp_path, "sinfo", "echo 'slurm_load: Unable to contact slurm controller' >&2; exit 1")
    program(tmp_path, "sbatch", "echo 'sbatch: error: a\nsbatch: error: b' >&2; exit 1")

    with pytest.raises(SharedTrouble, match="Unable to contact") as passing:
        commands.run("sinfo")
    with pytest.raises(HostError) as refused:
        commands.run("sbatch")
    with pytest.raises(HostError) as absent:
        commands.run("no-such-command")

    assert passing.value.kind == "unreachable"
    assert refused.value.message == "`sbatch` says: a; b"
    assert absent.value.message == "`no-such-command` is not installed on `login1`"


def test_slurm_is_given_no_secrets_of_its_user(tmp_path: Path) -> None:
    program(tmp_path, "env-now", "/usr/bin/env")
    path = f"{tmp_path}:/usr/bin:/bin"
    commands = Commands({"PATH": path, "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/h"}, host="h")

    said = commands.run("env-now")

    assert "HOME=/h" in said
    assert "SECRET" not in said
