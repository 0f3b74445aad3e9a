"""`mlbuild shell` and `--keep-sandbox`: looking around where a command runs, or ran."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from mlbuild.exec.sandbox import SMALL
from tests.harness import Build, Finished

SCRIPT = """
import json, os, sys
print(sys.argv[1:], os.environ["MLBUILD_SEED"])
with open(sys.argv[-1], "w") as file:
    file.write("made")
"""


@pytest.fixture
def it(build: Build) -> Build:
    """Return a workspace with `//:it`, a script that reads what another target makes."""
    build.genrule("dep", "tr a-z A-Z", "a.txt").file("a.txt", "a\n").file("it.py", SCRIPT)
    with (build.root / "BUILD.ml").open("a") as file:
        file.write(
            'process(name = "it", script = "it.py", data = {"dep": ":dep"}, seed = 7, '
            'args = ["it\'s", "$(location dep)", "$(output out)"], outs = ["out"])\n'
        )
    return build


def ask(build: Build, command: str, *words: str) -> Finished:
    return build.run("shell", "//:it", *words, "-c", command)


def test_a_command_sees_what_the_action_sees(it: Build) -> None:
    done = ask(it, "pwd; cat mlbuild-out/dep/dep.txt; ls /out; echo $MLBUILD_OUT $MLBUILD_SEED")

    assert done.code == 0, done.stderr
    assert done.stdout == "/work\nA\n/out 7\n"
    assert "sandbox of //:it (process)" in done.stderr
    assert "nothing you do here is kept" in done.stderr


def test_it_is_as_sealed_as_the_action(it: Build) -> None:
    done = ask(it, f"ls {it.root}; touch /work/x; ls /sys/class/net; id -u")

    assert done.stdout == "1000\n"
    assert done.stderr.count("No such file") + done.stderr.count("Read-only") == 3


def test_the_action_can_be_run_there_and_nothing_of_it_is_kept(it: Build) -> None:
    done = ask(it, 'sh "$TMPDIR/command" && cat /out/out')

    assert done.stdout == "[\"it's\", 'mlbuild-out/dep/dep.txt', '/out/out'] 7\nmade"
    assert it("//:it").ran == ["//:it"]


def test_the_exit_code_is_that_of_the_command(it: Build) -> None:
    assert ask(it, "exit 7").code == 7
    assert ask(it, "kill -9 $$").code == 128 + 9


def test_words_are_read_from_stdin_where_there_is_no_terminal(it: Build) -> None:
    done = subprocess.run(
        it.command("shell", ":it"),
        cwd=it.root,
        env=it.environment(),
        input="echo one\nexit 4\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (4, "one\n")


def test_a_target_that_fails_can_be_entered(it: Build) -> None:
    it.file("it.py", "raise SystemExit(1)\n")

    assert it.run("//:it").code == 1
    assert ask(it, "ls it.py").stdout == "it.py\n"


def test_what_it_reads_is_built_first_and_said_when_that_fails(it: Build) -> None:
    it.edit("BUILD.ml", "tr a-z A-Z", "false")

    done = ask(it, "true")

    assert done.code == 1
    assert "FAILED //:dep" in done.stderr
    assert "`//:dep` failed" in done.stderr


def test_another_action_of_a_target_is_chosen_by_its_name(build: Build) -> None:
    build.file(
        "e.py",
        "import os\nopen(os.environ['MLBUILD_OUT'] + '/metrics.json', 'w').write('{\"a\": 1}')",
    )
    build.file("BUILD.ml", 'evaluate(name = "it", script = "e.py", gates = {"a": ">= 1"})\n')

    assert ask(build, "ls", "--action", "gate").stdout == "@rules\nmlbuild-out\n"
    assert "e.py" in ask(build, "ls").stdout
    wrong = ask(build, "ls", "--action", "gaet")
    assert wrong.code == 2
    assert "did you mean `gate`?" in wrong.stderr


def test_what_cannot_be_entered_is_said(it: Build) -> None:
    assert it.run("shell").code == 2
    assert it.run("shell", "//:it", "-c", " ").code == 2
    done = it.run("shell", "//:none")
    assert done.code == 2
    assert "none" in done.stderr


class Terminal:
    """`mlbuild shell` on a terminal, typed into by a test."""

    def __init__(self, build: Build, *words: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(build.root)
            environ = build.environment() | {"TERM": "xterm"}
            command = build.command(*words)
            os.execvpe(command[0], command, environ)  # noqa: S606 - on this terminal
        self.seen = b""

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str) -> None:
        """Read until `text` is on the screen, then forget what was before."""
        end = time.monotonic() + 60
        while text.encode() not in self.seen:
            assert time.monotonic() < end, self.seen.decode(errors="replace")
            if select.select([self.fd], [], [], 0.2)[0]:
                self.seen += os.read(self.fd, 65536)
        self.seen = self.seen.partition(text.encode())[2]

    def ended(self) -> int:
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_on_a_terminal_keys_and_jobs_work(it: Build) -> None:
    terminal = Terminal(it, "shell", ":it")
    terminal.resize(33, 99)
    terminal.until("leads out")

    terminal.type("PS1='$ '; echo size $(stty size) $TERM\n")
    terminal.until("size 33 99 xterm")
    terminal.type("sleep 1000; echo ended $?\n")
    terminal.until("sleep 1000")
    time.sleep(0.3)  # until it has begun
    terminal.type("\x03")
    terminal.type("echo then $?\n")
    terminal.until("then 130")
    terminal.type("sleep 1000 & jobs\n")
    terminal.until("Running")
    terminal.resize(20, 60)
    terminal.type("echo now $(stty size)\n")
    terminal.until("now 20 60")
    terminal.type("exit 5\n")

    assert terminal.ended() == 5


def test_the_sandbox_of_a_failure_is_kept_when_asked_for(it: Build) -> None:
    large = "x" * (SMALL + 1)
    it.file("large.txt", large).edit("BUILD.ml", '"dep": ":dep"', '"dep": "large.txt"')
    it.file("it.py", "import os\nopen(os.environ['MLBUILD_OUT'] + '/oot', 'w').close()\n")

    plain, kept = it.run("//:it"), it.run("//:it", "--keep-sandbox")

    assert "kept:" not in plain.stderr
    assert "enter: mlbuild shell //:it" in kept.stderr
    folder = Path(kept.stderr.partition("kept: ")[2].partition(" ")[0])
    assert (folder / "out/oot").exists()
    assert (folder / "work/it.py").read_text().startswith("import os")
    assert (folder / "work/large.txt").read_text() == large
    assert it.run("clean").stdout.count("removed") == 2
    assert not folder.exists()


def test_a_kept_sandbox_goes_after_a_week(it: Build) -> None:
    it.file("it.py", "raise SystemExit(1)\n")
    for _ in range(2):
        it.run("//:it", "--keep-sandbox")
    old, young = sorted((it.cache / "kept").iterdir())
    week = time.time() - 8 * 24 * 3600
    os.utime(old, (week, week))

    it("//:dep")

    assert [one.name for one in (it.cache / "kept").iterdir()] == [young.name]


def test_a_success_keeps_no_sandbox(it: Build) -> None:
    assert it.run("//:it", "--keep-sandbox").code == 0
    assert not (it.cache / "kept").exists()
