"""A real Slurm for tests: munged, slurmctld and slurmd on this host, on loopback alone."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.unit.test_gpus import fake_driver

STARTS_WITHIN = 60  # seconds
GPUS = 2
_PLACES = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")


class Cluster:
    """One node that is this host: 8 CPUs, 2 GPUs of the type `fake`.

    Its partitions are `main`, `short`, which ends jobs after a minute, and `low`, whose jobs make
    way for others. Several may run at once: each has ports, a key of munge and numbers of jobs of
    its own.
    """

    def __init__(self, folder: Path) -> None:
        """Keep everything in `folder`, whose path must be short enough for sockets."""
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.bin = folder / "bin"  # an `nvidia-smi` that finds nothing; goes first in PATH
        self.node = os.uname().nodename.partition(".")[0]
        self._processes: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("state", "spool", "log"):
            (folder / name).mkdir()
        for number in range(GPUS):
            os.mknod(folder / f"gpu{number}", 0o020666, os.makedev(1, 3))
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        self.bin.mkdir()
        fake_driver(self.bin, "")
        with ExitStack() as free:
            held = [free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            self._ports = [one.getsockname()[1] for one in held]
        self.conf.write_text(self._settings(), encoding="utf-8")
        (folder / "gres.conf").write_text(
            f"NodeName={self.node} Name=gpu Type=fake File={folder}/gpu[0-{GPUS - 1}]\n"
        )
        (folder / "cgroup.conf").write_text(
            "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nCgroupAutomount=no\n"
            "ConstrainRAMSpace=yes\nConstrainCores=no\nConstrainDevices=no\n"
        )

    @property
    def environ(self) -> dict[str, str]:
        """The variables that make Slurm's commands speak with this cluster."""
        path = f"{self.bin}:{os.environ['PATH']}"
        return {"SLURM_CONF": str(self.conf), "PATH": path}

    def start(self) -> None:
        """Start it and wait until its node takes jobs."""
        folder = self.folder
        munge = ["munged", "--force", "--foreground", f"--socket={folder}/munge.socket"]
        munge += [f"--key-file={folder}/munge.key", f"--seed-file={folder}/munge.seed"]
        munge += [f"--pid-file={folder}/munge.pid", f"--log-file={folder}/log/munge"]
        self._run(munge)
        self._until((folder / "munge.socket").exists, "munged")
        self._run(["slurmctld", "-D"])
        self._run(["slurmd", "-D", "-N", self.node])
        self._until(lambda: self.said("sinfo", "-h", "-p", "main", "-o", "%T") == "idle", "slurmd")

    def stop(self) -> None:
        """End it with all its jobs."""
        with suppress(subprocess.SubprocessError):
            self.said("scancel", "--user=root", check=False)
            end = time.monotonic() + 10
            while self.said("squeue", "-h", "-o", "%i", check=False) and time.monotonic() < end:
                time.sleep(0.1)
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []

    def said(self, *words: str, check: bool = True) -> str:
        """Return what one of Slurm's commands prints."""
        done = subprocess.run(
            words,
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    def down(self) -> None:
        """Have the node fail, with all that runs on it."""
        self.said("scontrol", "update", f"nodename={self.node}", "state=down", "reason=test")

    def up(self) -> None:
        """Have the node take jobs again."""
        self.said("scontrol", "update", f"nodename={self.node}", "state=resume", check=False)

    def _run(self, words: list[str]) -> None:
        program = shutil.which(words[0], path=_PLACES)
        assert program is not None
        setpriv = shutil.which("setpriv", path=_PLACES)
        tied = [setpriv, "--pdeathsig", "KILL"] if setpriv else []  # to whoever runs the tests
        with (self.folder / "log" / f"{words[0]}.out").open("wb") as said:
            self._processes.append(
                subprocess.Popen(
                    [*tied, program, *words[1:]],
                    env={**os.environ, **self.environ},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            )

    def _until(self, condition: object, what: str) -> None:
        end = time.monotonic() + STARTS_WITHIN
        while True:
            with suppress(RuntimeError):
                if condition():  # type: ignore[operator]
                    return
            if time.monotonic() > end or any(it.poll() is not None for it in self._processes):
                logs = sorted((self.folder / "log").iterdir())
                told = "\n".join(f"{one}: {one.read_text()[-1500:]}" for one in logs)
                raise RuntimeError(f"{what} does not start\n{told}")
            time.sleep(0.05)

    def _settings(self) -> str:
        folder, node, (control, daemon) = self.folder, self.node, self._ports
        some = "DefMemPerCPU=500 State=UP"
        return f"""\
ClusterName=test{control}
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={control}
SlurmdPort={daemon}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd
ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
FirstJobId={(control % 30000) * 1000 + 1}
MaxJobId=67000000
MinJobAge=600
KillWait=3
InactiveLimit=0
SlurmctldTimeout=300
SlurmdTimeout=300
NodeName={node} NodeAddr=127.0.0.1 CPUs=8 RealMemory=8000 Gres=gpu:fake:{GPUS} State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE {some} PriorityTier=9
PartitionName=short Nodes={node} MaxTime=1 {some} PriorityTier=9
PartitionName=low Nodes={node} MaxTime=INFINITE {some} PriorityTier=1
"""


def why_none() -> str:
    """Say why no cluster can be started here, "" when one can."""
    if os.geteuid() != 0:
        return "a Slurm of our own needs root"
    lacking = [name for name in _PROGRAMS if shutil.which(name, path=_PLACES) is None]
    if lacking:
        return f"no {lacking[0]} is installed (apt-get install slurmctld slurmd slurm-client munge)"
    return ""


def cluster(folder: Path) -> Iterator[Cluster]:
    """Yield a cluster; skip where there can be none."""
    if why_not := why_none():
        pytest.skip(why_not)
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
