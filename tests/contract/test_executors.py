"""What every executor must do."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest

from mlbuild.core.action import InputRef, Output, OutputRef, Run, ToolRef
from mlbuild.errors import HostError, InputError
from mlbuild.exec import cgroup
from mlbuild.exec.base import Execution, Executor, Job
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.exec.docker import Docker
from mlbuild.exec.process import Process
from mlbuild.exec.sandbox import SMALL, InputChanged
from mlbuild.exec.toolchain import Toolchain
from mlbuild.remote.elsewhere import Elsewhere, Way
from mlbuild.remote.reapi.executor import Reapi
from mlbuild.remote.slurm.near import Near
from mlbuild.remote.slurm.open import Slurm
from mlbuild.remote.slurm.wanted import Wanted
from mlbuild.remote.ssh.client import Remote, Ssh
from mlbuild.remote.terms import Terms
from tests import docker, ssh
from tests.contract.elsewhere import CANNOT
from tests.contract.jobs import Jobs, marked, shell
from tests.reapi_servers import CacheServer
from tests.reapi_workers import executing
from tests.slurm import Cluster

NO_SANDBOX = Bubblewrap("").available()

# What cannot be told of a command on another machine; `tests/scenario/test_ssh.py` has its own way.
NOT_FROM_AFAR = {
    "test_a_command_outlives_the_thread_that_started_the_first": "no file of ours is seen there",
    "test_what_callers_variables_name_is_there_for_network_actions": "nor are the caller's folders",
}

OWN_PYTHON = f"python@{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(
    params=[
        pytest.param("sandbox", marks=pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)),
        pytest.param("image", marks=pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)),
        "docker",
        "process",
        pytest.param("ssh", marks=pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)),
        pytest.param("slurm", marks=pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)),
        "reapi",
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    """Return what runs the jobs: `image` is the sandbox with an image as its root."""
    found: str = request.param
    if found in {"ssh", "slurm"} and (reason := NOT_FROM_AFAR.get(request.function.__name__)):
        pytest.skip(reason)
    if why := CANNOT.get(found, {}).get(request.function.__name__):
        pytest.skip(why)
    return found


@pytest.fixture
def jobs(tmp_path: Path, kind: str) -> Jobs:
    return Jobs(tmp_path, image=docker.unpacked() if kind in {"image", "docker"} else None)


@pytest.fixture
def executor(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Iterator[Executor]:
    made: Executor
    if kind == "docker":
        engine: docker.Engine = request.getfixturevalue("engine")
        made = Docker(str(tmp_path / "own"), {"DOCKER_HOST": engine.address})
        yield made
        made.close()
        assert engine.containers() == []
        return
    if kind == "reapi":
        server: CacheServer = request.getfixturevalue("reapi_worker")
        made = Reapi(executing(server), folder=str(tmp_path / "own"), jobs=2)
        yield made
        made.close()
        return
    if kind == "ssh":
        yield from far_executor(request.getfixturevalue("far_host"), tmp_path)
        return
    if kind == "slurm":
        if "cancel" in request.function.__name__:  # what is cancelled takes no job any more
            yield from queued_executor(request.getfixturevalue("slurm_cluster"), tmp_path)
        else:
            yield request.getfixturevalue("slurm_executor")
        return
    made = Process() if kind == "process" else Bubblewrap(str(tmp_path / "own"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def slurm_executor(
    slurm_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Executor]:
    """Return one executor for all tests: its agent takes longer to start than most of them."""
    yield from queued_executor(slurm_cluster, tmp_path_factory.mktemp("own"))


def far_executor(host: ssh.Host, folder: Path) -> Iterator[Executor]:
    """Yield an executor whose jobs run on a host behind a real OpenSSH server."""
    remote = Remote(f"ssh://{host.address}")
    environ = {**os.environ, "PATH": f"{host.bin}:{os.environ['PATH']}"}
    connect = Ssh(remote, folder=str(folder / "own"), environ=environ).connect
    way = Way("gpubox", "gpubox", Terms(slots=4), retries=0, memo=str(folder / "memo"))
    made = Elsewhere(way, connect)
    yield made
    made.close()


def queued_executor(cluster: Cluster, folder: Path) -> Iterator[Executor]:
    """Yield an executor whose jobs a real Slurm schedules; all have one store on its node."""
    environ = {**os.environ, **cluster.environ}
    root = str(cluster.folder / "contract")
    connect = Near(where="Slurm", python="", root=root, environ=environ).connect
    starter = {"kind": "slurm", "wanted": Wanted().as_dict(), "store": "", "node_cache_dir": ""}
    way = Way("cluster", "Slurm", Terms(), retries=0, memo=str(folder / "memo"), starter=starter)
    made = Slurm(way, connect, wanted=Wanted())
    yield made
    made.close()


def text(execution: Execution, path: str = "out.txt") -> str:
    return Path(execution.out, path).read_text(encoding="utf-8")


def log(job: Job) -> str:
    return Path(job.log).read_text(encoding="utf-8")


def wait_for(path: Path) -> str:
    """Return what `path` holds once something writes it."""
    for _ in range(120 * 200):
        if path.exists() and (found := path.read_text(encoding="utf-8")):
            return found
        time.sleep(0.005)
    raise AssertionError(f"nobody writes {path}")


def test_words_reach_the_command_as_they_are(executor: Executor, jobs: Jobs) -> None:
    words = ("a b", "", "*", "$HOME", "'\"\\", "new\nline", "--", "é", "\udcff")
    if executor.name == "docker":  # it takes only text
        words = words[:-1]
    script = 'for word; do printf "%s\\0" "$word"; done >"$MLBUILD_OUT/out.txt"'
    job = jobs.job(Run(argv=(("/bin/sh",), ("-c",), (script,), ("sh",), *((w,) for w in words))))

    done = executor.run(job)

    assert done.exit_code == 0
    found = Path(done.out, "out.txt").read_bytes().split(b"\0")[:-1]
    assert found == [word.encode("utf-8", "surrogateescape") for word in words]


def test_references_become_paths(executor: Executor, jobs: Jobs) -> None:
    source = jobs.file("deep/in.txt", b"hello\n")
    job = jobs.job(
        Run(argv=(("/bin/cp",), (InputRef("deep/in.txt"),), (OutputRef("deep/out.txt"),))),
        source,
        outputs=(Output("deep/out.txt"),),
    )

    done = executor.run(job)

    assert text(done, "deep/out.txt") == "hello\n"


def test_only_stated_variables_exist(
    executor: Executor, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = {"PATH": "/usr/bin:/bin"}
    if jobs.image:
        path = {"PATH": "/usr/local/bin:/usr/bin:/bin", "FROM_IMAGE": "1"}
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "1")
    run = replace(
        Run(argv=(("/usr/bin/env",),)),
        env=(("RULE", ("at ", OutputRef("x"))),),
        quiet_env=(("QUIET", "q"),),
        seed=7,
        cpus=3,
    )
    job = jobs.job(run, caller_env={"CALLER": "c"})

    executor.run(job)

    found = dict(line.split("=", 1) for line in log(job).splitlines())
    assert found.pop("RULE") == f"at {found['MLBUILD_OUT']}/x"
    assert found == {
        **path,
        "PWD": found["PWD"],
        "HOME": found["HOME"],
        "TMPDIR": found["TMPDIR"],
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "SOURCE_DATE_EPOCH": "315532800",
        "OMP_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "MLBUILD_CONTEXT": found["MLBUILD_CONTEXT"],
        "MLBUILD_OUT": found["MLBUILD_OUT"],
        "MLBUILD_SEED": "7",
        "CALLER": "c",
        "QUIET": "q",
    }


def test_the_working_directory_holds_the_declared_inputs_and_nothing_else(
    executor: Executor, jobs: Jobs
) -> None:
    small = jobs.file("pkg/small.txt", b"small")
    large = jobs.file("pkg/large.bin", b"x" * (SMALL + 1))
    tree = jobs.tree("data/mnist", {"a": b"1", "sub/b": b"2"})
    script = 'find -L . -type f | sort >"$MLBUILD_OUT/out.txt"'

    done = executor.run(jobs.job(shell(script), small, large, tree))

    assert text(done).split() == [
        "./data/mnist/a",
        "./data/mnist/sub/b",
        "./pkg/large.bin",
        "./pkg/small.txt",
    ]


def test_a_file_below_a_declared_tree_is_that_trees_file(executor: Executor, jobs: Jobs) -> None:
    tree = jobs.tree("data", {"a": b"1"})
    beside, below = jobs.file("data-x", b"2"), jobs.file("data/a", b"1")

    done = executor.run(
        jobs.job(shell('cat data/a data-x >"$MLBUILD_OUT/out.txt"'), tree, beside, below)
    )

    assert text(done) == "12"


def test_originals_keep_their_stamps(executor: Executor, jobs: Jobs) -> None:
    inputs = [jobs.file("small", b"s"), jobs.file("large", b"l" * (SMALL + 1))]
    before = [os.stat(staged.place) for staged in inputs]

    executor.run(jobs.job(shell('cat small large >"$MLBUILD_OUT/out.txt"'), *inputs))

    after = [os.stat(staged.place) for staged in inputs]
    assert [(s.st_ctime_ns, s.st_nlink, s.st_mode) for s in after] == [
        (s.st_ctime_ns, s.st_nlink, s.st_mode) for s in before
    ]


def test_staged_files_have_one_date_and_the_modes_of_their_kind(
    executor: Executor, jobs: Jobs
) -> None:
    inputs = [jobs.file("plain", b"p"), jobs.file("tool", b"#!/bin/sh\n", executable=True)]

    done = executor.run(
        jobs.job(shell('stat -c "%a %Y %n" plain tool >"$MLBUILD_OUT/out.txt"'), *inputs)
    )

    assert text(done).splitlines() == ["444 315532800 plain", "555 315532800 tool"]


@pytest.mark.parametrize("content", [b"other", b"", b"said and more"])
def test_an_input_that_changed_is_named(executor: Executor, jobs: Jobs, content: bytes) -> None:
    staged = jobs.file("pkg/in.txt", b"said")
    Path(staged.place).write_bytes(content)

    with pytest.raises(InputChanged) as error:
        executor.run(jobs.job(shell("true"), staged))

    assert error.value.path == "pkg/in.txt"


def test_an_input_that_vanished_is_named(executor: Executor, jobs: Jobs) -> None:
    staged = jobs.file("pkg/in.txt", b"said")
    Path(staged.place).unlink()

    with pytest.raises(InputChanged):
        executor.run(jobs.job(shell("true"), staged))


@pytest.mark.parametrize("path", ["../up", "/etc/x", "a/../../up", "a//b", ".", "nul\0"])
def test_no_name_leaves_the_sandbox(executor: Executor, jobs: Jobs, path: str) -> None:
    staged = jobs.file(path, b"x")

    with pytest.raises(InputError):
        executor.run(jobs.job(shell("true"), staged))
    with pytest.raises(InputError):
        executor.run(jobs.job(shell("true"), outputs=(Output(path),)))


def test_outputs_and_their_folders(executor: Executor, jobs: Jobs) -> None:
    outputs = (Output("a/b/c.txt"), Output("plots/trees", "tree"))
    script = 'echo 1 >"$MLBUILD_OUT/a/b/c.txt"; ls "$MLBUILD_OUT" "$MLBUILD_OUT/plots"'

    job = jobs.job(shell(script), outputs=outputs)
    done = executor.run(job)

    assert done.exit_code == 0
    assert done.out.startswith(job.scratch)
    assert text(done, "a/b/c.txt") == "1\n"
    assert not Path(done.out, "plots/trees").exists()  # to make it is up to the command


def test_the_context_file_tells_everything_declared(
    executor: Executor, jobs: Jobs, kind: str, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    run = replace(
        shell('cat "$MLBUILD_CONTEXT"; echo kept >"$1/state"'),
        params={"lr": 0.1, "layers": [1, 2], "name": None},
        names=(("train", "a"), ("both", "a"), ("both", "b")),
        seed=3,
        cpus=2,
    )
    inside = "/checkpoint" if executor.hermetic else str(checkpoint)
    run = replace(run, argv=(*run.argv, ("sh",), (inside,)))
    outputs = (Output("model.npz"), Output("m.json", name="metrics"))
    job = jobs.job(
        run,
        jobs.file("a", b"1"),
        jobs.file("b", b"2"),
        outputs=outputs,
        checkpoint=str(checkpoint),
    )

    done = executor.run(job)

    out = "/out" if executor.hermetic else done.out
    assert json.loads(log(job)) == {
        "params": {"lr": 0.1, "layers": [1, 2], "name": None},
        "inputs": {"train": "a", "both": ["a", "b"]},
        "outputs": {"model.npz": f"{out}/model.npz", "metrics": f"{out}/m.json"},
        "seed": 3,
        "resources": {"cpus": 2},
        "checkpoint": inside,
    }
    if kind not in {"ssh", "slurm"}:  # there it stays where the next attempt will be
        assert (checkpoint / "state").read_text(encoding="utf-8") == "kept\n"


def test_home_and_temporary_folder_are_private_and_writable(executor: Executor, jobs: Jobs) -> None:
    script = 'ls -A "$HOME"; touch "$HOME/x" "$TMPDIR/y" && ls -A "$HOME"'

    first, second = jobs.job(shell(script)), jobs.job(shell(script))
    executor.run(first)
    executor.run(second)

    assert log(first) == log(second) == "x\n"


@pytest.mark.parametrize("code", [0, 1, 3, 127, 128])
def test_exit_codes(executor: Executor, jobs: Jobs, code: int) -> None:
    done = executor.run(jobs.job(shell(f"exit {code}")))

    assert (done.exit_code, done.signal) == (code, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_signals(executor: Executor, jobs: Jobs, number: signal.Signals) -> None:
    done = executor.run(jobs.job(shell(f"kill -{int(number)} $$")))

    assert (done.exit_code, done.signal) == (None, number)
    assert not done.timed_out
    assert not done.interrupted


def test_what_it_prints_is_appended_to_the_log_in_order(executor: Executor, jobs: Jobs) -> None:
    job = jobs.job(shell("echo one; echo two >&2; echo three; cat"))
    Path(job.log).write_text("before\n", encoding="utf-8")

    executor.run(job)

    assert log(job) == "before\none\ntwo\nthree\n"  # and standard input was empty


def test_no_descriptor_of_ours_is_open_in_the_command(executor: Executor, jobs: Jobs) -> None:
    leaked, _ = ends = os.pipe()
    os.set_inheritable(leaked, True)
    job = jobs.job(shell('ls /proc/self/fd >"$MLBUILD_OUT/out.txt"'))

    done = executor.run(job)

    for end in ends:
        os.close(end)
    # 0, 1, 2 and the folder that `ls` itself reads
    assert text(done).split() == ["0", "1", "2", "3"]


def test_a_timeout_ends_the_command_and_its_grandchildren(executor: Executor, jobs: Jobs) -> None:
    mark = f"9{os.getpid()}.25"
    run = replace(shell(f"sh -c 'sleep {mark}' & sleep {mark}"), timeout=0.3)

    done = executor.run(jobs.job(run))

    assert done.timed_out
    assert done.exit_code is None
    assert marked(f"sleep\0{mark}") == []


def test_a_command_is_asked_to_end_before_it_is_made_to(executor: Executor, jobs: Jobs) -> None:
    script = "trap 'echo saved; exit 0' TERM; while :; do sleep 0.01; done"
    job = jobs.job(replace(shell(script), timeout=0.3))

    done = executor.run(job)

    assert done.timed_out
    assert done.exit_code == 0
    assert log(job).endswith("saved\n")


def test_a_command_that_will_not_end_is_made_to(executor: Executor, jobs: Jobs) -> None:
    job = jobs.job(replace(shell("trap '' TERM; while :; do sleep 0.01; done"), timeout=0.3))

    done = executor.run(job)

    assert done.timed_out
    assert done.signal == signal.SIGKILL


def test_cancel_ends_every_running_command_and_those_to_come(
    executor: Executor, jobs: Jobs
) -> None:
    answers: SimpleQueue[Execution] = SimpleQueue()
    started, threads = [], []
    for _ in range(2):
        job = jobs.job(shell("echo on; sleep 1000"))
        started.append(job)
        threads.append(threading.Thread(target=lambda job=job: answers.put(executor.run(job))))
    for thread in threads:
        thread.start()
    for job in started:
        wait_for(Path(job.log))

    executor.cancel()
    for thread in threads:
        thread.join()
    later = executor.run(jobs.job(shell("true")))

    assert [answers.get().interrupted for _ in threads] == [True, True]
    assert later.interrupted


@pytest.mark.parametrize(
    "daemon",
    [
        "sleep {mark} &",
        "setsid sleep {mark} &",
        "(setsid sh -c 'sleep {mark} & sleep {mark}' &) &",
        "setsid env -i /bin/sleep {mark} >/dev/null 2>&1 &",
        "nohup sh -c \"trap '' TERM HUP; sleep {mark}; :\" &",
    ],
)
def test_no_process_outlives_its_action(executor: Executor, jobs: Jobs, daemon: str) -> None:
    mark = f"8{os.getpid()}.5"
    script = f"{daemon.format(mark=mark)}\nsleep 0.1; pgrep -fc 'sleep {mark}'"

    job = jobs.job(shell(script))
    done = executor.run(job)

    assert int(log(job).split()[-1]) >= 1  # it was there
    assert done.exit_code == 0
    assert marked(mark) == []


def test_children_of_others_are_left_alone(executor: Executor, jobs: Jobs) -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:
        executor.run(jobs.job(shell("sleep 1000 &")))

        assert other.poll() is None
        other.kill()


def test_a_command_outlives_the_thread_that_started_the_first(
    executor: Executor, jobs: Jobs, tmp_path: Path
) -> None:
    # given a command started for one thread, while the thread of an earlier one has ended
    first = threading.Thread(target=lambda: executor.run(jobs.job(shell("true"))))
    first.start()
    first.join()
    answers: SimpleQueue[Execution] = SimpleQueue()
    gate = tmp_path / "gate"
    gate.mkdir()
    inside = "/checkpoint" if executor.hermetic else str(gate)
    script = f"echo 1 >{inside}/on; while [ ! -e {inside}/go ]; do sleep 0.01; done"
    job = jobs.job(shell(script), checkpoint=str(gate))
    second = threading.Thread(target=lambda: answers.put(executor.run(job)))
    second.start()
    wait_for(gate / "on")

    # when short-lived threads come and go meanwhile
    for _ in range(3):
        brief = threading.Thread(target=lambda: executor.run(jobs.job(shell("true"))))
        brief.start()
        brief.join()
    (gate / "go").touch()
    second.join()

    # then it ended by itself
    assert answers.get().exit_code == 0


@pytest.mark.skipif(cgroup.hierarchies() is None, reason="no memory cgroup can be made here")
def test_too_much_memory_is_reported_as_that(executor: Executor, jobs: Jobs) -> None:
    greedy = "python3 -c 'x = b\"x\" * (200 << 20); print(len(x))'"
    modest = "python3 -c 'x = b\"x\" * (20 << 20); print(len(x))'"
    limit = 64 << 20

    killed = executor.run(jobs.job(replace(shell(greedy + "; exit $?"), memory=limit)))
    done = executor.run(jobs.job(replace(shell(modest), memory=limit)))
    by_hand = executor.run(jobs.job(replace(shell("kill -9 $$"), memory=limit)))

    assert killed.out_of_memory
    assert killed.exit_code != 0
    assert not done.out_of_memory
    assert done.exit_code == 0
    assert 20 << 20 < done.peak_memory <= limit
    assert not by_hand.out_of_memory
    assert by_hand.signal == signal.SIGKILL
    where = cgroup.hierarchies()
    assert where is not None
    assert [n for n in os.listdir(where.memory) if n.startswith(f"mlbuild-{os.getpid()}-")] == []


def test_use_of_time_and_memory_is_measured(executor: Executor, jobs: Jobs) -> None:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10  # a child's begins there
    size = max(300 << 20, own + (64 << 20))
    script = f"python3 -c 'x = b\"x\" * {size}; sum(range(3_000_000))'"

    done = executor.run(jobs.job(shell(script)))

    assert done.seconds >= 0.01
    assert done.cpu_seconds > 0.01
    assert done.peak_memory > size


def test_a_program_that_does_not_exist_is_named(executor: Executor, jobs: Jobs) -> None:
    with pytest.raises(HostError, match="no program `no-such-program`") as error:
        executor.run(jobs.job(Run(argv=(("no-such-program",),))))

    assert error.value.hints


def test_a_command_line_that_is_too_long_is_named(executor: Executor, jobs: Jobs) -> None:
    with pytest.raises(HostError, match="too long"):
        executor.run(jobs.job(Run(argv=(("/bin/true",), ("x" * 1_000_000,)))))


@pytest.mark.parametrize("name", ["python", OWN_PYTHON])
def test_the_interpreter_runs_without_the_packages_of_its_host(
    executor: Executor, jobs: Jobs, tmp_path: Path, name: str
) -> None:
    jobs.tools[name] = Toolchain(str(tmp_path / "tools")).resolve(name)
    script = "import sys, ssl, ctypes, sqlite3; print(sys.version); import pip"
    run = replace(Run(argv=((ToolRef(name),), ("-c",), (script,))), tools=(name,))

    job = jobs.job(run)
    done = executor.run(job)

    assert log(job).startswith(sys.version)
    if executor.hermetic:
        assert done.exit_code == 1
        assert "No module named 'pip'" in log(job)


def test_what_callers_variables_name_is_there_for_network_actions(
    executor: Executor, jobs: Jobs, tmp_path: Path
) -> None:
    wheels, cache = tmp_path / "wheels", tmp_path / "cache"
    wheels.mkdir()
    cache.mkdir()
    (wheels / "a.whl").write_text("wheel", encoding="utf-8")
    script = 'cat "${LINKS#file://}/a.whl" "${BOTH##*:}/a.whl"; echo $NAME; touch $UV_CACHE_DIR.on'
    job = jobs.job(
        replace(shell(script), network=True),
        caller_env={
            "LINKS": f"file://{wheels}",
            "BOTH": f"/no/where:{wheels}",
            "NAME": "https://example.org/x",
        },
        cache=str(cache),
    )

    done = executor.run(job)

    assert done.exit_code == 0
    assert log(job) == "wheelwheelhttps://example.org/x\n"
    assert (cache / "uv.on").exists()
