"""Builds on another host, through a real OpenSSH server on loopback."""

import json
import os
import shutil
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests import ssh
from tests.harness import Build
from tests.processes import has_ended

PATIENCE = 30.0  # seconds for what must happen
_SSH = f"{shutil.which('ssh')}\0".encode()


@pytest.fixture
def host(far_host: ssh.Host) -> ssh.Host:
    return far_host


def store_of(host: ssh.Host) -> Path:
    """Return the store of the other host."""
    return host.folder.parent / "far" / "mlbuild" / "v1"


@pytest.fixture
def away(build: Build, host: ssh.Host) -> Build:
    """Return a workspace whose builds run on the other host."""
    return led(build, host)


def led(build: Build, host: ssh.Host, *lines: str) -> Build:
    """Have a workspace use the host, with more lines in its table."""
    table = ["[executors.gpubox]", 'kind = "ssh"', f'host = "ssh://{host.address}"', *lines]
    build.file("mlbuild.toml", '[workspace]\nname = "test"\n' + "\n".join(table) + "\n")
    build.env["PATH"] = f"{host.bin}:{os.environ['PATH']}"
    build.flags.extend(["--executor", "gpubox"])
    return build


def until(condition: object, what: str) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)


def slow_training(build: Build, *, steps: int = 200) -> Build:
    """Add a target that says each step, and goes on where it was when it is started again."""
    build.file(
        "train.py",
        "import json, os, sys, time\n"
        "context = json.load(open(os.environ['MLBUILD_CONTEXT']))\n"
        "place = context['checkpoint'] + '/step'\n"
        "first = int(open(place).read()) if os.path.exists(place) else 0\n"
        f"for step in range(first, {steps}):\n"
        "    print('step', step, flush=True)\n"
        "    open(place + '.new', 'w').write(str(step + 1))\n"
        "    os.replace(place + '.new', place)\n"
        "    time.sleep(0.01)\n"
        "open(sys.argv[1], 'w').write('model\\n')\n",
    )
    build.file(
        "BUILD.ml",
        'train(name = "net", script = "train.py", args = ["$(output model.txt)"],\n'
        '      outs = ["model.txt"])\n',
    )
    return build


def log_of(build: Build) -> str:
    """Return what the newest log of the training holds by now."""
    logs = sorted(build.cache.glob("runs/*/logs/*net*.log"), key=lambda path: path.stat().st_ctime)
    return logs[-1].read_text() if logs else ""


def runners(host: ssh.Host) -> list[int]:
    """Return the processes on the host whose jobs are under way."""
    found = []
    for path in store_of(host).glob("remote/jobs/*/state"):
        said = json.loads(path.read_text())
        if said["phase"] in {"queued", "running"} and not has_ended(said["pid"]):
            found.append(said["pid"])
    return found


@pytest.mark.long
def test_a_build_elsewhere_has_the_key_and_the_bytes_of_a_local_one(
    away: Build, tmp_path: Path
) -> None:
    away.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt").genrule("twice", "cat", ":up")
    local = away.copy(tmp_path / "local", cache=tmp_path / "cache-local")
    local.flags.clear()
    events, here = tmp_path / "events", tmp_path / "events-local"

    done = away("//...", "--events", str(events))
    local("//...", "--events", str(here))

    assert done.ran == ["//:twice", "//:up"]
    assert away.output("twice/twice.txt") == "ONE\n"

    def facts(path: Path) -> list[tuple[str, str, str]]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        finished = [one for one in lines if one["type"] == "ActionFinished"]
        return sorted((one["id"], one["key"], str(one["result"]["tree"])) for one in finished)

    assert facts(events) == facts(here)
    assert away.run("describe", "//:up", "--json").stdout.count('"gpubox"') == 1


def test_what_is_there_is_not_sent_again(away: Build, host: ssh.Host) -> None:
    away.file("big.bin", os.urandom(3 << 20)).genrule("one", "wc -c", "big.bin")
    away.genrule("two", "tail -c 5 | wc -c", "big.bin")
    away("//:one")
    chunks = store_of(host) / "remote"

    def size() -> int:
        return sum(path.stat().st_size for path in chunks.rglob("*") if path.is_file())

    before = size()
    away("//:two")

    assert away.output("two/two.txt").strip() == "5"
    assert size() - before < 1 << 20


def test_a_failure_elsewhere_is_told_like_one_here(away: Build) -> None:
    away.genrule("bad", "sh -c 'echo told >&2; exit 7'")

    done = away("//:bad", code=1)

    assert done.failed == ["//:bad"]
    assert "exit code 7" in done.stderr
    assert "told" in done.stderr


@pytest.mark.long
def test_a_killed_client_finds_its_job_again(away: Build, host: ssh.Host) -> None:
    slow_training(away)
    client = away.start("build", *away.flags, "//:net")
    until(lambda: "step 20\n" in log_of(away), "training")
    (runner,) = runners(host)

    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    again = away("//:net")

    lines = log_of(away).splitlines()
    assert again.ran == ["//:net"]
    assert lines == [f"step {n}" for n in range(200)]
    assert away.output("net/model.txt") == "model\n"
    assert runner not in runners(host)


@pytest.mark.long
def test_a_job_that_ends_while_nobody_listens_is_not_lost(away: Build, host: ssh.Host) -> None:
    slow_training(away, steps=100)
    client = away.start("build", *away.flags, "//:net")
    until(lambda: "step 20\n" in log_of(away), "training")
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    until(lambda: not runners(host), "its end")

    started = time.monotonic()
    away("//:net")

    assert log_of(away).splitlines() == [f"step {n}" for n in range(100)]
    assert time.monotonic() - started < PATIENCE


def test_ctrl_c_ends_the_job_on_the_other_host(away: Build, host: ssh.Host) -> None:
    slow_training(away, steps=100_000)
    client = away.start("build", *away.flags, "//:net")
    until(lambda: "step 5\n" in log_of(away), "training")

    client.send_signal(signal.SIGINT)
    client.communicate(timeout=PATIENCE)

    assert client.returncode == 8
    until(lambda: not runners(host), "the end of the job")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.long)]
)
def test_a_client_that_is_told_to_go_leaves_its_job_behind(
    away: Build, host: ssh.Host, number: signal.Signals
) -> None:
    slow_training(away)
    client = away.start("build", *away.flags, "//:net")
    until(lambda: "step 5\n" in log_of(away), "training")
    (runner,) = runners(host)

    client.send_signal(number)
    client.communicate(timeout=PATIENCE)
    was_running = runners(host)
    away("//:net")

    assert client.returncode == 8
    assert was_running in ([runner], [])  # it may have ended by now
    assert log_of(away).splitlines() == [f"step {n}" for n in range(200)]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.long)]
)
def test_a_machine_that_is_taken_away_has_the_job_tried_again_from_its_checkpoint(
    away: Build, host: ssh.Host, number: signal.Signals
) -> None:
    slow_training(away)
    away.edit(
        "train.py",
        "for step",
        "def leave(*_):\n"
        "    time.sleep(2.5)\n"  # longer than whom a user ends
        "    print('saved', flush=True)\n"
        "    sys.exit(1)\n"
        "import signal\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "for step",
    )
    client = away.start("build", *away.flags, "--json", "//:net")
    until(lambda: "step 30\n" in log_of(away), "training")
    (runner,) = runners(host)

    os.kill(runner, number)
    stdout, stderr = client.communicate(timeout=PATIENCE)

    assert client.returncode == 0, stderr
    assert json.loads(stdout)["ran"] == ["//:net"]
    assert json.loads(away.run("describe", "//:net", "--json").stdout)["result"]["resumed"]
    log = log_of(away)
    assert "took the machine away; try 2 follows" in log
    assert log.count("saved\n") == log.count("step 0\n") == 1
    assert log.splitlines()[-1] == "step 199"


def test_jobs_of_one_build_share_a_process_and_a_connection(away: Build, host: ssh.Host) -> None:
    mark = f"7{os.getpid()}7"
    commands = [f'genrule(name = "n{n}", outs = ["o{n}"], cmd = "sleep {mark}")' for n in range(4)]
    away.file("BUILD.ml", "\n".join(commands))
    client = away.start("build", *away.flags, "-j", "4", "//...")
    try:
        until(lambda: len(runners(host)) == 4, "all jobs")
        names = [Path(f"/proc/{pid}/comm").read_text() for pid in below(client.pid)]
        found = connections(client.pid)
    finally:
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=PATIENCE)

    assert len(found) == 1
    assert len([name for name in names if name.startswith("python")]) == 1
    until(lambda: not runners(host), "the end of the jobs")


def test_a_connection_that_is_lost_is_made_anew_for_all_jobs(away: Build, host: ssh.Host) -> None:
    steps = "for n in $$(seq 60); do echo step $$n; sleep 0.05; done; echo > $@"
    commands = [f'genrule(name = "net{n}", outs = ["o{n}"], cmd = "{steps}")' for n in range(3)]
    away.file("BUILD.ml", "\n".join(commands))
    client = away.start("build", *away.flags, "-j", "4", "--json", "//...")
    until(lambda: len(runners(host)) == 3 and "step 5\n" in log_of(away), "all jobs")

    (connection,) = connections(client.pid)
    os.kill(connection, signal.SIGKILL)
    stdout, stderr = client.communicate(timeout=PATIENCE)

    assert client.returncode == 0, stderr
    assert len(json.loads(stdout)["ran"]) == 3
    logs = [*away.cache.glob("runs/*/logs/*net*.log")]
    assert len(logs) == 3
    for log in logs:
        assert log.read_text().splitlines() == [f"step {n}" for n in range(1, 61)]


def connections(pid: int) -> list[int]:
    """Return the processes below another that are at our end of links; there is a master too."""
    lines = {one: Path(f"/proc/{one}/cmdline").read_bytes() for one in below(pid)}
    return [one for one, line in lines.items() if line.startswith(_SSH) and b"/bin/sh" in line]


def below(pid: int) -> list[int]:
    """Return all processes that a process has started, and those that these have."""
    words = ["pgrep", "-P", str(pid)]
    found = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    children = [int(line) for line in found.split()]
    return children + [one for child in children for one in below(child)]


def test_a_host_without_a_sandbox_says_what_it_lacks(
    build: Build, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bare")
    variables = (f"XDG_CACHE_HOME={folder}/far",)
    for bare in ssh.server(folder / "host", variables=variables, hidden=("/usr/bin/bwrap",)):
        led(build, bare, "retries = 0").genrule("one", "cat")
        refused = build("//:one", code=36)
        plain = led(build, bare, 'inside = "process"')("//:one")

    assert "has no sandbox: bubblewrap is not installed" in refused.stderr
    assert "apt-get install bubblewrap" in refused.stderr
    assert plain.ran == ["//:one"]
    assert "`hermetic: false`" in plain.stderr


def test_an_unreachable_host_is_named(build: Build, host: ssh.Host) -> None:
    led(build, host, "retries = 0").genrule("one", "cat")
    build.edit("mlbuild.toml", str(host.port), "1")

    done = build("//:one", code=36)

    assert "cannot be reached" in done.stderr
    assert "Connection refused" in done.stderr


def test_a_changed_host_key_is_refused(build: Build, host: ssh.Host, tmp_path: Path) -> None:
    led(build, host).genrule("one", "cat")
    other, known, config = tmp_path / "other", tmp_path / "known_hosts", tmp_path / "config"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(other)], check=True)
    key = other.with_suffix(".pub").read_text().split()[1]
    known.write_text(f"[127.0.0.1]:{host.port} ssh-ed25519 {key}\n")
    said = (host.folder / "config").read_text()
    config.write_text(said.replace(str(host.folder / "known_hosts"), str(known)))
    program = (host.bin / "ssh").read_text()
    ours = build.file("bin/ssh", program.replace(f"{host.folder}/config", str(config))).root / "bin"
    (ours / "ssh").chmod(0o755)
    build.env["PATH"] = f"{ours}:{os.environ['PATH']}"

    done = build("//:one", code=36)

    assert "is not the one that you know: the connection is refused" in done.stderr
    assert "tries" not in done.stderr


def test_the_store_of_the_other_host_may_be_full(build: Build, host: ssh.Host) -> None:
    small = host.folder.parent / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "x", small], check=False
    ).returncode:
        pytest.skip("no file system can be mounted here")
    led(build, host, f'cache_dir = "{small}/store"', "retries = 0")
    build.file("big.bin", os.urandom(4 << 20)).genrule("one", "wc -c", "big.bin")

    try:
        done = build("//:one", code=36)
    finally:
        subprocess.run(["umount", "-l", small], check=True)
        shutil.rmtree(small)

    assert "full" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('host = "-oProxyCommand=x"', "is a host as `ssh` takes it"),
        ('host = "gpu1; rm -rf"', "is a host as `ssh` takes it"),
        ('host = "gpu1"\nslots = 0', "`executors.box.slots` is at least 1, not 0"),
        ('host = "gpu1"\npython = "python3"', "is an absolute path there"),
        ('host = "gpu1"\nslot = 4', "`slot` is no key of an executor of the kind `ssh`"),
        ('host = "gpu1"\ninside = "podman"', "is `auto`, `sandbox`, `docker` or `process`"),
        ("", "`executors.box` lacks its `host`"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(build: Build, line: str, said: str) -> None:
    build.file("mlbuild.toml", f'[workspace]\nname = "t"\n[executors.box]\nkind = "ssh"\n{line}\n')

    done = build.run("build", "--executor", "box", "//...")

    assert done.code == 2
    assert said in done.stderr
    assert "mlbuild.toml:" in done.stderr


def test_an_executor_that_nobody_described_is_named(build: Build) -> None:
    done = build.run("build", "--executor", "gpubx", "//...")

    assert done.code == 2
    assert "not `gpubx`" in done.stderr


def test_gpus_of_the_host_are_never_shared(away: Build) -> None:
    away.file(
        "hold.py",
        "import os, time\n"
        "uuid = os.environ['CUDA_VISIBLE_DEVICES']\n"
        "with open(os.environ['MLBUILD_OUT'] + '/seen.txt', 'w') as file:\n"
        "    file.write(f'{uuid} {time.time()} ')\n"
        "    time.sleep(0.2)\n"
        "    file.write(f'{time.time()}')\n",
    )
    away.file(
        "BUILD.ml",
        "".join(
            f'process(name = "n{n}", script = "hold.py", outs = ["seen.txt"], '
            f'params = {{"n": {n}}}, resources = {{"gpus": 1}})\n'
            for n in range(5)
        ),
    )

    away("-j", "4", "//...")

    seen = [away.output(f"n{n}/seen.txt").split() for n in range(5)]
    assert {uuid for uuid, _, _ in seen} <= {"GPU-aaa", "GPU-bbb"}
    for uuid in ("GPU-aaa", "GPU-bbb"):
        times = sorted((float(a), float(b)) for one, a, b in seen if one == uuid)
        assert all(end <= start for (_, end), (start, _) in pairwise(times))


def test_a_gpu_that_the_host_lacks_is_named_with_those_that_it_has(away: Build) -> None:
    away.file("x.py", "")
    away.file(
        "BUILD.ml",
        'process(name = "it", script = "x.py", outs = ["o"], resources = {"gpus": "H100"})\n',
    )

    done = away.run("build", *away.flags, "//:it")

    assert done.code == 36
    assert "A100" in done.stderr
    assert "needs 1 H100 GPU" in done.stderr


def test_a_timeout_counts_on_the_other_host(away: Build) -> None:
    away.file("BUILD.ml", 'genrule(name = "s", outs = ["o"], cmd = "sleep 100", timeout = "1s")\n')

    done = away("//:s", code=1)

    assert "was ended after its timeout of 1 s" in done.stderr


def test_doctor_looks_at_each_link(away: Build) -> None:
    done = away.run("doctor", "--executor", "gpubox", "--json")

    found = {one["name"]: one["status"] for one in json.loads(done.stdout)["findings"]}
    assert done.code == 0
    assert found["connection"] == found["runner"] == found["sandbox"] == found["gpu"] == "ok"
    assert set(found) == {
        *("connection", "runner", "platform", "sandbox", "docker", "gpu", "disk"),
    }


def test_an_order_of_another_version_says_what_to_upgrade(away: Build, host: ssh.Host) -> None:
    away.genrule("one", "cat")
    away("//:one")
    folder = max(store_of(host).glob("remote/jobs/*"), key=lambda path: path.stat().st_ctime)
    order = json.loads((folder / "order").read_text())
    order["mlbuild"] = "99.0.0"
    newer = folder.parent / ("ab" * 32)
    newer.mkdir()
    (newer / "order").write_text(json.dumps(order))

    away.run("runner", newer.name, "--store", f"file://{store_of(host)}/remote")

    state = json.loads((newer / "state").read_text())
    assert state["phase"] == "failed"
    assert "this build is of 99.0.0" in state["fault"]["message"]
    assert state["fault"]["hints"][0].startswith("upgrade mlbuild on ")


def test_a_runner_by_hand_gives_the_same(away: Build, host: ssh.Host, tmp_path: Path) -> None:
    away.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt")
    away("//:up")
    folder = max(store_of(host).glob("remote/jobs/*"), key=lambda path: path.stat().st_ctime)
    kept = json.loads((folder / "state").read_text())
    (folder / "state").unlink()

    words = ("--store", f"file://{store_of(host)}/remote", "--cache-dir", str(tmp_path / "other"))
    done = away.run("runner", folder.name, *words)

    assert done.code == 0, done.stderr
    again = json.loads((folder / "state").read_text())
    assert (again["phase"], again["tree"]) == ("ended", kept["tree"])


def test_a_secret_of_the_caller_stays_out_of_what_is_kept(away: Build, host: ssh.Host) -> None:
    away.env["MLBUILD_CACHE_TOKEN"] = "s3cr3t-token"  # noqa: S105 - looked for below
    away.env["HTTPS_PROXY"] = "http://ana:s3cr3t-word@proxy"
    away.genrule("one", "cat")

    away("//:one")

    kept = [path for path in store_of(host).rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"s3cr3t" in path.read_bytes()]


def test_jobs_may_go_through_a_bucket_that_both_machines_see(
    build: Build, host: ssh.Host, tmp_path: Path
) -> None:
    (tmp_path / "share").mkdir()
    led(build, host, f'store = "file://{tmp_path}/share"')
    build.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt")

    done = build("//:up")

    assert done.ran == ["//:up"]
    assert build.output("up/up.txt") == "ONE\n"
    assert len([*(tmp_path / "share" / "jobs").iterdir()]) == 1


def test_a_build_with_nothing_to_run_asks_no_host(build: Build, host: ssh.Host) -> None:
    led(build, host).genrule("one", "cat")
    build("//:one")
    build.edit("mlbuild.toml", str(host.port), "1")
    shutil.rmtree(build.root / ".mlbuild")

    done = build("//:one")

    assert done.cached == ["//:one"]
