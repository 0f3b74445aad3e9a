"""Hosts behind ssh that are in trouble: each is told in one clear line, and none is half used."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import far
from tests.far import PLAIN, OddHost, led
from tests.harness import Build

PYTHONS = Path("/root/.pyenv/versions")
ORIGINAL = '"$SSH_ORIGINAL_COMMAND"'


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OddHost]:
    yield from far.odd_host(tmp_path_factory.mktemp("odd") / "host")


@pytest.fixture(autouse=True)
def _as_before(odd: OddHost) -> Iterator[None]:
    yield
    odd.says(PLAIN)


@pytest.fixture
def away(build: Build, odd: OddHost) -> Build:
    """Return a workspace whose builds run on the odd host, and are tried once."""
    return led(build, odd.host, "retries = 0")


def links(build: Build) -> dict[str, tuple[str, str]]:
    """Return what `mlbuild doctor` says of each link: how it is, and all its words."""
    done = build.run("doctor", "--executor", "gpubox", "--json")
    found = json.loads(done.stdout)["findings"]
    assert "Traceback" not in done.stderr
    return {one["name"]: (one["status"], f"{one['text']} {one['cure']}") for one in found}


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """Yield a small file system of its own."""
    place.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "x", str(place)]
    if subprocess.run(words, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        shutil.rmtree(place)


# What logs in


@pytest.mark.parametrize("hello", ["printf hello", "seq 30000"])
def test_what_a_shell_prints_at_login_is_no_answer(away: Build, odd: OddHost, hello: str) -> None:
    home = odd.folder / "home with blanks"
    home.mkdir(exist_ok=True)
    (home / ".bashrc").write_text(f"{hello}\n")
    odd.says(f"export HOME='{home}'; unset SHLVL XDG_CACHE_HOME; exec bash -c {ORIGINAL}\n")
    away.file("a.txt", "one\n").genrule("up", "tr a-z A-Z", "a.txt")

    away("//:up")

    assert away.output("up/up.txt") == "ONE\n"
    assert (home / ".cache" / "mlbuild" / "v1" / "remote").is_dir()


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_other_login_shells_do(away: Build, odd: OddHost, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} is installed")
    odd.says(f"exec {shell} -c {ORIGINAL}\n")

    assert links(away)["connection"][0] == "ok"


def test_an_account_that_may_not_log_in_is_told_with_its_words(away: Build, odd: OddHost) -> None:
    odd.says("echo This account is currently not available.; exit 1\n")
    away.genrule("one", "cat")

    done = away.run("build", *away.flags, "//:one")

    assert done.code == 36
    assert "currently not available" in done.stderr


def test_a_host_without_python_is_told_what_it_needs(away: Build, odd: OddHost) -> None:
    odd.says(f"export PATH=/nowhere; exec /bin/sh -c {ORIGINAL}\n")

    status, text = links(away)["connection"]

    assert status == "bad"
    assert "there is no Python on" in text
    assert "install Python 3.11 or later" in text


@pytest.mark.parametrize(
    ("version", "said"), [("2.7", "2nd generation"), ("3.6", "has Python 3.6")]
)
def test_a_python_that_is_too_old_is_named(
    build: Build, odd: OddHost, version: str, said: str
) -> None:
    found = sorted(PYTHONS.glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} is installed")
    led(build, odd.host, f'python = "{found[0]}"')

    status, text = links(build)["connection"]

    assert status == "bad"
    assert "the runner needs 3.11" in text
    assert said in text


def test_a_python_may_lie_where_names_have_blanks(build: Build, odd: OddHost) -> None:
    home = odd.folder / "a home"
    (home / "my bin").mkdir(parents=True)
    (home / "my bin" / "py").symlink_to(os.path.realpath(sys.executable))
    odd.says(f"export HOME='{home}'; exec /bin/sh -c {ORIGINAL}\n")
    led(build, odd.host, 'python = "~/my bin/py"')

    assert links(build)["connection"][0] == "ok"


def test_a_python_that_lacks_packages_says_which(build: Build, odd: OddHost) -> None:
    found = sorted(PYTHONS.glob("3.13.*/bin/python"))
    if not found:
        pytest.skip("no Python 3.13 is installed")
    odd.says(f"export PIP_NO_INDEX=1; exec /bin/sh -c {ORIGINAL}\n")
    led(build, odd.host, f'python = "{found[0]}"')

    status, text = links(build)["connection"]

    assert status == "bad"
    assert "cannot be installed" in text
    assert "`blake3` and `zstandard`" in text
    assert not list(odd.caches.glob("mlbuild/runners/.new-*"))


# The way there


def test_a_host_that_accepts_and_is_silent_is_given_up(build: Build, odd: OddHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        led(build, odd.host, address=f"ssh://root@127.0.0.1:{silent.getsockname()[1]}")
        far.client(build, odd.host, "-oConnectTimeout=1")

        status, text = links(build)["connection"]

    assert status == "bad"
    assert "cannot be reached" in text
    assert "timed out" in text


def test_an_unknown_host_key_is_refused_with_what_to_do(away: Build, odd: OddHost) -> None:
    far.client(away, odd.host, "-oUserKnownHostsFile=/dev/null")

    status, text = links(away)["connection"]

    assert status == "bad"
    assert "is not known here, so the connection is refused" in text
    assert "connect once by hand" in text


# Its disk


def test_no_room_for_the_runner_is_a_full_disk(away: Build, odd: OddHost, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=200k") as small:
        odd.says(f"export XDG_CACHE_HOME={small}; exec /bin/sh -c {ORIGINAL}\n")

        status, text = links(away)["connection"]
        left = list(small.glob("mlbuild/runners/*"))

    assert status == "bad"
    assert "is full" in text
    assert left == []


def test_no_inodes_are_a_full_disk_and_tried_again(
    build: Build, odd: OddHost, tmp_path: Path
) -> None:
    with mounted(tmp_path / "few", "nr_inodes=12") as few:
        led(build, odd.host, f'cache_dir = "{few}/store"', "retries = 1")
        build.genrule("one", "cat")
        done = build.run("build", *build.flags, "//:one")

    assert done.code == 36
    assert "is full" in done.stderr
    assert "(2 tries)" in done.stderr


def test_a_store_that_cannot_be_written_is_told_so(
    build: Build, odd: OddHost, tmp_path: Path
) -> None:
    with mounted(tmp_path / "fixed", "size=1m", "ro") as fixed:
        led(build, odd.host, f'cache_dir = "{fixed}/store"')
        build.genrule("one", "cat")
        done = build.run("build", *build.flags, "//:one")

    assert done.code == 36
    assert "Read-only file system" in done.stderr
    assert "tries" not in done.stderr
    assert "agent failed" not in done.stderr


# What it is and has


def in_its_own_mounts(*commands: str) -> str:
    """Return a login after which these commands have changed what the session sees."""
    return f"exec unshare -m sh -c '{'; '.join(commands)}; exec /bin/sh -c {ORIGINAL}'\n"


def test_a_host_without_a_sandbox_says_how_to_get_one(away: Build, odd: OddHost) -> None:
    odd.says(in_its_own_mounts("mount --bind /dev/null /usr/bin/bwrap"))
    away.genrule("one", "cat")

    done = away.run("build", *away.flags, "//:one")
    status, text = links(away)["sandbox"]

    assert done.code == 36
    assert "has no sandbox" in done.stderr
    assert "apt-get install bubblewrap" in done.stderr
    assert status == "bad"
    assert "apt-get install bubblewrap" in text


def test_a_host_of_another_distribution_is_refused_and_both_are_named(
    away: Build, odd: OddHost
) -> None:
    other = odd.folder / "os-release"
    other.write_text('ID=gentoo\nVERSION_ID="7"\n')
    odd.says(in_its_own_mounts(f"mount --bind {other} /etc/os-release"))
    away.genrule("one", "cat")

    done = away.run("build", *away.flags, "//:one")
    status, text = links(away)["platform"]

    assert done.code == 36
    assert "gentoo" in done.stderr
    assert "results would not be the same" in done.stderr
    assert status == "bad"
    assert "gentoo" in text


def test_a_host_without_gpus_is_told_before_anything_runs(away: Build) -> None:
    away.file("x.py", "")
    away.file(
        "BUILD.ml",
        'process(name = "it", script = "x.py", outs = ["o"], resources = {"gpus": 1})\n',
    )

    done = away.run("build", *away.flags, "//:it")

    assert done.code == 36
    assert "needs 1 GPU" in done.stderr
    assert links(away)["gpu"][0] == "note"


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library that sets the clock of a process by the seconds in CLOCK_OFF."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(
        "#define _GNU_SOURCE\n#include <stdlib.h>\n#include <time.h>\n#include <unistd.h>\n"
        "#include <sys/syscall.h>\n"
        "int clock_gettime(clockid_t id, struct timespec *at) {\n"
        "  int code = syscall(SYS_clock_gettime, id, at);\n"
        '  const char *off = getenv("CLOCK_OFF");\n'
        "  if (!code && id == CLOCK_REALTIME && off) at->tv_sec += atol(off);\n"
        "  return code;\n}\n"
    )
    words = ["cc", "-shared", "-fPIC", "-o", str(folder / "clock.so"), str(folder / "clock.c")]
    if shutil.which("cc") is None or subprocess.run(words, check=False).returncode:
        pytest.skip("no C compiler is installed")
    return folder / "clock.so"


@pytest.mark.parametrize("seconds", [-5 * 3600, 5 * 3600])
def test_nothing_depends_on_the_clock_of_the_host(
    away: Build, odd: OddHost, late: Path, seconds: int
) -> None:
    odd.says(f"export LD_PRELOAD={late} CLOCK_OFF={seconds}; exec /bin/sh -c {ORIGINAL}\n")
    away.file("a.txt", f"one {seconds}\n").genrule("up", "tr a-z A-Z", "a.txt")
    away.genrule("slow", "sh -c 'for n in 1 2 3 4; do echo $$n >&2; sleep 0.2; done'", "a.txt")

    away("//...")

    assert away.output("up/up.txt") == f"ONE {seconds}\n"
    assert far.log_of(away, "slow").split() == ["1", "2", "3", "4"]


# Whose failure it is


@pytest.mark.parametrize(
    ("more", "program", "said"),
    [
        ('timeout = "1s"', "import time; time.sleep(100)", "timeout of 1 s"),
        ('resources = {"memory": "64MiB"}', "x = bytearray(1 << 30)", "memory"),
        ("", "import os; os.kill(os.getpid(), 11)", "signal"),
        ("", "raise SystemExit(7)", "exit code 7"),
    ],
)
def test_what_the_command_did_is_its_users_and_not_tried_again(
    build: Build, odd: OddHost, more: str, program: str, said: str
) -> None:
    led(build, odd.host, "retries = 5")
    build.file("x.py", f"print('begun', flush=True)\n{program}\n")
    build.file("BUILD.ml", f'process(name = "it", script = "x.py", outs = ["o"], {more})\n')

    done = build.run("build", *build.flags, "//:it")

    assert done.code == 1
    assert said in done.stderr
    assert far.log_of(build, "it").count("begun") == 1
    assert "follows" not in far.log_of(build, "it")
