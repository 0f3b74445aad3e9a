"""Keys and encodings that must not change by accident, and laws that all of them obey.

Where a key changes on purpose, `manifest.VERSION` changes with it, and `python -m
tests.golden.test_keys` writes the golden file anew.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlbuild.core import manifest, tree
from mlbuild.core.action import Action, InputRef, Json, Output, OutputRef, Run, ToolRef, Write
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.manifest import Fact
from mlbuild.core.tree import Entry, Kind, Tree
from mlbuild.errors import InputError

GOLDEN = Path(__file__).with_name("keys.json")
PLATFORM = "linux-x86_64/debian-12/glibc-2.36"
NUMERICS = "x86-64-v3 + NVIDIA A100-SXM4-80GB, driver 550.54.14, CUDA 12.4"
PYTHON = "python 3.11.7 " + 64 * "a"
FILE = f"f:{64 * '1'}:12"
TREE = f"t:{64 * '2'}:345"


def action(does: Run | Write, *outputs: Output, inputs: tuple[str, ...] = ()) -> Action:
    made = outputs or (Output("out"),)
    return Action("//p:t", "//p:t", "process", does, inputs, made, folder="mlbuild-out/p/t")


def with_params(params: Mapping[str, Json]) -> Action:
    return action(Run(argv=(("train",),), params=params))


ACTIONS: dict[str, Action] = {
    "the least": action(Run(argv=(("true",),))),
    "words of all kinds": action(
        Run(
            argv=(
                (ToolRef("python@3.11"),),
                ("--in=", InputRef("p/a.csv"), ":", InputRef("p/tree")),
                ("--out", OutputRef("out")),
                ("costs $5", "$(input p/a.csv)"),
                ("",),
                (),
            ),
            tools=("python@3.11", "uv"),
        ),
        inputs=("p/a.csv", "p/tree"),
    ),
    "variables": action(
        Run(
            argv=(("env",),),
            env=(("Z", ("1",)), ("A", ("dir/", InputRef("p/a.csv"))), ("E", ())),
        ),
        inputs=("p/a.csv",),
    ),
    "params of all types": with_params(
        {"s": "text", "i": 3, "f": 0.1, "t": True, "u": False, "n": None, "e": ""}
    ),
    "floats": with_params(
        {
            "third": 1 / 3,
            "whole": 1.0,
            "minus_zero": -0.0,
            "tiny": 5e-324,
            "large": 1.7976931348623157e308,
            "endless": math.inf,
            "small": 1e-7,
            "big_integer": 2**70,
        }
    ),
    "nested params": with_params(
        {"z": {"y": [1, [2.0, {"x": None}], {}], "": []}, "a": {"b.c": 1, "b": {"c": 1}}}
    ),
    "params with strange names": with_params({"a.b": 1, "c[0]": 2, 'say "x\\"': 3, "d e": 4}),
    "settings": action(
        Run(
            argv=(("train",),),
            seed=0,
            cpus=4,
            memory=1 << 30,
            gpus="all",
            timeout=60.0,
            network=True,
            caller_env=("HTTP_*",),
            quiet_env=(("A", "b"),),
            checkpoint=True,
            gate=True,
        )
    ),
    "names and metrics": action(
        Run(
            argv=(("evaluate",),),
            names=(("table", "p/a.csv"), ("model", "p/tree")),
            metrics="m.json",
        ),
        Output("m.json"),
        Output("model", "tree", "model"),
        inputs=("p/a.csv", "p/tree"),
    ),
    "every bit": action(Run(argv=(("train",),), gpus="A100:1", determinism="bitwise")),
    "metrics within a tolerance": action(
        Run(argv=(("evaluate",),), determinism="metric", tolerance={"accuracy": 0.1})
    ),
    "names that are not ASCII": action(
        Run(argv=(("größe\n", "日本"),), params={"größe": "\udcff"}), Output("straße/ü")
    ),
    "a text": action(Write("hello\n"), Output("hello.txt")),
    "an empty text": action(Write(""), Output("hello.txt")),
    "an executable text": action(Write("#!/bin/sh\n", executable=True), Output("run.sh")),
}


def facts(one: Action, **changed: Any) -> manifest.Manifest:
    given = {
        "inputs": {"p/a.csv": FILE, "p/tree": TREE},
        "tools": {"python@3.11": PYTHON, "uv": "uv 0.8.3"},
        "platform": PLATFORM,
        "salt": "",
        "numerics": NUMERICS,
    }
    return manifest.facts(one, **(given | changed))


def key(one: Action, **changed: Any) -> str:
    return manifest.key_of(manifest.encode(facts(one, **changed)))


def golden() -> dict[str, Any]:
    """Return for each action its key and, for whoever looks for a difference, its facts."""
    shown = {
        name: {
            "key": key(one),
            # Escaped: JSON has no way to write bytes that are no text.
            "facts": [
                f"{fact.type} {ascii(fact.name)[1:-1]} = {ascii(fact.value)[1:-1]}"
                for fact in facts(one)
            ],
        }
        for name, one in ACTIONS.items()
    }
    return {"version": manifest.VERSION, "actions": shown}


def test_keys_are_those_of_the_golden_file() -> None:
    assert golden() == json.loads(GOLDEN.read_text())


def test_the_golden_file_has_facts_of_every_type() -> None:
    types = {fact.type for one in ACTIONS.values() for fact in facts(one)}

    assert types == set("sifbnd")


def test_no_two_actions_of_the_golden_file_have_one_key() -> None:
    assert len({key(one) for one in ACTIONS.values()}) == len(ACTIONS)


def test_an_encoded_manifest_is_what_the_format_says() -> None:
    encoded = manifest.encode(facts(ACTIONS["a text"]))

    assert encoded == (
        b"i8:manifest1:1\ns7:content6:hello\n\nb10:executable5:False\ns17:output[hello.txt]4:file\n"
    )


def test_an_encoded_tree_is_what_the_format_says() -> None:
    known = digest_of(b"x")
    one = tree.tree_of(
        [
            Entry("b/run", Kind.EXECUTABLE, known),
            Entry("a", Kind.FILE, known),
            Entry("b/to", Kind.SYMLINK, target="../a"),
            Entry("c", Kind.EMPTY),
        ]
    )

    raw = bytes.fromhex(known.hash) + b"\1" + bytes(7)
    assert tree.encode(one) == (
        b"mlbuild tree 1\n"
        + (b"f\1\0\0\0a" + raw)
        + (b"x\5\0\0\0b/run" + raw)
        + b"l\4\0\0\0b/to\4\0\0\0../a"
        + b"d\1\0\0\0c"
    )


@pytest.mark.parametrize(
    "unlike",
    [
        {"tools": {"python@3.11": PYTHON[:-1] + "b", "uv": "uv 0.8.3"}},
        {"tools": {"python@3.11": PYTHON, "uv": "uv 0.8.4"}},
        {"inputs": {"p/a.csv": FILE.replace("f:", "x:"), "p/tree": TREE}},
        {"inputs": {"p/a.csv": FILE, "p/tree": TREE[:-1] + "6"}},
        {"platform": PLATFORM.replace("12", "13")},
        {"salt": "x"},
    ],
)
def test_another_tool_or_input_or_platform_is_another_key(unlike: dict[str, Any]) -> None:
    one = ACTIONS["words of all kinds"]

    assert key(one, **unlike) != key(one)


@pytest.mark.parametrize(
    "alike",
    [
        {"memory": 1},
        {"gpus": ""},
        {"gpus": "A100-80GB:2, H100, 1"},
        {"disk": 50 << 30},
        {"spot": True},
        {"timeout": 0.0},
        {"caller_env": ()},
        {"quiet_env": ()},
        {"checkpoint": False},
        {"gate": False},
    ],
)
def test_what_cannot_matter_is_not_in_a_key(alike: dict[str, Any]) -> None:
    one = ACTIONS["settings"]
    assert isinstance(one.does, Run)

    assert key(replace(one, does=replace(one.does, **alike))) == key(one)


def test_the_order_of_variables_and_params_is_not_in_a_key() -> None:
    env = (("A", ("1",)), ("B", ("2",)))
    forth = Run(argv=(), env=env, params={"a": 1, "b": {"c": 2, "d": 3}})
    back = Run(argv=(), env=env[::-1], params={"b": {"d": 3, "c": 2}, "a": 1})

    assert key(action(forth)) == key(action(back))


def test_nan_is_refused_wherever_it_hides() -> None:
    for params in ({"a": math.nan}, {"a": [1, {"b": -math.nan}]}):
        with pytest.raises(InputError, match="NaN"):
            key(with_params(params))  # type: ignore[arg-type]


# laws

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy host too

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
steps = st.sampled_from(["a", "b", "keys", "length", "a.b", "a.keys", "a.length", "a[0]", ""])
any_texts = texts | st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
some_facts = st.builds(Fact, any_texts, st.sampled_from("sifbnd"), any_texts)
manifests = st.lists(some_facts, max_size=6).map(tuple)
params = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(steps | texts, inner, max_size=3),
    max_leaves=8,
)
few_params = st.dictionaries(  # so few that two of them soon would have the same facts
    steps,
    st.sampled_from([0, 1, [], {}, [1], {"b": 1}]),
    min_size=1,
    max_size=2,
)


@calm
@given(manifests)
def test_a_manifest_is_read_back_as_it_was(one: manifest.Manifest) -> None:
    assert manifest.decode(manifest.encode(one)) == one


@calm
@given(manifests, manifests)
def test_different_manifests_have_different_bytes(
    one: manifest.Manifest, other: manifest.Manifest
) -> None:
    assert (manifest.encode(one) == manifest.encode(other)) == (one == other)


@calm
@given(manifests.filter(bool), st.data())
def test_a_change_of_one_field_changes_the_key(one: manifest.Manifest, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(one) - 1))
    field = data.draw(st.sampled_from(["name", "type", "value"]))
    values = st.sampled_from("sifbnd") if field == "type" else any_texts
    was = getattr(one[at], field)
    changed = replace(one[at], **{field: data.draw(values.filter(lambda value: value != was))})

    other = (*one[:at], changed, *one[at + 1 :])

    assert manifest.key_of(manifest.encode(other)) != manifest.key_of(manifest.encode(one))


@calm
@given(st.binary(max_size=60) | manifests.map(manifest.encode).map(lambda raw: raw[:-1]))
def test_bytes_that_are_no_manifest_are_refused_or_mean_themselves(raw: bytes) -> None:
    try:
        found = manifest.decode(raw)
    except InputError:
        return
    assert manifest.decode(manifest.encode(found)) == found


def same(one: Json, other: Json) -> bool:
    """Say whether two values are equal in type as well, zeros of either sign being one."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        assert isinstance(other, list)
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return one == other


@calm
@given(params, params)
def test_params_have_one_key_only_when_they_are_the_same(one: Json, other: Json) -> None:
    assert same(one, other) == (key(with_params({"p": one})) == key(with_params({"p": other})))


@settings(calm, max_examples=30)
@given(st.lists(few_params, min_size=50, max_size=50))
def test_no_param_can_be_taken_for_another(several: list[dict[str, Json]]) -> None:
    known: dict[str, dict[str, Json]] = {}
    for one in several:
        assert same(known.setdefault(key(with_params(one)), one), one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": []}, {"a.length": 0}),
        ({"a": {}}, {"a.keys": 0}),
        ({"a": {"b": 1}}, {"a.keys": 1, "a.b": 1}),
        ({"a": [1]}, {"a.length": 1, "a[0]": 1}),
        ({'["a"]': 1}, {"a": 1}),
    ],
)
def test_params_that_look_alike_have_keys_of_their_own(
    one: dict[str, Json], other: dict[str, Json]
) -> None:
    assert key(with_params(one)) != key(with_params(other))


def test_words_and_names_that_look_alike_have_keys_of_their_own() -> None:
    both = {"inputs": {"a": FILE, "a) b": FILE, "b = a": FILE}}
    words = [((InputRef("a"), " b)"),), ((InputRef("a) b"),),), (("$(input a) b)",),)]
    named = [(("x", "b = a"),), (("x = b", "a"),)]

    runs = [Run(argv=one) for one in words] + [Run(argv=(), names=one) for one in named]

    inputs = tuple(both["inputs"])
    assert len({key(action(run, inputs=inputs), **both) for run in runs}) == len(runs)


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6
).filter(tree.safe_name)
paths = st.lists(names | st.sampled_from(["a", "b"]), min_size=1, max_size=4).map("/".join)
digests = st.builds(
    Digest, st.binary(min_size=32, max_size=32).map(bytes.hex), st.integers(0, 2**64 - 1)
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    path = draw(paths)
    kind = draw(st.sampled_from(Kind))
    if kind is Kind.EMPTY:
        return Entry(path, kind)
    if kind is Kind.SYMLINK:
        up = "../" * draw(st.integers(0, path.count("/")))
        return Entry(path, kind, target=up + draw(paths))
    return Entry(path, kind, draw(digests))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    kept: dict[str, Entry] = {}
    for entry in draw(st.lists(entries(), max_size=8)):
        below = any(one.startswith(entry.path + "/") for one in kept)
        parts = entry.path.split("/")
        above = any("/".join(parts[:n]) in kept for n in range(1, len(parts)))
        if not (below or above):
            kept[entry.path] = entry
    return tree.tree_of(kept.values())


@calm
@given(trees())
def test_a_tree_is_read_back_as_it_was(one: Tree) -> None:
    assert tree.decode(tree.encode(one)) == one


@calm
@given(trees().filter(lambda one: one.entries), st.data())
def test_a_change_of_one_entry_changes_the_digest(one: Tree, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(one.entries) - 1))
    other = data.draw(entries())
    changed = Tree((*one.entries[:at], other, *one.entries[at + 1 :]))

    alike = tree.digest_tree(changed) == tree.digest_tree(one)

    assert alike == (changed == one)


@calm
@given(trees(), st.data())
def test_a_tree_with_one_bit_flipped_is_refused_or_another_tree(
    one: Tree, data: st.DataObject
) -> None:
    raw = bytearray(tree.encode(one))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    try:
        found = tree.decode(bytes(raw))
    except InputError:
        return

    assert found != one
    assert tree.encode(found) == bytes(raw), "bytes that are read are canonical"


@calm
@given(trees(), st.data())
def test_a_tree_cut_short_is_refused_unless_between_entries(one: Tree, data: st.DataObject) -> None:
    raw = tree.encode(one)
    end = data.draw(st.integers(0, len(raw) - 1))

    try:
        found = tree.decode(raw[:end])
    except InputError:
        return

    assert found.entries == one.entries[: len(found.entries)]
    assert tree.encode(found) == raw[:end]


X = digest_of(b"x")


@pytest.mark.parametrize(
    "hostile",
    [
        [Entry("..", Kind.FILE, X)],
        [Entry("../a", Kind.FILE, X)],
        [Entry("a/../b", Kind.FILE, X)],
        [Entry("a/..", Kind.EMPTY)],
        [Entry(".", Kind.EMPTY)],
        [Entry("./a", Kind.FILE, X)],
        [Entry("", Kind.EMPTY)],
        [Entry("/etc/passwd", Kind.FILE, X)],
        [Entry("a//b", Kind.FILE, X)],
        [Entry("a/", Kind.EMPTY)],
        [Entry("a\0b", Kind.FILE, X)],
        [Entry("a" * 256, Kind.FILE, X)],
        [Entry("ü" * 128, Kind.FILE, X)],
        [Entry("/".join("a" * 257), Kind.FILE, X)],
        [Entry("a", Kind.FILE, X), Entry("a", Kind.FILE, X)],
        [Entry("b", Kind.FILE, X), Entry("a", Kind.FILE, X)],
        [Entry("\U00010000", Kind.FILE, X), Entry("\uff5a", Kind.FILE, X)],
        [Entry("a", Kind.FILE, X), Entry("a/b", Kind.FILE, X)],
        [Entry("a", Kind.FILE, X), Entry("a-", Kind.FILE, X), Entry("a/b/c", Kind.FILE, X)],
        [Entry("a", Kind.SYMLINK, target="b"), Entry("a/b", Kind.FILE, X)],
        [Entry("a", Kind.EMPTY), Entry("a/b", Kind.FILE, X)],
        [Entry("a", Kind.SYMLINK, target="..")],
        [Entry("a", Kind.SYMLINK, target="../b")],
        [Entry("a", Kind.SYMLINK, target="/etc/passwd")],
        [Entry("a", Kind.SYMLINK, target="")],
        [Entry("a", Kind.SYMLINK, target="b\0c")],
        [Entry("a/b", Kind.SYMLINK, target="../../c")],
        [Entry("a/b", Kind.SYMLINK, target="c/../../../d")],
    ],
)
def test_a_hostile_tree_is_refused(hostile: list[Entry]) -> None:
    with pytest.raises(InputError):
        tree.decode(tree.encode(Tree(tuple(hostile))))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1, ensure_ascii=False) + "\n")
