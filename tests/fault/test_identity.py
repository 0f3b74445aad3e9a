"""The same sources have the same keys, whoever builds them, wherever, on whatever day."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Build
from tests.keys.subject import make

NOBODY = 65534

Keys = frozenset[str]


def keys(build: Build) -> Keys:
    """Build everything; return the keys of all actions, which are the names of manifests."""
    build("//...")
    return frozenset(path.name for path in build.cache.glob("manifests/*/*"))


def trees(build: Build) -> dict[str, str]:
    """Return the digest of the tree of each target, by name."""
    links = (path for path in (build.root / "mlbuild-out").rglob("*") if path.is_symlink())
    return {path.name: Path(os.readlink(path)).name for path in links}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder below which everybody can enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # noqa: S103 - the point of it
        yield Path(name)
        for folder, _, _ in os.walk(name):
            os.chmod(folder, 0o700)


def subject(folder: Path) -> Build:
    """Return the workspace of the suite of keys, below `folder`; nothing is built."""
    strange = folder / "work, and spaces"
    return make(strange / "workspace", cache=strange / "cache", wheels=folder / "wheels")


@pytest.fixture(scope="module")
def reference(place: Path) -> tuple[Keys, dict[str, str]]:
    """Return the keys and the trees of the sources, built in the usual way."""
    build = subject(place / "reference")
    found = keys(build)
    # an environment: probe, lock, install, its one wheel; `made`, `subject`, `other`
    assert len(found) == 7
    return found, trees(build)


def old(build: Build) -> None:
    for folder, names, files in os.walk(build.root, topdown=False):
        for name in (*names, *files):
            os.utime(os.path.join(folder, name), (1e9, 1e9), follow_symlinks=False)


def written_in_another_order(build: Build) -> None:
    """Give files and folders other inodes, in another order of creation, and closed modes."""
    aside = build.root.with_name("aside")
    build.root.rename(aside)
    for folder, names, files in os.walk(aside):
        to = build.root / os.path.relpath(folder, aside)
        to.mkdir(mode=0o700)
        names.sort(reverse=True)
        for name in sorted(files, reverse=True):
            shutil.copyfile(os.path.join(folder, name), to / name, follow_symlinks=False)


def another_host(build: Build) -> None:
    if os.geteuid() == 0:
        rename = 'hostname elsewhere && exec "$@"'
        build.prefix = ["unshare", "--uts", "sh", "-c", rename, "sh"]
    build.env["HOSTNAME"] = "elsewhere"


def another_session(build: Build) -> None:
    home = build.root.with_name("another home")
    home.mkdir()
    build.prefix = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    build.env |= {"HOME": str(home), "USER": "somebody", "LOGNAME": "somebody", "SHELL": "/bin/no"}
    build.env |= {"TZ": "Asia/Tokyo", "LANG": "C", "LC_ALL": "C", "TERM": "dumb", "PWD": "/"}
    build.env |= {"TMPDIR": str(home), "PYTHONHASHSEED": "1", "XDG_CONFIG_HOME": str(home)}


CHANGES: dict[str, Callable[[Build], None]] = {
    "at another path": lambda _: None,
    "with old times": old,
    "written in another order, with other modes": written_in_another_order,
    "on another host": another_host,
    "in another session": another_session,
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_sources_have_the_same_keys_and_trees(
    place: Path, reference: tuple[Keys, dict[str, str]], change: str
) -> None:
    build = subject(place / "".join(filter(str.isalpha, change)))
    CHANGES[change](build)

    assert (keys(build), trees(build)) == reference


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_user_has_the_same_keys_and_trees(
    place: Path, reference: tuple[Keys, dict[str, str]]
) -> None:
    build = subject(place / "another-user")
    build.prefix = as_nobody(place)
    build.env |= {"HOME": "/nonexistent", "USER": "nobody"}
    for folder, _, files in os.walk(place / "another-user"):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    tried = subprocess.run(
        [*build.prefix, sys.executable, "-c", "import mlbuild.cli.build"],
        cwd=build.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        pytest.skip(f"another user cannot run the interpreter: {tried.stderr[-200:]}")

    assert (keys(build), trees(build)) == reference
    assert {path.stat().st_uid for path in build.cache.glob("manifests/*/*")} == {NOBODY}


AS_NOBODY = """
prefix=$1 closed=$2 hold=$3; shift 3
if [ "$closed" ]; then  # only here: show of that folder what holds the interpreter
    mount --bind "$prefix" "$hold"
    mount -t tmpfs -o mode=755 none "$closed"
    mkdir -p "$prefix"
    mount --bind "$hold" "$prefix"
fi
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


def as_nobody(place: Path) -> list[str]:
    """Return the words before a command that another user, without privileges, is to run."""
    prefix = Path(sys.base_prefix).resolve()
    above = [path for path in reversed(prefix.parents) if path.stat().st_mode & 0o005 != 0o005]
    hold = place / "hold"
    hold.mkdir()
    closed = str(above[0]) if above else ""
    script = ["sh", "-ec", AS_NOBODY, "sh", str(prefix), closed, str(hold)]
    return ["unshare", "--mount", *script]


def test_an_environment_is_the_same_tree_wherever_it_was_made(
    place: Path, reference: tuple[Keys, dict[str, str]]
) -> None:
    build = subject(place / "environment" / "far" / "away")
    build("//:env")

    made = trees(build)["env"]

    assert made == reference[1]["env"]
    text = b"".join(
        path.read_bytes() for path in (build.root / "mlbuild-out/env").rglob("*") if path.is_file()
    )
    assert b"far/away" not in text
