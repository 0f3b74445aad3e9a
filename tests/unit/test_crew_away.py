"""The crew of a build whose commands run on other machines: one process, many tasks at once."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Event

import pytest

from mlbuild.core.action import Action, Run
from mlbuild.core.event import Failure
from mlbuild.core.result import Result
from mlbuild.core.tree import Tree, digest_tree
from mlbuild.crew import Crew
from mlbuild.tasks import Answer, Asking, Done, Ended, Failed, Started, Task

COUNT = 4
PATIENCE = 30.0  # seconds for what must happen

Act = Callable[[str, Callable[[Answer], None], Callable[[str], None]], None]


@dataclass
class Waiter:
    """What a crew needs of a Worker; `act` is all that a task does."""

    act: Act
    is_away: bool = True
    wanted: Event = field(default_factory=Event)  # that all ends
    cleared: list[int] = field(default_factory=list)

    def move_in(self) -> None: ...

    def move_out(self) -> None: ...

    def cancel(self) -> None:
        self.wanted.set()

    def clear_up(self, pid: int) -> None:
        self.cleared.append(pid)

    def work(
        self, task: Task, *, tell: Callable[[Answer], None], ask: Callable[[str], None]
    ) -> Answer:
        id_ = task.action.id
        try:
            self.act(id_, tell, ask)
        except Exception as error:  # noqa: BLE001 - told like everything
            return Failed(id_, "", Failure(str(error), "interrupted"))
        log = str(os.getpid())
        return Done(id_, "", Result((), digest_tree(Tree(()))), ran=True, log=log)


def task(id_: str) -> Task:
    return Task(action(id_), "", b"", {}, {}, forced=False)


def action(id_: str) -> Action:
    return Action(id_, id_, "genrule", Run(argv=(("true",),)), (), ())


IDS = [f"//:n{number}" for number in range(COUNT)]


@pytest.fixture
def hire() -> Iterator[Callable[[Waiter], Crew]]:
    """Return a crew that has been given all tasks."""
    made: list[Crew] = []

    def crew(worker: Waiter) -> Crew:
        found = Crew(worker, {id_: action(id_) for id_ in IDS}, most=COUNT)  # type: ignore[arg-type]
        made.append(found)
        for id_ in IDS:
            assert found.has_room()
            found.assign(task(id_))
        return found

    yield crew
    for one in made:
        one.dismiss()
        one.join()


def heard(crew: Crew, kind: type[Answer], count: int = COUNT) -> list[Answer]:
    """Return so many answers of a kind, in the order of their actions."""
    found: list[Answer] = []
    end = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < end
        found += [one for one in crew.answers(wait=True) if isinstance(one, kind)]
    return sorted(found, key=lambda one: one.id)


def nap(worker: list[Waiter]) -> Act:
    """Return a task that says that it begins, and lasts until the worker is cancelled."""

    def act(id_: str, tell: Callable[[Answer], None], _: Callable[[str], None]) -> None:
        tell(Started(id_, "", ""))
        assert worker[0].wanted.wait(PATIENCE)

    return act


def test_one_process_has_all_tasks_at_once(hire: Callable[[Waiter], Crew]) -> None:
    together = Barrier(COUNT)

    crew = hire(Waiter(lambda *_: bool(together.wait(PATIENCE))))  # nobody passes it alone
    assert not crew.has_room()
    done = heard(crew, Done)

    assert [one.id for one in done] == IDS
    (pid,) = {one.log for one in done if isinstance(one, Done)}
    assert pid != str(os.getpid())
    assert crew.has_room()


def test_a_grant_reaches_the_task_that_asked(hire: Callable[[Waiter], Crew]) -> None:
    def act(id_: str, tell: Callable[[Answer], None], ask: Callable[[str], None]) -> None:
        ask(id_)
        tell(Ended(id_))

    crew = hire(Waiter(act))
    heard(crew, Asking)

    crew.grant(IDS[2], go=True)
    (first,) = heard(crew, Ended, 1)
    heard(crew, Done, 1)
    for id_ in (IDS[0], IDS[1], IDS[3]):
        crew.grant(id_, go=False)
    refused = heard(crew, Failed, 3)

    assert first.id == IDS[2]
    assert [one.id for one in refused] == [IDS[0], IDS[1], IDS[3]]


def test_cancelling_reaches_all_tasks(hire: Callable[[Waiter], Crew]) -> None:
    worker: list[Waiter] = []
    worker.append(Waiter(nap(worker)))
    crew = hire(worker[0])
    heard(crew, Started)

    crew.cancel()

    assert [one.id for one in heard(crew, Done)] == IDS


def test_the_death_of_the_process_fails_all_its_tasks(hire: Callable[[Waiter], Crew]) -> None:
    def act(id_: str, *_: object) -> None:
        if id_ == IDS[-1]:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(PATIENCE)

    worker = Waiter(act)
    crew = hire(worker)
    failed = heard(crew, Failed)

    assert [one.id for one in failed] == IDS
    assert all("killed by signal 9" in one.failure.reason for one in failed)  # type: ignore[union-attr]
    assert len(worker.cleared) == 1
    assert crew.has_room()


def test_what_is_abandoned_is_not_cancelled(hire: Callable[[Waiter], Crew], tmp_path: Path) -> None:
    worker: list[Waiter] = []

    class Marking(Waiter):
        def cancel(self) -> None:
            (tmp_path / "cancelled").touch()
            super().cancel()

    worker.append(Marking(nap(worker)))
    crew = hire(worker[0])
    heard(crew, Started)

    assert crew.abandon()

    assert not (tmp_path / "cancelled").exists()
    assert len(worker[0].cleared) == 1
    assert crew.has_room()


def test_who_knows_old_sources_ends_what_it_has_and_gets_nothing_new(
    hire: Callable[[Waiter], Crew],
) -> None:
    def act(id_: str, _: object, ask: Callable[[str], None]) -> None:
        ask(id_)

    crew = hire(Waiter(act))
    heard(crew, Asking)

    crew.renew()
    for id_ in IDS[:2]:
        crew.grant(id_, go=True)
    before = heard(crew, Done, 2)
    crew.assign(task(IDS[0]))
    heard(crew, Asking, 1)
    for id_ in (IDS[0], IDS[2], IDS[3]):
        crew.grant(id_, go=True)
    after = {one.id: one.log for one in heard(crew, Done, 3) if isinstance(one, Done)}

    (old,) = {one.log for one in before if isinstance(one, Done)}
    assert {after[IDS[2]], after[IDS[3]]} == {old}
    assert after[IDS[0]] != old
