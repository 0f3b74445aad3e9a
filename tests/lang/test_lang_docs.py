"""The examples of docs/language.md do what the page says."""

import re
from pathlib import Path

import pytest

from mlbuild.cli.main import main
from mlbuild.lang import thread
from mlbuild.lang.builtins import UNIVERSAL
from mlbuild.lang.lexer import MAX_NESTING
from mlbuild.lang.methods import METHODS
from tests.harness import REPOSITORY, Build

PAGE = (REPOSITORY / "docs" / "language.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = {found[1]: block for block in BLOCKS if (found := re.match(r"# (\S+)\n", block))}
CHECKS = [block for block in BLOCKS if not re.match(r"# \S+\n", block)]


@pytest.mark.parametrize("block", CHECKS, ids=lambda block: block.splitlines()[0])
def test_an_example_gives_what_stands_beside_it(
    block: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.star").write_text("".join(map(checked, block.splitlines())))

    code = main(["starlark", "-C", str(tmp_path), "page.star"])

    assert capsys.readouterr().err == ""
    assert code == 0


def test_the_files_of_the_page_are_a_workspace(build: Build) -> None:
    for path, text in FILES.items():
        build.file(path, text)
    build.file("tools/BUILD.ml")

    done = build.run("--dry-run", "//...")

    assert done.code == 0, done.stderr
    assert "//:lenet-0" in done.stdout
    assert "//:lenet-1" in done.stdout


def checked(line: str) -> str:
    """Return a line of an example that fails where it does not give what stands beside it."""
    found = re.fullmatch(r"(\S.*?) +# (→|error:) (.*)", line)
    if not found:
        return f"{line}\n"
    code, kind, wanted = found.groups()
    if kind == "→":
        return f"assert_eq(repr(({code})), {wanted!r})\n"
    pattern = re.sub(r"([^\w\s])", r"\\\\\1", wanted)
    return f'assert_fails(lambda: {code}, "{pattern}")\n'


def test_the_page_names_every_function_method_and_limit() -> None:
    words = set(re.findall(r"`(\w+)`", PAGE))
    methods = {name for known in METHODS.values() for name in known}
    limits = [thread.STEPS, thread.MAX_SIZE, thread.MAX_ITEMS, thread.MAX_BITS, MAX_NESTING]

    assert set(UNIVERSAL) | methods <= words
    assert all(f"{limit:,}" in PAGE for limit in limits)
