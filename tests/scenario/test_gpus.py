"""Targets that ask for GPUs, on hosts that have some and on hosts that have none."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests import ssh
from tests.harness import Build
from tests.unit.test_gpus import A100, ROWS, fake_driver

SHOW = """
import json, os, time
out = os.environ["MLBUILD_OUT"]
names = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
with open(out + "/seen.json", "w") as file:
    json.dump([os.environ.get(name) for name in names], file)
time.sleep(float(os.environ.get("PAUSE", "0")))
"""


def on_gpu(build: Build, gpus: str, *, name: str = "it", attributes: str = "") -> Build:
    build.file("show.py", SHOW)
    with (build.root / "BUILD.ml").open("a") as file:
        file.write(
            f'process(name = "{name}", script = "show.py", outs = ["seen.json"], '
            f'resources = {{"gpus": {gpus}}}, {attributes})\n'
        )
    return build


@pytest.fixture
def driver(build: Build, tmp_path: Path) -> Build:
    """Return a workspace on a host that says to have an A100 and a T4."""
    folder = tmp_path / "driver"
    folder.mkdir()
    build.env["PATH"] = fake_driver(folder, ROWS)
    return build


def bare(build: Build) -> Build:
    """Let the host have no driver."""
    build.env["PATH"] = "/usr/bin:/bin"
    return build


@pytest.mark.parametrize(
    ("gpus", "uuids"),
    [
        ("1", "GPU-aaa"),
        ('"T4"', "GPU-bbb"),
        ("2", "GPU-aaa,GPU-bbb"),
        ('"T4-16GB"', "GPU-bbb"),  # whose name is silent about its memory
        ('["A100-80GB:2", "T4", 1]', "GPU-bbb"),
        ('["H100", 2]', "GPU-aaa,GPU-bbb"),
    ],
)
def test_a_script_sees_the_gpus_that_it_was_lent(driver: Build, gpus: str, uuids: str) -> None:
    on_gpu(driver, gpus)("//:it")

    assert json.loads(driver.output("it/seen.json")) == [uuids, uuids]


def test_the_result_says_what_it_ran_on(driver: Build, tmp_path: Path) -> None:
    on_gpu(driver, '"A100"')("//:it", "--events", str(tmp_path / "events"))

    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    (finished,) = (one for one in events if one["type"] == "ActionFinished")
    assert finished["result"]["gpus"] == [f"{A100}, driver 550.54.14, CUDA 12.4"]


def test_without_a_gpu_nothing_runs_and_it_is_said_why(build: Build) -> None:
    bare(on_gpu(build.genrule("dep", "cat"), "1", attributes='data = {"dep": ":dep"}'))

    done = build.run("//:it")

    assert done.code == 36
    assert "`//:it` needs 1 GPU, and this host has none" in done.stderr
    assert "`nvidia-smi` is not installed" in done.stderr
    assert build("//:dep").ran == ["//:dep"]  # it had not


def test_too_few_of_a_model_are_told_with_what_there_is(driver: Build) -> None:
    done = on_gpu(driver, '"A100:2"').run("//:it")

    assert done.code == 36
    assert f"needs 2 A100 GPUs, and this host has 1 {A100}, 1 Tesla T4" in done.stderr


def test_a_list_none_of_which_can_be_had_is_told_with_what_there_is(driver: Build) -> None:
    done = on_gpu(driver, '["A100:2", "A100-40GB", "H100"]').run("//:it")

    assert done.code == 36
    assert (
        "`//:it` needs 2 A100 GPUs or 1 A100-40GB GPU or 1 H100 GPU, "
        f"and this host has 1 {A100}, 1 Tesla T4"
    ) in done.stderr


def test_a_known_result_serves_where_there_is_no_gpu(driver: Build) -> None:
    on_gpu(driver, "1")("//:it")
    shutil.rmtree(driver.root / ".mlbuild")

    assert bare(driver)("//:it").ran == []


def test_gpus_are_not_in_the_key_unless_every_bit_is_promised(driver: Build) -> None:
    on_gpu(driver, "1")("//:it")
    driver.edit("BUILD.ml", '"gpus": 1', '"gpus": "T4"')
    assert driver("//:it").ran == []

    driver.edit("BUILD.ml", '"gpus": "T4"}', '"gpus": "T4"}, determinism = "bitwise"')
    driver("//:it")
    driver.edit("BUILD.ml", '"T4"', '"A100"')
    assert driver("//:it").ran == ["//:it"]
    assert "Tesla T4" in driver.run("why", "//:it").stdout
    driver.edit("BUILD.ml", '"A100"', '["H100", "A100", "T4"]')  # the first that there is
    assert driver("//:it").ran == []


def test_two_targets_share_one_gpu_and_others_go_on_meanwhile(driver: Build) -> None:
    for name, pause in (("one", "0.4"), ("two", "0.5")):
        on_gpu(driver, '"A100"', name=name, attributes=f'env = {{"PAUSE": "{pause}"}}')
    driver.genrule("cpu", "cat")
    driver.flags = ["-j", "4"]

    done = driver("//...")

    assert done.ran == ["//:cpu", "//:one", "//:two"]
    for name in ("one", "two"):
        assert json.loads(driver.output(f"{name}/seen.json"))[0] == "GPU-aaa"


HOLD = """
import os, time
with open(os.environ["MLBUILD_OUT"] + "/seen.txt", "w") as file:
    file.write(f"{os.environ['CUDA_VISIBLE_DEVICES']} {time.time()} ")
    time.sleep(0.2)
    file.write(f"{time.time()}")
"""


class Door:
    """What commands stay at until they are let go; they need `network = True`."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(60)
        self._there: list[socket.socket] = []
        address = f"('127.0.0.1', {self._server.getsockname()[1]})"
        self.stay = f"__import__('socket').create_connection({address}).recv(1)"

    def wait_for(self, commands: int) -> None:
        self._there += [self._server.accept()[0] for _ in range(commands)]

    def let_go(self) -> None:
        for one in (*self._there, self._server):
            one.close()


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()
    yield found
    found.let_go()


def said_while_waiting(process: "subprocess.Popen[str]") -> str:
    """Return the line by which a build says that it waits; "" where it ends without one."""
    assert process.stderr is not None
    return next((line for line in process.stderr if "waits for" in line), "")


def holding(
    build: Build, wishes: Sequence[str], *, script: str = HOLD, attributes: str = ""
) -> Build:
    """Add a target for each wish, `n0` and so on, which tells what it had and from when to when."""
    build.file("hold.py", script)
    with (build.root / "BUILD.ml").open("a") as file:
        for n, wish in enumerate(wishes):
            file.write(
                f'process(name = "n{n}", script = "hold.py", outs = ["seen.txt"], '
                f'params = {{"n": {n}}}, resources = {{"gpus": {wish}}}, {attributes})\n'
            )
    return build


def uses(build: Build, count: int) -> dict[str, list[tuple[float, float]]]:
    """Return when each GPU was used, in order; fail where two used one at once."""
    found: dict[str, list[tuple[float, float]]] = {}
    for n in range(count):
        uuids, start, end = build.output(f"n{n}/seen.txt").split()
        for uuid in uuids.split(","):
            found.setdefault(uuid, []).append((float(start), float(end)))
    for times in found.values():
        times.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(times))
    return found


def test_five_targets_on_two_gpus_never_share_one(driver: Build) -> None:
    holding(driver, ["1", '["T4", "A100"]', "2", '["H100", "A100-80GB"]', '["A100", 1]'])
    driver.flags = ["-j", "5"]

    driver("//...")

    assert set(uses(driver, 5)) == {"GPU-aaa", "GPU-bbb"}


def test_two_builds_with_lists_never_share_a_gpu(driver: Build, tmp_path: Path) -> None:
    other = driver.copy(tmp_path / "other")
    holding(driver, ['["T4", 1]', '["A100", "T4"]', "1"])
    holding(other, ['["T4", 1]', '["A100", "T4"]', "1"], script=HOLD + "# another\n")

    first = driver.start("-j", "3", "//...")
    other("-j", "3", "//...")
    _, said = first.communicate()

    assert first.returncode == 0, said
    for n in range(3):
        seen = (other.root / f"mlbuild-out/n{n}/seen.txt").read_text()
        driver.file(f"mlbuild-out/n{n + 3}/seen.txt", seen)
    uses(driver, 6)


@pytest.mark.parametrize(
    ("held", "wished", "told"),
    [
        ('"A100"', '"A100"', "1 A100 GPU"),
        (
            "2",
            '["A100-80GB", "H100", "T4"]',
            "1 A100-80GB GPU or 1 H100 GPU or 1 T4 GPU",
        ),
    ],
)
def test_another_build_that_holds_the_gpus_is_named(
    driver: Build, door: Door, tmp_path: Path, held: str, wished: str, told: str
) -> None:
    other = driver.copy(tmp_path / "other")
    holding(driver, [held], script=HOLD + door.stay, attributes="network = True")
    holding(other, [wished])
    first = driver.start("//:n0")
    door.wait_for(1)

    second = other.start("//:n0")
    line = said_while_waiting(second)
    door.let_go()

    _, said = second.communicate()
    first.communicate()
    assert second.returncode == first.returncode == 0, said
    assert line.startswith(f"//:n0  waits for {told}: lent to //:n0 (process ")
    assert "waits for" not in said  # once is enough


@pytest.mark.parametrize(
    "gpus", ["-1", "1.5", '"x:y"', "[1.5]", "[[1]]", '["A100", 0]', '"A100, T4"', "True"]
)
def test_a_wish_that_is_none_is_refused(build: Build, gpus: str) -> None:
    done = on_gpu(build, gpus).run("//:it")

    assert done.code == 2
    assert "gpus" in done.stderr


def asking(build: Build, resources: str) -> Build:
    build.file(
        "BUILD.ml",
        'genrule(name = "first", outs = ["first.txt"], cmd = "echo > $@")\n'
        'genrule(name = "it", srcs = [":first"], outs = ["it.txt"], cmd = "echo > $@", '
        f"resources = {{{resources}}})\n",
    )
    return build


ENOUGH = '"memory": "1Mi", "disk": "1Mi"'


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ('"memory": "1048576Gi"', "asks for 1073741824 MiB of memory, and this host has "),
        ('"disk": "1048576Gi"', "needs 1048576.0 GiB of disk, and this host has "),
        ('"cpus": 5000', "needs 5000 CPUs, and there "),
    ],
)
def test_what_can_never_be_met_stops_the_build_before_anything_ran(
    build: Build, resources: str, said: str
) -> None:
    done = asking(build, resources).run("build", "//:it")

    assert done.code == 36
    assert f"`//:it` {said}" in done.stderr
    assert "on this host" in done.stderr or "this host has" in done.stderr
    assert build("//:first").ran == ["//:first"]  # it had not


def test_the_free_space_and_its_place_are_named(build: Build) -> None:
    done = asking(build, '"disk": "1048576Gi"').run("build", "//:it")

    assert re.search(rf"has [0-9.]+ GiB free for `{build.cache}`", done.stderr)
    assert "mlbuild cache gc" in done.stderr


def test_what_is_asked_for_counts_only_where_something_runs(build: Build) -> None:
    asking(build, ENOUGH)("//:it")

    asking(build, '"memory": "1048576Gi", "disk": "1048576Gi", "spot": True')

    assert build("//:it").ran == []
    assert build.run("build", "--dry-run", "//:it").code == 0


def test_disk_and_spot_are_shown_and_not_in_the_key(build: Build) -> None:
    def shown(resources: str) -> dict[str, object]:
        asking(build, resources)("//:first")  # else there is no key yet
        done = build.run("actions", "--json", "//:it")
        (found,) = json.loads(done.stdout)
        return {name: found[name] for name in ("key", "disk", "spot")}

    silent, loud = shown(""), shown('"disk": "50Mi", "spot": True')

    assert (silent["disk"], silent["spot"]) == (0, False)
    assert (loud["disk"], loud["spot"]) == (50 << 20, True)
    assert silent["key"] == loud["key"] is not None
    assert "disk     52428800" in build.run("actions", "//:it").stdout


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ('"disk": "much"', "`much` is not an amount of disk"),
        ('"spot": "yes"', "`spot` is `True` or `False`"),
        ('"dsk": "1Gi"', "`resources` has no `dsk`"),
    ],
)
def test_resources_that_cannot_be_meant_are_refused(
    build: Build, resources: str, said: str
) -> None:
    done = asking(build, resources).run("build", "//:it")

    assert done.code == 2
    assert said in done.stderr


@pytest.fixture
def away(build: Build, far_host: ssh.Host) -> Build:
    """Return a workspace whose builds run on another host, which has an A100 and a T4."""
    table = f'[executors.gpubox]\nkind = "ssh"\nhost = "ssh://{far_host.address}"\nslots = 4\n'
    build.file("mlbuild.toml", f'[workspace]\nname = "test"\n{table}')
    build.env["PATH"] = f"{far_host.bin}:{os.environ['PATH']}"
    build.flags = ["--executor", "gpubox", "-j", "4"]
    return build


def test_a_dead_client_keeps_no_gpu_and_a_busy_job_keeps_its_own(
    away: Build, far_host: ssh.Host, door: Door, tmp_path: Path
) -> None:
    other = away.copy(tmp_path / "other", cache=tmp_path / "cache-other")
    slow = HOLD.replace("time.sleep(0.2)", door.stay)
    holding(away, ["1", "1"], script=slow, attributes="network = True")
    holding(other, ['["T4", "A100"]', '["T4", "A100"]'])
    client = away.start("build", *away.flags, "//...")
    door.wait_for(2)
    os.killpg(client.pid, signal.SIGKILL)
    client.communicate()

    waiting = other.start("build", *other.flags, "//...")
    line = said_while_waiting(waiting)
    let_go = time.time()
    door.let_go()
    _, said = waiting.communicate()
    away("//...")  # finds what the jobs made whose client is dead

    told = r"//:n\d  waits for 1 T4 GPU or 1 A100 GPU: lent to //:n\d \(process \d+\)"
    assert re.match(told, line), said
    assert waiting.returncode == 0, said
    busy = uses(away, 2)
    assert set(busy) == {"GPU-aaa", "GPU-bbb"}
    assert all(end >= let_go for ((_, end),) in busy.values())  # nobody ended them early
    for n in range(2):
        seen = (other.root / f"mlbuild-out/n{n}/seen.txt").read_text()
        away.file(f"mlbuild-out/n{n + 2}/seen.txt", seen)
    uses(away, 4)
    assert not list((far_host.folder.parent / "far/mlbuild/v1/locks").glob("gpu-*"))


def test_a_list_is_granted_by_the_machine_that_runs_it(away: Build) -> None:
    holding(away, ['["H100:2", "T4-16GB"]', '["A100-80GB:2", "A100-80GB"]'])

    away("//...")

    assert [away.output(f"n{n}/seen.txt").split()[0] for n in range(2)] == ["GPU-bbb", "GPU-aaa"]


def test_what_another_machine_lacks_stops_the_build_before_anything_ran(
    away: Build, far_host: ssh.Host
) -> None:
    where = f"`ssh://{far_host.address}`"
    for resources, said in (
        ('"memory": "1Gi", "disk": "1048576Gi"', f"GiB of disk, and {where} has "),
        ('"gpus": ["H100", "A100:2"]', f"{where} has 1 {A100}, 1 Tesla T4"),
    ):
        done = asking(away, resources).run("build", *away.flags, "//:it")

        assert done.code == 36, resources
        assert said in done.stderr
    assert away("//:first").ran == ["//:first"]  # it had not


@pytest.mark.gpu
def test_a_sandbox_shows_the_one_gpu_that_was_lent(build: Build) -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("`nvidia-smi` is not installed, so there is no driver")
    with (build.root / "BUILD.ml").open("a") as file:
        file.write(
            'genrule(name = "it", outs = ["out.txt"], cmd = "nvidia-smi -L > $@", '
            'resources = {"gpus": 1})\n'
        )

    build("//:it")

    assert build.output("it/out.txt").count("GPU-") == 1
