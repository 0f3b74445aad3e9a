"""An agent that is a process of its own, as behind ssh, and who asks it from many threads."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlbuild.errors import HostError, InputError, Interrupted
from mlbuild.exec.base import Execution
from mlbuild.remote.bell import Bell
from mlbuild.remote.control import PIECE, Control
from mlbuild.remote.elsewhere import Elsewhere, Way
from mlbuild.remote.follow import Follower
from mlbuild.remote.link.link import FarBucket, Link
from mlbuild.remote.machine.site import site_of
from mlbuild.remote.outage import Cut, Outage
from mlbuild.remote.state import Fault, State, decode
from mlbuild.remote.terms import Terms
from tests.contract.jobs import Jobs, shell

PATIENCE = 30.0  # seconds for what must happen
_PROGRAM = (
    "import os, sys\n"
    "from mlbuild.remote.machine.agent import main\n"
    "out = os.dup(1)\n"
    "os.dup2(2, 1)\n"
    "main(sys.argv[1], out)\n"
)


class Recording(Link):
    """A link that remembers what was asked through it."""

    asked: list[str]

    def ask(
        self, question: str, words: Mapping[str, Any], *, content: bytes = b""
    ) -> tuple[Mapping[str, Any], bytes]:
        self.asked.append(question)
        return super().ask(question, words, content=content)

    def tell(self, question: str, words: Mapping[str, Any]) -> None:
        self.asked.append(question)
        super().tell(question, words)


class Agents:
    """Starts agents of one site, and keeps what they were asked."""

    def __init__(self, root: Path) -> None:
        self.site = site_of(str(root), os.environ)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.asked: list[str] = []

    def connect(self) -> Link:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, self.site.root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        orders, answers = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()

        def why() -> HostError:
            return Cut(f"the agent ended with {process.wait()}")

        link = Recording(orders, answers, where="there", why=why, end=lambda: bool(process.wait()))
        link.asked = self.asked
        return link


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    made = Agents(tmp_path / "far")
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


@pytest.fixture
def link(agents: Agents) -> Iterator[Link]:
    made = agents.connect()
    yield made
    made.close()


@pytest.fixture
def there(agents: Agents, tmp_path: Path) -> Iterator[Elsewhere]:
    way = Way("far", "there", Terms(slots=4, inside="process"), 0, memo=str(tmp_path / "memo"))
    made = Elsewhere(way, agents.connect)
    yield made
    made.close()


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    (tmp_path / "jobs").mkdir()
    return Jobs(tmp_path / "jobs")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def waiting(link: Link, **known: Any) -> Callable[[], tuple[Mapping[str, Any], bytes]]:
    """Return a question for news of the run `x`."""
    words = {"id": "x", "attempt": "a", "beat": 1, "waits": "", "pieces": 0, "within": PATIENCE}
    return lambda: link.ask("await", {**words, **known})


def until_asked(agents: Agents, question: str) -> None:
    """Wait until a question was sent."""
    end = time.monotonic() + PATIENCE
    while question not in agents.asked:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_trivial_job_takes_few_questions(there: Elsewhere, agents: Agents, jobs: Jobs) -> None:
    done = there.run(jobs.job(shell('echo made > "$MLBUILD_OUT/out.txt"')))
    done.taken()

    assert Path(done.out, "out.txt").read_text() == "made\n"
    assert agents.asked[0] == "begin"
    assert set(agents.asked) == {"begin", "await", "read", "take"}
    assert len(agents.asked) <= 6
    assert len(agents.processes) == 1


def test_an_outcome_is_there_until_it_is_kept(there: Elsewhere, jobs: Jobs, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    job = replace(jobs.job(shell(f"echo >> {ran}")), key="k" * 64)
    there.run(job)  # and whoever asked for it was killed before the result was kept

    found = there.run(job)
    times = len(ran.read_text())
    found.taken()
    there.run(job)

    assert (found.exit_code, times) == (0, 1)
    assert len(ran.read_text()) == 2


def test_a_refusal_is_told_once(there: Elsewhere, agents: Agents, jobs: Jobs) -> None:
    job = replace(jobs.job(shell("true")), key="k" * 64)
    there.run(job)
    control = Control(agents.site.bucket())
    (id_,) = control.ids()
    control.clear(id_)
    control.tell(id_, State("failed", "a", fault=Fault("input", "it cannot be read")))

    with pytest.raises(InputError, match="it cannot be read"):
        there.run(job)
    done = there.run(job)

    assert done.exit_code == 0


def test_jobs_of_many_threads_share_one_connection(
    there: Elsewhere, agents: Agents, jobs: Jobs, threads: ThreadPoolExecutor
) -> None:
    made: list[Future[Execution]] = []
    for number in range(6):
        script = f'echo {number}; echo {number} > "$MLBUILD_OUT/out.txt"'
        made.append(threads.submit(there.run, jobs.job(shell(script))))

    said = [Path(one.result(PATIENCE).out, "out.txt").read_text() for one in made]

    assert said == [f"{number}\n" for number in range(6)]
    assert len(agents.processes) == 1


def test_what_is_large_has_a_connection_of_its_own(
    there: Elsewhere, agents: Agents, jobs: Jobs
) -> None:
    content = os.urandom(1 << 20)

    done = there.run(jobs.job(shell('cp in.bin "$MLBUILD_OUT/"'), jobs.file("in.bin", content)))

    assert Path(done.out, "in.bin").read_bytes() == content
    assert len(agents.processes) == 2


def test_a_question_that_waits_for_news_holds_up_no_other(
    link: Link, agents: Agents, threads: ThreadPoolExecutor
) -> None:
    control = Control(FarBucket(link))
    control.tell("x", State("running", "a", beat=1))
    right = agents.site.take("x")  # as its runner holds it
    assert right is not None
    news = threads.submit(waiting(link))
    until_asked(agents, "await")

    facts = link.ask("facts", {})[0]["facts"]
    was_waiting = not news.done()
    control.tell("x", State("running", "a", beat=2))
    found, content = news.result(PATIENCE)

    assert facts["host"] == agents.site.host
    assert was_waiting
    state = decode(content[: found["sizes"][0]])
    assert state is not None
    assert (state.beat, found["gone"]) == (2, False)
    os.close(right)


def test_a_question_about_a_dead_runner_is_answered(link: Link) -> None:
    Control(FarBucket(link)).tell("x", State("running", "a", beat=1))

    found, _ = waiting(link)()

    assert found["gone"]


def test_a_long_log_comes_in_several_answers_without_gap_or_repeat(
    link: Link, agents: Agents, tmp_path: Path
) -> None:
    control, bell = Control(FarBucket(link)), Bell()
    pieces = [bytes([65 + number]) * PIECE for number in range(6)]
    for number, piece in enumerate(pieces):
        control.add_log("x", number, piece)
    control.tell("x", State("ended", "a", chunks=6, ended={"exit_code": 0}))

    follower = Follower("x", log=str(tmp_path / "log"), bell=bell)
    last = follower.attend(
        lambda known: link.ask("await", {"id": "x", **known}),
        hear=lambda _: None,
        cancel=lambda: None,
    )

    assert last.phase == "ended"
    assert agents.asked.count("await") > 1
    assert (tmp_path / "log").read_bytes() == b"".join(pieces)
    bell.close()


def test_a_run_that_went_without_a_word_is_an_outage(link: Link, tmp_path: Path) -> None:
    bell = Bell()
    Control(FarBucket(link)).tell("x", State("running", "a", beat=1, host="gpu1", pid=7))

    follower = Follower("x", log=str(tmp_path / "log"), bell=bell)
    with pytest.raises(Outage, match=r"`gpu1` \(process 7\) was killed or lost"):
        follower.attend(
            lambda known: link.ask("await", {"id": "x", **known}),
            hear=lambda _: None,
            cancel=lambda: None,
        )
    bell.close()


def test_a_lost_connection_wakes_all_who_wait(
    link: Link, agents: Agents, threads: ThreadPoolExecutor
) -> None:
    Control(FarBucket(link)).tell("x", State("running", "a", beat=1))
    right = agents.site.take("x")
    assert right is not None
    waiters = [threads.submit(waiting(link)) for _ in range(3)]
    until_asked(agents, "await")

    os.kill(agents.processes[0].pid, signal.SIGKILL)

    for waiter in waiters:
        with pytest.raises(Cut):
            waiter.result(PATIENCE)
    with pytest.raises(Cut):
        link.ask("facts", {})
    os.close(right)


def test_a_machine_that_stops_is_given_up(
    link: Link, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    link.ask("facts", {})
    monkeypatch.setattr("mlbuild.remote.link.link._SILENCE", 0.2)
    agents.processes[0].send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Cut, match="does not answer any more"):
            FarBucket(link).write("x", bytes(1 << 20))  # more than a pipe takes
        with pytest.raises(Cut, match="does not answer any more"):
            link.ask("facts", {})
        assert link.is_over
    finally:
        agents.processes[0].send_signal(signal.SIGCONT)


def test_who_hears_nothing_for_long_gives_up(
    link: Link, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    link.ask("facts", {})
    monkeypatch.setattr("mlbuild.remote.link.link._SILENCE", 0.2)
    agents.processes[0].send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Cut, match="does not answer any more"):
            link.ask("facts", {})
    finally:
        agents.processes[0].send_signal(signal.SIGCONT)


def _at_the_door() -> int:
    """Return how many threads wait for a connection that another one makes."""
    frames = sys._current_frames().values()  # noqa: SLF001 - what threads do is told nowhere else
    return sum(1 for one in frames if one.f_code.co_name == "_live" and "since" in one.f_locals)


def test_of_many_threads_one_finds_out_that_a_machine_is_gone(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    tried, go = [], threading.Event()

    def connect() -> Link:
        tried.append(threading.get_ident())
        assert go.wait(PATIENCE)
        raise HostError("it is gone")

    there = Elsewhere(Way("far", "there", Terms(), 0, memo=str(tmp_path / "memo")), connect)
    waiters = [threads.submit(there.facts) for _ in range(4)]
    end = time.monotonic() + PATIENCE
    while _at_the_door() < len(waiters) - 1:
        assert time.monotonic() < end
        time.sleep(0.01)
    go.set()

    for waiter in waiters:
        with pytest.raises(HostError, match="it is gone"):
            waiter.result(PATIENCE)
    assert len(tried) == 1
    with pytest.raises(HostError, match="it is gone"):
        there.facts()
    assert len(tried) == 2  # who comes later tries again
    there.close()


def test_who_gives_up_does_not_wait_for_a_machine_that_never_answers(
    jobs: Jobs, tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlbuild.remote.elsewhere.STUBBORN", 0.1)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as mute:
        assert mute.stdin is not None
        orders, (answers, mouth) = os.dup(mute.stdin.fileno()), os.pipe()
        mute.stdin.close()
        asked = threading.Event()

        def connect() -> Link:
            asked.set()
            return Link(orders, answers, where="there", why=lambda: Cut("gone"), end=end)

        def end() -> None:
            os.close(mouth)

        way = Way("far", "there", Terms(), 0, memo=str(tmp_path / "memo"))
        there = Elsewhere(way, connect)
        run = threads.submit(there.run, jobs.job(shell("true")))
        assert asked.wait(PATIENCE)

        there.cancel()
        with pytest.raises((Interrupted, Cut)):
            run.result(PATIENCE)
        there.close()


def test_a_cancelled_job_ends_at_once(
    there: Elsewhere, agents: Agents, jobs: Jobs, threads: ThreadPoolExecutor
) -> None:
    job = jobs.job(shell("echo begun; sleep 600"))
    run = threads.submit(there.run, job)
    end = time.monotonic() + PATIENCE
    while not (os.path.exists(job.log) and Path(job.log).read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)

    there.cancel()
    done = run.result(PATIENCE)

    assert done.interrupted
    assert "cancel" in agents.asked
