"""A host that lies: whatever it answers, nothing is kept of it, written elsewhere, or a crash."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import far
from tests.far import OddHost, led
from tests.harness import REPOSITORY, Build, Finished

AGENT = Path(__file__).parent / "hostile_agent.py"
ESCAPED = Path("/tmp/mlbuild-escaped")  # noqa: S108 - what a lie tries to make
LIES = re.findall(r'^    "(\w+)": \{', AGENT.read_text(), re.MULTILINE)
FITS = r"^FAILED //:{} genrule: .*{}"
SAID = {
    "key": "has the result of another action in its place",
    "up": "is no output",
    "root": "is no output",
    "through": "is no output",
    "tools": "which does not travel",
    "tree": "left outputs that have vanished",
    "climbs": "left outputs that have vanished",
    "words": r"\\x1b\]0;evil\\x07",
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OddHost]:
    yield from far.odd_host(tmp_path_factory.mktemp("hostile") / "host")


def lied_to(build: Build, odd: OddHost, *targets: str, shout: str = "") -> Finished:
    """Build targets on a host whose agent lies."""
    program = f"{sys.executable} -B {AGENT} {odd.folder} {shout}"
    odd.says(f"export PYTHONPATH={REPOSITORY}; exec {program}\n")
    led(build, odd.host, "retries = 0")
    for name in targets:
        build.genrule(name, f"echo {name}")
    return build.run("build", *build.flags, "-k", "-j1", "//...")


def is_clean(build: Build, done: Finished) -> bool:
    """Say whether a build failed for its host alone, and kept nothing."""
    assert done.code == 36, done.stderr
    assert "Traceback" not in done.stderr
    assert "bug in mlbuild" not in done.stderr
    assert not [path for path in build.cache.glob("ac/**/*") if path.is_file()]
    return not ESCAPED.is_symlink() and not ESCAPED.exists()


def test_no_lie_about_a_run_is_believed(build: Build, odd: OddHost) -> None:
    done = lied_to(build, odd, *LIES)

    assert is_clean(build, done)
    for name in LIES:
        fits = re.compile(FITS.format(name, SAID.get(name, "")), re.MULTILINE)
        assert fits.search(done.stderr), (name, done.stderr)
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("shout", ["garbage", "huge", "deep", "list", "shape"])
def test_what_is_no_answer_ends_the_connection(build: Build, odd: OddHost, shout: str) -> None:
    done = lied_to(build, odd, "one", shout=shout)

    assert is_clean(build, done)
    assert "is no answer of a runner" in done.stderr
