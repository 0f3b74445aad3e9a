"""The history: what it keeps, how it survives, what it says of two manifests."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mlbuild.core.action import Action, InputRef, Json, Output, Run
from mlbuild.core.manifest import Fact, Manifest, facts
from mlbuild.history.commit import commit_of
from mlbuild.history.records import Record, Records
from mlbuild.history.why import differences, reason


def record(action: str = "//a:b", **fields: object) -> Record:
    given: dict[str, object] = {
        "invocation": "i1",
        "workspace": "/w",
        "label": action.partition("#")[0],
        "action": action,
        "mnemonic": "train",
        "key": "k1",
        "ran": True,
    }
    return Record(**given | fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "history.sqlite")


# Records


def test_what_was_kept_comes_back_newest_first(path: str) -> None:
    with Records(path) as records:
        records.append(
            [
                record(key="k1", metrics={"loss": 0.5}, seconds=1.5, commit="c0ffee", dirty=True),
                record(key="k2", name="digits", when="2026-11-21T10:56:00Z"),
                record("//a:c", key="k3"),
            ]
        )

    with Records(path) as records:
        newest, oldest = records.latest("/w", "//a:b", n=2)

    assert (newest.key, oldest.key) == ("k2", "k1")
    assert (newest.when, newest.name) == ("2026-11-21T10:56:00Z", "digits")
    assert (oldest.metrics, oldest.seconds) == ({"loss": 0.5}, 1.5)
    assert (oldest.commit, oldest.dirty) == ("c0ffee", True)
    assert oldest.when.endswith("Z")
    assert oldest.user
    assert oldest.host


def test_what_failed_is_no_earlier_result_and_what_was_cached_no_run(path: str) -> None:
    with Records(path) as records:
        records.append([record(key="ran"), record(key="hit", ran=False), record(failed=True)])

        known = [one.key for one in records.latest("/w", "//a:b", n=9)]
        ran = [one.key for one in records.latest("/w", "//a:b", n=9, ran_only=True)]

    assert known == ["hit", "ran"]
    assert ran == ["ran"]


def test_workspaces_do_not_see_each_others_runs(path: str) -> None:
    with Records(path) as records:
        records.append([record(workspace="/other")])

        assert records.latest("/w", "//a:b") == []


def test_the_newest_log_that_still_exists_is_found(path: str, tmp_path: Path) -> None:
    kept = tmp_path / "one.log"
    kept.write_text("")
    with Records(path) as records:
        records.append([record(log=str(kept), failed=True), record(log="/gone.log"), record()])

        assert records.last_log("/w", "//a:b") == str(kept)
        assert records.last_log("/w", "//a:z") is None


def test_names_that_are_no_text_are_kept(path: str) -> None:
    with Records(path) as records:
        records.append([record("//a:caf\udce9", workspace="/w\udcff")])

        (found,) = records.latest("/w\udcff", "//a:caf\udce9")

    assert (found.action, found.workspace) == ("//a:caf\udce9", "/w\udcff")


def test_a_database_that_nobody_asks_is_not_made(path: str) -> None:
    with Records(path):
        pass

    assert not Path(path).exists()


@pytest.mark.parametrize("damage", ["head", "middle", "truncated"])
def test_a_damaged_history_is_moved_aside_with_one_warning(path: str, damage: str) -> None:
    with Records(path) as records:
        records.append([record(f"//a:{n}", log="x" * 500) for n in range(500)])
    content = Path(path).read_bytes()
    Path(path).write_bytes(
        {
            "head": b"this is no database" + content[19:],
            "middle": content[:5000] + b"\xff" * (len(content) - 5000),
            "truncated": content[: len(content) // 3],
        }[damage]
    )

    said: list[str] = []
    with Records(path, warn=said.append) as records:
        for n in range(500):
            records.latest("/w", f"//a:{n}")
        records.append([record()])
        found = records.latest("/w", "//a:b")

    assert len(found) == 1
    assert len(said) == 1
    assert "was damaged" in said[0]
    assert len(list(Path(path).parent.glob("history.sqlite.damaged-*"))) >= 1


def test_a_history_that_cannot_be_opened_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []

    with Records(str(tmp_path / "no" / "folder" / "h.sqlite"), warn=said.append) as records:
        records.append([record()])
        found = records.latest("/w", "//a:b")

    assert found == []
    assert len(said) == 1


def test_the_history_of_a_newer_mlbuild_is_left_alone(path: str) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    before = Path(path).read_bytes()
    said: list[str] = []

    with Records(path, warn=said.append) as records:
        records.append([record()])

    assert "newer mlbuild" in said[0]
    assert len(said) == 1
    assert Path(path).read_bytes() == before


def test_many_processes_write_one_history(path: str) -> None:
    code = (
        "import sys; from mlbuild.history.records import *\n"
        "said = []\n"
        "for n in range(20):\n"
        "    with Records(sys.argv[1], warn=said.append) as records:\n"
        "        records.append([Record('i', '/w', '//a:b', '//a:b', 'm', 'k', True)] * 5)\n"
        "sys.exit(len(said))"
    )

    children = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(4)]
    codes = [child.wait() for child in children]

    with Records(path) as records:
        assert len(records.latest("/w", "//a:b", n=1000)) == 400
    assert codes == [0] * 4


# Commits


def git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b")
    run = subprocess.run(
        ["git", *names, "-C", str(folder), *words], capture_output=True, check=True
    )
    return run.stdout.decode().strip()


def test_a_checkout_is_named_by_its_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    before = commit_of(str(tmp_path), os.environ)
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "untracked").write_text("1")
    (tmp_path / "below").mkdir()

    clean = commit_of(str(tmp_path / "below"), os.environ)
    (tmp_path / "a").write_text("2")
    dirty = commit_of(str(tmp_path), os.environ)

    assert before is None
    assert clean is not None
    assert dirty is not None
    assert clean.hash == dirty.hash == git(tmp_path, "rev-parse", "HEAD")
    assert (clean.dirty, dirty.dirty) == (False, True)


def test_a_hook_of_another_checkout_does_not_say_which_commit_it_is(tmp_path: Path) -> None:
    for name in ("here", "there"):
        git(tmp_path, "init", "-q", name)
        (tmp_path / name / name).write_text("1")
        git(tmp_path / name, "add", ".")
        git(tmp_path / name, "commit", "-qm", name)
    there = tmp_path / "there" / ".git"
    hook = {"GIT_DIR": str(there), "GIT_INDEX_FILE": str(there / "index"), "GIT_PREFIX": ""}

    found = commit_of(str(tmp_path / "here"), {**os.environ, **hook})

    assert found is not None
    assert found.hash == git(tmp_path / "here", "rev-parse", "HEAD")
    assert not found.dirty


def test_a_folder_outside_git_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(str(tmp_path), os.environ) is None


# Differences


def manifest(
    *,
    params: dict[str, Json] | None = None,
    argv: tuple[str, ...] = ("python", "train.py"),
    env: dict[str, str] | None = None,
    inputs: dict[str, str] | None = None,
    names: tuple[tuple[str, str], ...] = (),
    outputs: tuple[str, ...] = ("model.npz",),
    cpus: int = 1,
    seed: int | None = None,
    python: str = "f:aa:1",
) -> Manifest:
    given = inputs or {}
    run = Run(
        argv=tuple((word,) for word in argv),
        env=tuple((name, (value,)) for name, value in (env or {}).items()),
        params=params or {},
        names=names,
        tools=("python@3.11",),
        seed=seed,
        cpus=cpus,
    )
    action = Action(
        "//m:l", "//m:l", "train", run, tuple(sorted(given)), tuple(map(Output, outputs))
    )
    return facts(action, inputs=given, tools={"python@3.11": python}, platform="linux")


def said(old: Manifest, new: Manifest) -> list[str]:
    return [str(one) for one in differences(old, new)]


def test_equal_manifests_differ_in_nothing() -> None:
    assert differences(manifest(seed=1), manifest(seed=1)) == []
    assert reason([]) == ""


def test_differences_are_worded_for_people_and_come_in_order() -> None:
    old = manifest(
        params={"lr": 0.05, "epochs": 3},
        inputs={
            "models/train.py": "f:aa:10",
            "mlbuild-out/data/mnist/x": "t:bb:9",
            "old.py": "f:cc:1",
        },
        argv=("python", "train.py", "--fast"),
        cpus=1,
    )
    new = manifest(
        params={"lr": 0.1, "epochs": 3},
        inputs={
            "models/train.py": "f:ab:10",
            "mlbuild-out/data/mnist/x": "t:bc:9",
            "new.py": "f:cc:1",
        },
        env={"X": "1"},
        argv=("python", "train.py", "--slow"),
        cpus=2,
        python="f:ab:1",
    )

    assert said(old, new) == [
        "params.lr  0.05 → 0.1",
        "input models/train.py  changed",
        "input new.py  added",
        "input old.py  removed",
        "input mlbuild-out/data/mnist/x  changed",
        'env[X]  added ("1")',
        "tool python@3.11  changed",
        'argv[2]  "--fast" → "--slow"',
        "cpus  1 → 2",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (1, 1.0, ["params.x  1 → 1.0"]),
        (1, "1", ['params.x  1 → "1"']),
        (True, 1, ["params.x  True → 1"]),
        ([1, 2], [1, 2, 3], ["params.x[2]  added (3)"]),
        ({"a": 1}, {"b": 1}, ["params.x.a  removed (was 1)", "params.x.b  added (1)"]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["params.x.a.b  1 → 2"]),
        ([], {}, ["params.x.keys  added (0)", "params.x.length  removed (was 0)"]),
        ([1] * 12, [2] + [1] * 9 + [2, 1], ["params.x[0]  1 → 2", "params.x[10]  1 → 2"]),
    ],
)
def test_parameters_are_compared_leaf_by_leaf(old: Json, new: Json, expected: list[str]) -> None:
    assert said(manifest(params={"x": old}), manifest(params={"x": new})) == expected


def test_a_word_put_into_a_command_does_not_shift_the_others() -> None:
    old, new = manifest(argv=("a", "b", "c", "d")), manifest(argv=("a", "--x", "b", "c", "e"))

    assert said(old, new) == ['argv[1]  added ("--x")', 'argv[4]  "d" → "e"']
    assert said(new, old) == ['argv[1]  removed (was "--x")', 'argv[3]  "e" → "d"']


def test_of_long_texts_only_the_surroundings_of_a_change_are_shown() -> None:
    script = "echo start; " * 30
    old, new = (
        manifest(argv=("sh", "-c", script + "one")),
        manifest(argv=("sh", "-c", script + "two")),
    )

    (line,) = said(old, new)

    assert line == 'argv[2]  …echo start; one" → …echo start; two"'


def test_named_inputs_are_compared_by_name() -> None:
    old = manifest(names=(("test", "b"), ("train", "c")))
    new = manifest(names=(("extra", "a"), ("test", "b"), ("train", "d")))

    assert said(old, new) == [
        "input named extra  added (extra = a)",
        "input named train  train = c → train = d",
    ]


def test_an_executable_bit_and_an_output_are_told() -> None:
    old, new = manifest(inputs={"a": "f:aa:1"}), manifest(inputs={"a": "x:aa:1"}, outputs=("m",))

    assert said(old, new) == [
        "input a  is executable now",
        "output m  added (file)",
        "output model.npz  removed (was file)",
    ]


def test_references_in_commands_are_shown_as_they_are_written() -> None:
    run = Run(argv=((InputRef("a.py"),),))
    action = Action("//m:l", "//m:l", "run", run)
    old = facts(action, inputs={}, tools={}, platform="linux")

    found = said(old, tuple(Fact(f.name, f.type, f.value.replace("a.py", "b.py")) for f in old))

    assert found == ['argv[0]  "$(input a.py)" → "$(input b.py)"']


def test_a_reason_is_the_first_difference_and_how_many_more() -> None:
    old, new = manifest(params={"lr": 0.05}), manifest(params={"lr": 0.1}, cpus=2, seed=0)

    assert reason(differences(old, new)) == "params.lr 0.05 → 0.1 and 2 more"
