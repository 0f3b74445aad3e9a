"""What goes wrong is named in one clear block, has the right exit code, and is never cached."""

import os
import signal
import subprocess
import time

import pytest

from mlbuild.exec import cgroup
from tests.harness import Build, Finished

WRITE = """
import os
for name in ("out", "m.json"):
    with open(os.environ["MLBUILD_OUT"] + "/" + name, "w") as file:
        file.write({0!r})
"""


def python(build: Build, source: str, attributes: str = "") -> Build:
    """Declare `//:it`, a process that runs `source` and makes `out`."""
    build.file("it.py", source)
    return build.file(
        "BUILD.ml",
        f'process(name = "it", script = "it.py", outs = ["out"], {attributes})\n',
    )


def failing(build: Build, code: int = 1) -> Finished:
    """Build `//...` twice: both times it must fail alike, so nothing was cached."""
    first, second = build.run("//..."), build.run("//...")
    assert (first.code, second.code) == (code, code), first.stderr + second.stderr
    assert "Traceback" not in first.stderr.replace("Traceback (most recent call last)", "")
    return first


def test_a_script_that_fails_shows_target_reason_log_and_command(build: Build) -> None:
    python(build, "import sys\nfor n in range(30): print('line', n)\nsys.exit(3)\n")

    done = failing(build)

    assert "//:it" in done.stderr
    assert "exit code 3" in done.stderr
    assert "line 29" in done.stderr
    assert "line 10" in done.stderr
    assert "line 9\n" not in done.stderr  # the last 20 only
    assert ".log" in done.stderr
    assert "mlbuild //:it" in done.stderr


def test_a_missing_output_is_named(build: Build) -> None:
    python(build, "import os\nopen(os.environ['MLBUILD_OUT'] + '/oout', 'w').close()\n")

    done = failing(build)

    assert "`out`" in done.stderr
    assert "oout" in done.stderr  # what it wrote instead


def test_metrics_that_are_not_json_are_refused(build: Build) -> None:
    python(build, WRITE.format("x"), 'metrics = "m.json"')

    done = failing(build)

    assert "`m.json` are not JSON" in done.stderr


@pytest.mark.parametrize("content", ['{"a": "high"}', '{"a": NaN}', '{"a": true}', "[1]", "3"])
def test_metrics_that_are_not_numbers_are_refused(build: Build, content: str) -> None:
    python(build, WRITE.format(content), 'metrics = "m.json"')

    done = failing(build)

    assert "m.json" in done.stderr


def test_a_timeout_ends_the_action_and_its_children(build: Build) -> None:
    python(
        build,
        "import subprocess as s\ns.Popen(['sleep', '98765'])\ns.run(['sleep', '98765'])\n",
        'timeout = "1s"',
    )

    done = failing(build)

    assert "timeout of 1 s" in done.stderr
    assert "98765" not in _processes()


def test_a_kill_for_memory_is_named(build: Build) -> None:
    if cgroup.hierarchies() is None:
        pytest.skip("no memory cgroup that this user may write")
    python(build, "x = bytearray(300 << 20)\n", 'resources = {"memory": "64Mi"}')

    done = failing(build)

    assert "more than its memory of 64 MiB" in done.stderr


def test_a_signal_is_named(build: Build) -> None:
    python(build, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")

    done = failing(build)

    assert "signal" in done.stderr


def test_an_undeclared_module_is_named_with_the_attribute_to_add_it_to(build: Build) -> None:
    python(build, "import helper\n")
    build.file("helper.py", "")

    done = failing(build)

    assert "`helper.py`" in done.stderr
    assert "`srcs` of `//:it`" in done.stderr


def test_an_undeclared_file_is_named(build: Build) -> None:
    python(build, "open('table.csv')\n")
    build.file("table.csv", "1,2\n")

    done = failing(build)

    assert "`table.csv`" in done.stderr
    assert "`//:it`" in done.stderr


def test_a_missed_gate_has_an_exit_code_of_its_own(build: Build) -> None:
    build.file(
        "e.py",
        "import os\nwith open(os.environ['MLBUILD_OUT'] + '/metrics.json', 'w') as file:\n"
        "    file.write('{\"acc\": 0.5}')\n",
    )
    build.file("BUILD.ml", 'evaluate(name = "e", script = "e.py", gates = {"acc": ">= 0.9"})\n')

    done = failing(build, code=3)

    assert "acc" in done.stderr
    assert "0.9" in done.stderr


@pytest.mark.parametrize(
    ("source", "place", "says"),
    [
        ('genrule(name = "a" outs = ["b"])', "BUILD.ml:1:", "error:"),
        ('genrul(name = "a")', "BUILD.ml:1:1", "`genrule`"),
        ('genrule(name = "a", out = ["b"], cmd = "x")', "BUILD.ml:1:21", "`outs`"),
        ('genrule(name = "a", outs = "b", cmd = "x")', "BUILD.ml:1:21", "list"),
        ('genrule(name = "a", outs = ["b"], cmd = "x", srcs = [":c"])', "BUILD.ml:1:55", "`c`"),
        (
            'genrule(name = "a", outs = ["b"], cmd = "x", srcs = ["c.txt"])',
            "BUILD.ml:1:55",
            "c.txt",
        ),
        ('genrule(name = "a", outs = ["b"], cmd = "x", srcs = ["//x:y"])', "BUILD.ml:1:55", "//x"),
        ('genrule(name = "a", outs = ["b"], cmd = "x", srcs = [":a"])', "BUILD.ml:1:55", "cycle"),
        ('filegroup(name = "a")\nfilegroup(name = "a")', "BUILD.ml:2:1", "twice"),
        ('filegroup(name = "a", srcs = glob(["*.nope"]))', "BUILD.ml:1:", "matches no file"),
        ('genrule(name = "a", outs = ["../b"], cmd = "x")', "BUILD.ml:1:1", "`../b`"),
        ('genrule(name = "a", outs = ["b"], cmd = "$(locaton x)")', "BUILD.ml:1:1", "$(locaton x)"),
        ('load("//x:y.bzl", "z")', "BUILD.ml:1:", "y.bzl"),
    ],
)
def test_bad_files_are_pointed_at(build: Build, source: str, place: str, says: str) -> None:
    build.file("BUILD.ml", source + "\n")

    done = build.run("//...")

    assert done.code == 2, done.stderr
    assert place in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["//nope:x"], "//nope"),
        (["//:upperr"], "`upper`"),
        (["biuld", "//..."], "`build`"),
        (["--dry-rum", "//..."], "--dry-run"),
        (["-j", "many", "//..."], "many"),
        (["why"], "no target"),
        ([], "mlbuild"),
    ],
)
def test_bad_words_get_one_sentence(build: Build, words: list[str], says: str) -> None:
    build.genrule("upper", "tr a-z A-Z")

    done = build.run(*words)

    assert done.code == (2 if words else 0)
    assert says in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_cycle_is_shown_as_a_path(build: Build) -> None:
    build.genrule("a", "cat", ":b").genrule("b", "cat", ":c").genrule("c", "cat", ":a")

    done = build.run("//:a")

    assert "//:a → //:b → //:c → //:a" in done.stderr


def test_ctrl_c_leaves_no_process_and_the_next_build_works(build: Build) -> None:
    build.file("ctrl_c.py", "import time\nprint('up', flush=True)\ntime.sleep(54321)\n")
    build.file("BUILD.ml", 'process(name = "it", script = "ctrl_c.py", outs = ["out"])\n')
    started = build.start("//...")
    _wait_for(lambda: "ctrl_c.py" in _processes())

    os.killpg(started.pid, signal.SIGINT)
    _, stderr = started.communicate(timeout=30)

    assert started.returncode == 8, stderr
    _wait_for(lambda: "ctrl_c.py" not in _processes())
    build.genrule("ok", "cat")
    assert build("//:ok").ran == ["//:ok"]


def test_two_processes_run_an_action_once(build: Build) -> None:
    build.file(
        "it.py", "import os, time\ntime.sleep(1)\nopen(os.environ['MLBUILD_OUT'] + '/out', 'w')\n"
    )
    build.file("BUILD.ml", 'process(name = "it", script = "it.py", outs = ["out"])\n')

    both = [build.start("build", "--json", "//:it") for _ in range(2)]
    reports = [process.communicate(timeout=60)[0] for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert sum('"ran": ["//:it"]' in report for report in reports) == 1


def test_a_source_that_changes_while_it_is_used_voids_the_result(build: Build) -> None:
    nap = f"sleep 2.{os.getpid()}"
    build.file("slow.in", "1").genrule("slow", f"{nap}; cat", "slow.in")
    started = build.start("//:slow")
    _wait_for(lambda: f"\n{nap}\n" in _processes())

    build.file("slow.in", "2")
    _, stderr = started.communicate(timeout=60)

    assert started.returncode == 0, stderr
    assert "changed while it ran" in stderr
    build.file("slow.in", "1")
    assert build("//:slow").ran == ["//:slow"]


def _processes() -> str:
    command = ["ps", "-ww", "-eo", "args"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _wait_for(question: "object") -> None:
    assert callable(question)
    for _ in range(300):
        if question():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")
