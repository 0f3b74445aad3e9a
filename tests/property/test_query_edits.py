"""After random edits, a query that remembers gives what one gives that reads everything."""

import os
import shutil
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlbuild.errors import InputError
from tests.asked import Asked

Edit = tuple[str, str]  # a path, and its text; "" for what goes away
_NUMBERS = count()
PACKAGES = ["BUILD.ml", "a/BUILD.ml", "a/b/BUILD.ml", "c/BUILD.ml"]
FILES = ["f.txt", "a/f.txt", "a/b/f.txt", "c/d/f.txt", "c/mlbuild.toml", "c/d/BUILD.ml"]
LOADED = ["def named(n): filegroup(name = n)\n", 'def named(n): filegroup(name = n + "2")\n', "("]
TEXTS = [
    "\n",
    'filegroup(name = "t", srcs = ["f.txt"])\n',
    'filegroup(name = "t", srcs = glob(["**/*.txt"], allow_empty = True))\n',
    'filegroup(name = "t", srcs = ["//a:t", "//c:d/f.txt"])\n',
    'genrule(name = "t", outs = ["f.txt"], cmd = "true")\n',
    'load("//:defs.bzl", "named")\nnamed("t")\n',
    'filegroup(name = "u", srcs = ["b/f.txt", "//c:d"])\n',
    "filegroup(\n",
]
QUERIES = ["//...", "deps(//...)", "//...:*", "deps(//a:all)", "rbuildfiles(defs.bzl)"]

edits = st.one_of(
    st.tuples(st.sampled_from(PACKAGES), st.sampled_from(["", *TEXTS])),
    st.tuples(st.sampled_from(FILES), st.sampled_from(["", "x\n"])),
    st.tuples(st.just("defs.bzl"), st.sampled_from(LOADED)),
)


def apply(root: Path, edit: Edit) -> None:
    path, text = edit
    if text:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    elif (root / path).exists():
        (root / path).unlink()
        if path != "defs.bzl" and not any((root / path).parent.iterdir()) and "/" in path:
            (root / path).parent.rmdir()


def said(ask: Asked, query: str) -> list[str] | str:
    """Return what a query finds, or what is wrong and where."""
    try:
        return ask(query)
    except InputError as error:
        return f"{error.message} at {error.span}"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    first=st.lists(edits, max_size=6),
    later=st.lists(st.tuples(edits, st.sampled_from(QUERIES)), min_size=1, max_size=6),
)
def test_what_is_remembered_is_what_would_be_read(
    first: list[Edit], later: list[tuple[Edit, str]], tmp_path: Path
) -> None:
    root = tmp_path / str(next(_NUMBERS)) / "w"
    ask = Asked(root).file("defs.bzl", LOADED[0])
    for edit in first:
        apply(root, edit)

    for edit, query in later:
        ask.settle()  # what is younger is not kept
        said(ask, query)
        apply(root, edit)

        remembered = said(ask, query)

        state = root / ".mlbuild"
        os.rename(state, root / "aside")
        fresh = said(ask, query)
        shutil.rmtree(state, ignore_errors=True)
        os.rename(root / "aside", state)
        assert remembered == fresh
