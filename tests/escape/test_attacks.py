"""What an action may try, and must not reach. A script prints `escaped` when it got through.

Each attack is also run without a sandbox, where it must succeed: so it is known to be one. Where
that would harm this host, or this user has not the rights for it, `control` says so.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mlbuild.core.action import Run
from mlbuild.exec import cgroup
from mlbuild.exec.base import Executor
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.exec.docker import Docker
from mlbuild.exec.process import Process
from mlbuild.exec.sandbox import SMALL
from tests import docker
from tests.contract.jobs import Jobs, marked, shell

NO_SANDBOX = Bubblewrap("").available()
IS_ROOT = os.geteuid() == 0
HOME = os.path.expanduser("~")
# An image may hold a folder of the same name, for the interpreter that lies there.
IN_HOME = next((name for name in sorted(os.listdir(HOME)) if name not in {".pyenv", ".local"}), "")
# A container runs as the caller, so that outputs are the caller's: of root's nothing is left.
OWN_ID = {"to become root", "the user's id"}

pytestmark = pytest.mark.skipif(bool(NO_SANDBOX), reason=NO_SANDBOX)


@dataclass(frozen=True)
class Attack:
    """A script, and whether it can be shown to work without a sandbox."""

    name: str
    script: str
    control: bool = True


def python(code: str) -> str:
    """Return the shell words that run Python `code`, which holds no single quote."""
    assert "'" not in code
    return f"python3 -c '{code}' && echo escaped"


def connect(family: str, address: str) -> str:
    return python(f"import socket; socket.socket(socket.{family}).connect({address})")


SAME_CORE_PATTERN = (
    'read -r v </proc/sys/kernel/core_pattern; echo "$v" >/proc/sys/kernel/core_pattern'
)

ATTACKS = (
    Attack("a file of the user", "cat {home}/secret && echo escaped"),
    Attack(
        "the user's real home",
        f"ls -A {HOME} | grep -qxF -- '{IN_HOME}' && echo escaped",
        control=bool(IN_HOME),
    ),
    Attack("passwords", "cat /etc/shadow && echo escaped", control=IS_ROOT),
    Attack("other users", "grep -q ^root: /etc/passwd && echo escaped"),
    Attack("the host's /tmp", "cat /tmp/{unique} && echo escaped"),
    Attack("the host's shared memory", "cat /dev/shm/{unique} && echo escaped"),
    Attack("the host's services", "ls -d /run/lock /var/lib/dpkg && echo escaped"),
    Attack(
        "a file through a link in the outputs",
        "ln -s {home}/secret $MLBUILD_OUT/l; cat $MLBUILD_OUT/l && echo escaped",
    ),
    Attack(
        "a file through the root of its parent",
        "cat /proc/$PPID/root{home}/secret && echo escaped",
        control=IS_ROOT,
    ),
    Attack("a TCP service of this host", connect("AF_INET", '("127.0.0.1", {port})')),
    Attack("an abstract socket", connect("AF_UNIX", '"\\0{unique}"')),
    Attack("a socket such as docker's", connect("AF_UNIX", '"{home}/docker.sock"')),
    Attack(
        "docker's socket",
        "[ -S /var/run/docker.sock ] && echo escaped",
        control=os.path.exists("/var/run/docker.sock"),
    ),
    Attack(
        "a network interface",
        python("import socket; assert len(socket.if_nameindex()) > 1"),
        control=len(socket.if_nameindex()) > 1,
    ),
    Attack("to write an input", "chmod u+w in.txt; echo evil >in.txt && echo escaped"),
    Attack("to write a large input", "echo evil >>large.bin && echo escaped"),
    Attack("to write into an input tree", "echo evil >tree/a && echo escaped"),
    Attack("to remove an input", "rm -f in.txt && echo escaped"),
    Attack("to replace an input", "echo evil >$TMPDIR/x && mv $TMPDIR/x in.txt && echo escaped"),
    Attack("to add an input", "touch new.txt && echo escaped"),
    Attack("to change the time of an input", "touch in.txt && echo escaped"),
    Attack(
        "to write programs",
        "touch /usr/{unique} && rm /usr/{unique} && echo escaped",
        control=IS_ROOT,
    ),
    Attack(
        "to write settings",
        "touch /etc/{unique} && rm /etc/{unique} && echo escaped",
        control=IS_ROOT,
    ),
    Attack(
        "to write the root folder",
        "touch /{unique} && rm /{unique} && echo escaped",
        control=IS_ROOT,
    ),
    Attack("to write its context", "rm -f $MLBUILD_CONTEXT && echo escaped"),
    Attack("the kernel's core_pattern", f"({SAME_CORE_PATTERN}) && echo escaped", control=IS_ROOT),
    Attack(
        "the kernel's sysrq",
        "(: >>/proc/sysrq-trigger) && echo escaped",
        control=IS_ROOT and os.path.exists("/proc/sysrq-trigger"),
    ),
    Attack("the kernel's settings", "ls -d /sys/fs/cgroup && echo escaped"),
    Attack("to undo the kernel's locks", "echo 1 >/proc/sys/vm/drop_caches && echo escaped", False),
    Attack(
        "to watch a process",
        python(
            "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
            "assert libc.ptrace(16, {pid}, 0, 0) == 0"
        ),
        control=IS_ROOT,
    ),
    Attack(
        "to keep the right of another user",
        "cp $(command -v id) $TMPDIR/id && chmod u+s $TMPDIR/id && "
        "[ $(stat -c %a $TMPDIR/id) = 4755 ] && "
        "grep -q NoNewPrivs:.0 /proc/self/status && echo escaped",
    ),
    Attack("the kernel's log", "(: </dev/kmsg) && echo escaped", control=IS_ROOT),
    Attack(
        "block devices",
        "ls /dev/vd* /dev/sd* /dev/nvme* /dev/mem 2>/dev/null | grep -q . && echo escaped",
        control=False,
    ),
    Attack("to mount", "mount -t tmpfs none /tmp && echo escaped", control=False),
    Attack(
        "to mount over the kernel's files",
        "mount -t proc proc /proc && echo escaped",
        control=False,
    ),
    Attack("to be root in a namespace", "unshare --user --map-root-user true && echo escaped"),
    Attack(
        "to make a device",
        'mknod "$MLBUILD_OUT/null" c 1 3 && echo escaped',
        control=IS_ROOT,
    ),
    Attack("to change the root", "/usr/sbin/chroot / true && echo escaped", control=IS_ROOT),
    Attack("to become root", python("import os; os.setuid(0)"), control=IS_ROOT),
    Attack("to gain rights by exec", "grep -q NoNewPrivs:.0 /proc/self/status && echo escaped"),
    Attack(
        "any right of root",
        "grep -q CapBnd:.*[1-9a-f] /proc/self/status && echo escaped",
        control=IS_ROOT,
    ),
    Attack("to rename the host", "hostname {unique} && echo escaped", control=False),
    Attack("to see a process", "grep -lq {unique_pattern} /proc/[0-9]*/cmdline && echo escaped"),
    Attack("to signal a process", "kill -0 {pid} && echo escaped"),
    Attack(
        "the environment of a process",
        "grep -qsz ^CALLER_SECRET= /proc/{pid}/environ && echo escaped",
        control=IS_ROOT,
    ),
    Attack(
        "the environment of the sandbox program",
        "grep -qsz ^CALLER_SECRET= /proc/[0-9]*/environ && echo escaped",
        control=False,
    ),
    Attack("the caller's terminal", "(: </dev/tty) && echo escaped", control=False),
    Attack("the host's name", "[ $(uname -n) != mlbuild ] && echo escaped"),
    Attack("the user's id", "[ $(id -u) != 1000 ] && echo escaped", control=IS_ROOT),
)


@dataclass(frozen=True)
class Host:
    """What there is to reach on this host."""

    home: Path
    port: int
    unique: str
    pid: int

    def aim(self, script: str) -> str:
        """Fill in what `script` names."""
        words = {
            "{home}": str(self.home),
            "{port}": str(self.port),
            "{unique}": self.unique,
            "{unique_pattern}": f"[{self.unique[0]}]{self.unique[1:]}",  # does not match itself
            "{pid}": str(self.pid),
        }
        for word, meaning in words.items():
            script = script.replace(word, meaning)
        return script


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("CALLER_SECRET", "1")
    unique = f"canary-{os.getpid()}-{tmp_path.name[-20:]}".replace("[", "").replace("]", "")
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text("secret", encoding="utf-8")
    shared = [Path("/tmp", unique), Path("/dev/shm", unique)]  # noqa: S108
    with ExitStack() as stack:
        for path in shared:
            path.write_text("secret", encoding="utf-8")
            stack.callback(path.unlink)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in (f"\0{unique}", str(home / "docker.sock")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        victim = stack.enter_context(subprocess.Popen([unique, "1000"], executable="/bin/sleep"))
        stack.callback(victim.kill)
        yield Host(home, tcp.getsockname()[1], unique, victim.pid)


@dataclass(frozen=True)
class Cell:
    """What an action must not get out of."""

    kind: str
    executor: Callable[[], Executor]
    image: Path | None


def attempt(executor: Executor, run: Run, root: Path, *, image: Path | None = None) -> str:
    """Return what the command printed."""
    root.mkdir()
    jobs = Jobs(root, image=image)
    job = jobs.job(
        run,
        jobs.file("in.txt", b"input"),
        jobs.file("large.bin", b"x" * (SMALL + 1)),
        jobs.tree("tree", {"a": b"1"}),
    )
    try:
        executor.run(job)
    finally:
        executor.close()
    return Path(job.log).read_text(encoding="utf-8", errors="replace")


@pytest.fixture(params=["sandbox", "image", "docker"])
def cell(request: pytest.FixtureRequest, tmp_path: Path) -> Cell:
    """Return what is to hold: the sandbox, the sandbox with an image as its root, a container."""
    kind: str = request.param
    image = docker.unpacked() if kind != "sandbox" else None
    if kind != "docker":
        return Cell(kind, lambda: Bubblewrap(str(tmp_path / "own")), image)
    engine: docker.Engine = request.getfixturevalue("engine")
    environ = {"DOCKER_HOST": engine.address}
    return Cell(kind, lambda: Docker(str(tmp_path / "own"), environ), image)


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_action_cannot_reach(attack: Attack, host: Host, tmp_path: Path, cell: Cell) -> None:
    run = shell(host.aim(attack.script))
    if cell.kind == "docker" and IS_ROOT and attack.name in OWN_ID:
        pytest.skip("the caller is root, and a container runs as the caller")

    sealed = attempt(cell.executor(), run, tmp_path / "sealed", image=cell.image)
    assert "escaped" not in sealed

    if attack.control:
        assert "escaped" in attempt(Process(), run, tmp_path / "open")


@pytest.mark.parametrize("executable", ["python3", "/bin/sh"])
def test_an_honest_action_gets_through(cell: Cell, tmp_path: Path, executable: str) -> None:
    run = shell(f"command -v {executable} && id -u && echo x >$MLBUILD_OUT/out.txt && echo escaped")

    assert "escaped" in attempt(cell.executor(), run, tmp_path / "sealed", image=cell.image)


def test_outputs_belong_to_the_caller(cell: Cell, tmp_path: Path) -> None:
    run = shell("cd $MLBUILD_OUT; mkdir d; echo x >d/out.txt; chmod 4755 d/out.txt")

    attempt(cell.executor(), run, tmp_path / "sealed", image=cell.image)

    (made,) = tmp_path.glob("sealed/scratch-*/out/d/out.txt")
    assert (made.stat().st_uid, made.stat().st_gid) == (os.geteuid(), os.getegid())


def test_a_fork_bomb_ends_with_its_action(cell: Cell, tmp_path: Path) -> None:
    bomb = (
        "import os, time\nwhile True:\n  try: os.fork() or time.sleep(1000)\n"
        "  except OSError: break"
    )
    run = replace(shell(f"python3 -c '{bomb}'; echo survived"), memory=256 << 20, timeout=20.0)

    attempt(cell.executor(), run, tmp_path / "sealed", image=cell.image)

    assert marked("os.fork() or time.sleep(1000)") == []


def test_a_daemon_ends_with_its_action(cell: Cell, tmp_path: Path) -> None:
    mark = f"7{os.getpid()}.75"
    script = f"(setsid sh -c 'trap \"\" TERM HUP; sleep {mark}; :' >/dev/null 2>&1 &) ; sleep 0.1"
    run = shell(f"{script}; pgrep -f 'sleep {mark}' && echo started")

    said = attempt(cell.executor(), run, tmp_path / "sealed", image=cell.image)

    assert "started" in said
    assert marked(mark) == []


@pytest.mark.skipif(cgroup.hierarchies() is None, reason="no memory cgroup can be made here")
def test_a_memory_hog_is_stopped(cell: Cell, tmp_path: Path) -> None:
    hog = 'x = bytearray(300 << 20); print("escaped")'
    run = shell(f"python3 -c '{hog}'")

    sealed = attempt(
        cell.executor(), replace(run, memory=64 << 20), tmp_path / "sealed", image=cell.image
    )
    free = attempt(cell.executor(), run, tmp_path / "free", image=cell.image)

    assert "escaped" not in sealed
    assert "escaped" in free


def test_variables_of_an_action_do_not_act_on_the_sandbox_program(tmp_path: Path) -> None:
    # given variables that make every dynamic program write a file on start
    noted = tmp_path / "noted"
    noted.mkdir()
    run = replace(
        shell("true"), env=(("LD_DEBUG", ("libs",)), ("LD_DEBUG_OUTPUT", (f"{noted}/x",)))
    )

    attempt(Bubblewrap(str(tmp_path / "own")), run, tmp_path / "sealed")
    after_sealed = os.listdir(noted)
    attempt(Process(), run, tmp_path / "open")

    assert after_sealed == []
    assert os.listdir(noted) != []


def test_the_callers_values_are_on_no_command_line(tmp_path: Path) -> None:
    # given a job with a secret, which looks at every command line of this host
    jobs = Jobs(tmp_path)
    executor = Bubblewrap(str(tmp_path / "own"))
    gate = tmp_path / "gate"
    gate.mkdir()
    script = 'echo "$TOKEN" >/checkpoint/seen; while [ ! -e /checkpoint/go ]; do sleep 0.01; done'
    job = jobs.job(shell(script), caller_env={"TOKEN": "tell-nobody"}, checkpoint=str(gate))

    # when it runs
    thread = threading.Thread(target=lambda: executor.run(job))
    thread.start()
    while not (gate / "seen").exists():
        pass
    lines = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    (gate / "go").touch()
    thread.join()
    executor.close()

    # then the job knows the secret and nobody else can read it
    assert (gate / "seen").read_text(encoding="utf-8") == "tell-nobody\n"
    assert any(b"/checkpoint/seen" in line for line in lines)
    assert not any(b"tell-nobody" in line for line in lines)


def test_a_network_action_reaches_the_network_and_nothing_else(host: Host, tmp_path: Path) -> None:
    reach = shell(host.aim(connect("AF_INET", '("127.0.0.1", {port})')))
    read = shell(host.aim("cat {home}/secret && echo escaped"))

    reached = attempt(
        Bubblewrap(str(tmp_path / "own")), replace(reach, network=True), tmp_path / "reach"
    )
    was_read = attempt(
        Bubblewrap(str(tmp_path / "own")), replace(read, network=True), tmp_path / "read"
    )

    assert "escaped" in reached
    assert "escaped" not in was_read
