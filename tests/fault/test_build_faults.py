"""Builds that are killed, whose files are damaged, whose disk is full: the next command works."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlbuild.store import files
from mlbuild.store.private import boot_id
from tests.harness import Build

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

Delivered = dict[str, tuple[bytes, bool] | str | None]


def delivered(build: Build) -> Delivered:
    """Return all below mlbuild-out: bytes and executable bit, target of a link, None of a folder.

    The links that mlbuild makes for targets are followed; those in trees are outputs.
    """
    found: Delivered = {}
    top = build.root / "mlbuild-out"
    pending = [(name, top / name) for name in (os.listdir(top) if top.exists() else [])]
    while pending:
        name, path = pending.pop()
        if path.is_symlink() and "/trees/" not in os.readlink(path):
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = None
            pending += [(f"{name}/{below}", path / below) for below in os.listdir(path)]
        else:
            found[name] = path.read_bytes(), os.access(path, os.X_OK)
    return found


# kills

RULES = 12
PROCESS = """
import os, time
out = os.environ["MLBUILD_OUT"]
with open(out + "/big", "wb") as file:
    for number in range(256):
        file.write(bytes([number]) * 1024)
        if number % 64 == 0:
            time.sleep(0.01)
os.mkdir(out + "/tree")
with open(out + "/tree/copy", "wb") as file:
    file.write(open(os.environ["MLBUILD_OUT"] + "/big", "rb").read()[:1000])
"""


def chain(build: Build) -> Build:
    """Write twelve quick genrules, a few of them in a chain, and a process after all of them."""
    for number in range(RULES):
        source = "a.txt" if number % 4 == 0 else f":r{number - 1}"
        build.genrule(f"r{number}", f"tr {number % 10} a-z | cat -n", source)
    with (build.root / "BUILD.ml").open("a") as file:
        names = ", ".join(f'"r{number}": ":r{number}"' for number in range(RULES))
        file.write(
            f'process(name = "it", script = "it.py", outs = ["big"], out_trees = ["tree"], '
            f"data = {{{names}}})\n"
        )
    return build.file("it.py", PROCESS).file("a.txt", "0\n")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Delivered]:
    """Return what a clean build delivers, by the text of the source."""
    folder = tmp_path_factory.mktemp("clean")
    build = chain(Build(folder / "workspace", cache=folder / "cache"))
    found = {}
    for text in ("0\n", "1\n", "2\n"):
        build.file("a.txt", text)("//...")
        found[text] = delivered(build)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_at_any_moment_costs_no_more_than_the_time(
    build: Build, expected: dict[str, Delivered], seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    chain(build)
    for number in range(4):
        text = chance.choice(list(expected))
        build.file("a.txt", text)
        build.env["MLBUILD_SALT"] = f"{number}"  # everything is to be run again
        for _ in range(chance.choice([2, 3])):
            killed(build, after=chance.uniform(0.02, 0.4), group=chance.random() < 0.5)
            for path, found in delivered(build).items():
                if path.startswith(".mlbuild-"):  # half of a link, which the next command removes
                    continue
                assert found in [known.get(path, "absent") for known in expected.values()], path

        done = build.run("build", "--json", "//...")

        assert done.code == 0, done.stderr
        assert delivered(build) == expected[text]
        owners = {name.partition("-")[0] for name in os.listdir(build.cache / "tmp")}
        assert len(owners) <= 1, "only the last process, which has just ended, has left something"
        assert os.listdir(build.cache / "locks") == []
        assert os.listdir(build.cache / "quarantine") == []


def killed(build: Build, *, after: float, group: bool) -> None:
    """Start a build, kill it after so many seconds, wait until everything that it ran is dead."""
    process = build.start("build", "--json", "//...")
    time.sleep(after)
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
    for _ in range(500):
        if not (left := running(str(build.cache))):
            return
        time.sleep(0.02)
    raise AssertionError(f"still alive: {left}")


def running(mark: str) -> list[str]:
    """Return the command lines of processes that name `mark`, or see it as a mount."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode()
            mounts = Path("/proc", name, "mountinfo").read_text() if line else ""
        except OSError:
            continue
        if mark in line or mark in mounts:
            found.append(line)
    return found


def test_what_a_killed_process_left_beside_the_links_goes(build: Build) -> None:
    build.file("a.txt", "1").genrule("copy", "cat", "a.txt")("//...")
    out = build.root / "mlbuild-out"
    dead, alive = out / ".mlbuild-4194305-0", out / f".mlbuild-{os.getpid()}-0"
    dead.symlink_to("nowhere")
    alive.symlink_to("nowhere")

    build.file("a.txt", "2")("//...")

    assert sorted(os.listdir(out)) == [alive.name, "copy"]


# damage

IT = """
import os
out = os.environ["MLBUILD_OUT"]
large = bytes(range(256)) * 512
for name in ("big", "run"):
    with open(f"{out}/{name}", "wb") as file:
        file.write(large + name.encode())
os.chmod(out + "/run", 0o755)
os.makedirs(out + "/tree/empty")
with open(out + "/tree/leaf", "wb") as file:
    file.write(b"leaf")
os.symlink("leaf", out + "/tree/link")
"""
BUILD = """
genrule(name = "upper", srcs = ["a.txt"], outs = ["upper.txt"], cmd = "tr a-z A-Z < $< > $@")
process(
    name = "it",
    script = "it.py",
    outs = ["big", "run"],
    out_trees = ["tree"],
    data = {"upper": ":upper"},
)
genrule(
    name = "last",
    srcs = [":it", "b.txt"],
    outs = ["last.txt"],
    cmd = "find $(SRCS) -type f | sort | xargs cksum > $@; cat b.txt >> $@",
)
"""

# Where the files of each kind lie, below the cache or the workspace; all that match are damaged.
KINDS: dict[str, tuple[str, Callable[[Path], bool]]] = {
    "small blobs": ("cache/cas/*/*", lambda path: path.stat().st_size < 1 << 16),
    "large blobs": ("cache/cas/*/*", lambda path: path.stat().st_size >= 1 << 16),
    "large executable blobs": ("cache/cas-x/*/*", lambda path: path.suffix == ""),
    "stamps of large blobs": ("cache/cas*/*/*.stamp", lambda _: True),
    "small files of trees": ("cache/trees/*/*/*.txt", lambda _: True),
    "large files of trees": ("cache/trees/*/*/big", lambda _: True),
    "files of output trees": ("cache/trees/*/*/tree/leaf", lambda _: True),
    "stamps of trees": ("cache/trees/*/*.stamps", lambda _: True),
    "results": ("cache/ac/*/*", lambda _: True),
    "manifests": ("cache/manifests/*/*", lambda _: True),
    "the history": ("cache/history.sqlite", lambda _: True),
    "compiled BUILD files": ("cache/code/*", lambda _: True),
    "identities of tools": ("cache/tools/*", lambda _: True),
    "logs": ("cache/runs/*/logs/*", lambda _: True),
    "locks of keys": ("cache/locks/*", lambda _: True),
    "locks of dead processes": ("cache/tmp/*.lock", lambda _: True),
    "the stat index": ("workspace/.mlbuild/stat-index", lambda _: True),
    "plans": ("workspace/.mlbuild/plans/*", lambda _: True),
    "answers": ("workspace/.mlbuild/requests/*", lambda _: True),
    "the note for git": ("workspace/.mlbuild/.gitignore", lambda _: True),
}


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path, *, part: float = 0.5) -> None:
    """Flip one bit; the size and the inode stay."""
    content = bytearray(path.read_bytes())
    if content:
        content[int(part * len(content))] ^= 4
    with path.open("r+b") as file:
        file.write(content)


def emptied(path: Path) -> None:
    path.unlink()
    path.touch()


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "stray").touch()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncated,
    "a bit flipped": flipped,
    "deleted": Path.unlink,
    "emptied": emptied,
    "made a folder": made_a_folder,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Build, dict[str, Delivered]]:
    """Return a built workspace, and what clean builds deliver, by the text of one source."""
    folder = tmp_path_factory.mktemp("whole")
    expected = {}
    for text in ("1\n", "2\n"):
        build = Build(folder / text.strip() / "workspace", cache=folder / text.strip() / "cache")
        build.file("BUILD.ml", BUILD).file("it.py", IT).file("a.txt", "a\n").file("b.txt", text)
        build("//...")
        expected[text] = delivered(build)
    built = Build(folder / "1" / "workspace", cache=folder / "1" / "cache")
    (built.cache / "sandbox").rename(folder / "sandbox")  # many files, shared by all copies
    return built, expected


@pytest.fixture
def copied(whole: tuple[Build, dict[str, Delivered]], tmp_path: Path) -> Iterator[Build]:
    """Return a copy of the built workspace and its cache, nothing built in it yet."""
    cache = tmp_path / "cache"
    subprocess.run(["cp", "-a", whole[0].cache, cache], check=True)
    os.symlink(whole[0].cache.parent.parent / "sandbox", cache / "sandbox")
    yield whole[0].copy(tmp_path / "workspace", cache=cache)
    for folder, _, _ in os.walk(cache):
        os.chmod(folder, 0o700)


@pytest.fixture
def settled(copied: Build) -> Build:
    """Return such a copy with outputs, and with state of its own that answers are given from."""
    time.sleep(0.03)  # what was written just now is no ground for an answer to be kept
    copied("//...")
    return copied


def check_damage(build: Build, expected: dict[str, Delivered], kind: str, damage: str) -> None:
    """Damage all files of a kind and build; once more, with something to evaluate and to run."""
    dead = leave_as_if_killed(build)
    assert harm(build, kind, damage), f"there are no {kind}"

    first = build.run("build", "--json", "//...")
    assert first.code == 0, first.stderr
    assert delivered(build) == expected["1\n"]

    harm(build, kind, damage)
    build.file("b.txt", "2\n").edit("BUILD.ml", "process(", "# comment\nprocess(")
    second = build.run("build", "--json", "//...")
    assert second.code == 0, second.stderr
    assert delivered(build) == expected["2\n"]

    assert "Traceback" not in first.stderr + second.stderr
    assert not os.path.exists(dead)
    assert os.listdir(build.cache / "locks") == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0].startswith("cache")])
def test_any_file_of_the_store_may_be_damaged(
    copied: Build, whole: tuple[Build, dict[str, Delivered]], kind: str, damage: str
) -> None:
    check_damage(copied, whole[1], kind, damage)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0].startswith("work")])
def test_any_file_of_the_state_may_be_damaged(
    settled: Build, whole: tuple[Build, dict[str, Delivered]], kind: str, damage: str
) -> None:
    if kind != "answers":  # else nothing but the answer is read
        shutil.rmtree(settled.root / ".mlbuild" / "requests")

    check_damage(settled, whole[1], kind, damage)


def leave_as_if_killed(build: Build) -> str:
    """Leave what a killed process leaves: its folder, its lock, a key's lock."""
    dead = str(build.cache / "tmp" / f"4194305-{boot_id()}-0")
    os.makedirs(dead + "/1")
    Path(dead, "1", "half").write_text("half")
    Path(dead + ".lock").touch()
    Path(build.cache, "locks", "00").write_bytes(b"/nowhere/log\0")
    return dead


def harm(build: Build, kind: str, damage: str) -> int:
    """Damage all files of a kind; return how many there were."""
    pattern, chosen = KINDS[kind]
    paths = [path for path in build.root.parent.glob(pattern) if path.is_file() and chosen(path)]
    for path in paths:
        os.chmod(path.parent, 0o700)
        os.chmod(path, 0o600)
        DAMAGES[damage](path)
    return len(paths)


def test_no_flipped_bit_of_a_plan_is_believed(settled: Build) -> None:
    for part in (0.001, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 0.999):
        shutil.rmtree(settled.root / ".mlbuild" / "requests", ignore_errors=True)
        (plan,) = (settled.root / ".mlbuild" / "plans").iterdir()
        flipped(plan, part=part)

        done = settled("//...")

        assert done.ran == [], "the keys are what they were"


@pytest.mark.parametrize("damage", [one for one in DAMAGES if one != "a bit flipped"])
def test_the_version_of_the_store_may_be_damaged(copied: Build, damage: str) -> None:
    DAMAGES[damage](copied.cache / "version")
    copied.file("b.txt", "2\n")

    assert copied("//...").ran == ["//:last"]
    assert (copied.cache / "version").read_text().strip() == "1"


def test_deleted_outputs_come_back(
    settled: Build, whole: tuple[Build, dict[str, Delivered]]
) -> None:
    _, expected = whole
    out = settled.root / "mlbuild-out"
    for deleted in (out / "last", out / "it", out):
        shutil.rmtree(deleted) if deleted == out else deleted.unlink()

        assert settled("//...").ran == []

        assert delivered(settled) == expected["1\n"]


def test_an_output_link_that_shows_something_else_is_put_right(
    settled: Build, whole: tuple[Build, dict[str, Delivered]]
) -> None:
    _, expected = whole
    link, other = settled.root / "mlbuild-out" / "last", settled.root / "other"
    other.mkdir()
    (other / "last.txt").write_text("something else")
    for target in (
        other,
        settled.root / "nowhere",
        os.readlink(settled.root / "mlbuild-out/upper"),
    ):
        link.unlink()
        link.symlink_to(target)

        assert settled("//...").ran == []

        assert delivered(settled) == expected["1\n"]
    assert (other / "last.txt").read_text() == "something else"


@pytest.mark.parametrize("kind", ["a file", "a folder"])
def test_something_of_the_user_where_an_output_belongs_is_named_and_kept(
    settled: Build, whole: tuple[Build, dict[str, Delivered]], kind: str
) -> None:
    _, expected = whole
    place = settled.root / "mlbuild-out" / "last"
    place.unlink()
    mine = place if kind == "a file" else place / "notes.txt"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")

    refused = settled.run("//...")

    assert refused.code == 2
    assert "`" + str(mine) + "` is not of mlbuild" in refused.stderr
    assert mine.read_text() == "mine"
    mine.unlink()
    settled("//...")
    assert delivered(settled) == expected["1\n"]


@pytest.mark.parametrize("where", ["in the tree", "everywhere"])
@pytest.mark.parametrize("name", ["it/run", "it/big", "it/tree/leaf", "upper/upper.txt"])
def test_a_damaged_input_is_made_whole_before_it_is_used(
    settled: Build, whole: tuple[Build, dict[str, Delivered]], name: str, where: str
) -> None:
    _, expected = whole
    place = (settled.root / "mlbuild-out" / name).resolve()
    digest = files.hash_path(str(place))
    assert digest is not None
    blobs = settled.cache.glob(f"cas*/*/{digest.hash}") if where == "everywhere" else ()
    for path in (place, *blobs):
        os.chmod(path, 0o600)
        flipped(path)
    settled.file("b.txt", "2\n")

    done = settled("//...")

    assert "//:last" in done.ran
    assert delivered(settled) == expected["2\n"]


@pytest.mark.parametrize("damage", ["truncated", "deleted", "emptied", "made a folder"])
def test_the_etc_of_sandboxes_may_be_damaged(build: Build, damage: str) -> None:
    build.file("a.txt", "1").genrule("who", "cat; id -un; cat /etc/nsswitch.conf", "a.txt")
    build("//...")
    before = build.output("who/who.txt")
    for name in ("passwd", "nsswitch.conf"):
        (file,) = build.cache.glob(f"sandbox/etc-*/{name}")
        DAMAGES[damage](file)
        build.env["MLBUILD_SALT"] = name

        assert build("//...").ran == ["//:who"]

        assert build.output("who/who.txt") == before


# disks


@root_only
@pytest.mark.parametrize("left", [0, 4 << 10, 12 << 10, 40 << 10, 2 << 20])
def test_a_full_disk_is_named_and_then_the_same_command_works(
    small_disk: Path, tmp_path: Path, left: int
) -> None:
    build = Build(tmp_path / "workspace", cache=small_disk / "cache")
    build.file("a.txt", "1").genrule("small", "cat", "a.txt")("//...")
    build.file("BUILD.ml", 'genrule(name = "large", outs = ["o"], cmd = "seq 900000 > $@")')
    fill(small_disk / "ballast", left=left)

    full = build.run("//:large")

    assert full.code == 36, full.stderr
    assert f"no space is left for the store `{build.cache}` (0." in full.stderr
    assert " MiB free)" in full.stderr
    assert "Traceback" not in full.stderr
    (small_disk / "ballast").unlink()
    assert build("//:large").ran == ["//:large"]
    assert build.output("large/o").endswith("\n900000\n")


def fill(path: Path, *, left: int) -> None:
    """Write until the disk is full, then give back `left` bytes."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    os.truncate(path, path.stat().st_size - left)


@pytest.mark.parametrize("limit", [1000, 20_000, 100_000])
def test_a_limit_on_the_size_of_files_is_named_and_then_the_same_command_works(
    build: Build, limit: int
) -> None:
    build.file("a.txt", "1").genrule("large", "seq 90000; cat", "a.txt")
    build.edit("BUILD.ml", "cat $(SRCS) /dev/null | seq 90000; cat > $@", "seq 90000 > $@")

    limited = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *build.command("//...")],
        cwd=build.root,
        env=build.environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert limited.returncode in {1, 36}, limited.stderr  # 1: only the command itself met it
    assert "made a mistake" not in limited.stderr
    assert "larger than this host allows" in limited.stderr or limited.returncode == 1
    assert build("//...").ran == ["//:large"]
    assert build.output("large/large.txt").endswith("\n90000\n")


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""
