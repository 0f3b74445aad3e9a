"""Each line of a list has a key of its own, and trees are united by links."""

from pathlib import Path

from mlbuild import parts
from mlbuild.core import manifest
from mlbuild.core.action import Action, InputRef, Output, OutputRef, Run
from mlbuild.core.tree import Entry, Kind, moved, tree_of
from mlbuild.store.disk import DiskStore, open_store


def action(name: str) -> Action:
    folder = f"mlbuild-out/{name}"
    run = Run(
        ((InputRef(f"{folder}/list.txt"),), (InputRef("tool.py"),), (OutputRef("all"),)),
        each=f"{folder}/list.txt",
    )
    inputs = (f"{folder}/list.txt", "tool.py")
    return Action(
        f"//:{name}", f"//:{name}", "it", run, inputs, (Output("all", "tree"),), (), folder
    )


def part(name: str, line: str, *, tool: str = "1") -> parts.Part:
    one = action(name)
    assert isinstance(one.does, Run)
    alone = parts.alone(one, one.does)
    path = parts.own(one.does.each, one.folder)
    inputs = {path: "f:0:0", "tool.py": tool}
    return parts.part_of(
        manifest.facts(alone, inputs=inputs, tools={}, platform="here"), path, line
    )


def test_a_line_has_one_key_whatever_the_target_and_the_rest_of_the_list() -> None:
    assert part("first", "numpy").key == part("second", "numpy").key
    assert part("first", "numpy").key != part("first", "scipy").key
    assert part("first", "numpy").key != part("first", "numpy", tool="2").key
    assert "first" not in part("first", "numpy").manifest.decode()


def test_a_union_keeps_the_later_of_two_and_no_folder_that_has_become_full(tmp_path: Path) -> None:
    with open_store(str(tmp_path)) as store:
        old, new = store.put(b"old"), store.put(b"new")

    found = parts.union(
        [
            [Entry("a", Kind.FILE, old), Entry("b", Kind.EMPTY)],
            [Entry("a", Kind.FILE, new), Entry("b/c", Kind.FILE, new)],
        ]
    )

    assert found == [Entry("a", Kind.FILE, new), Entry("b/c", Kind.FILE, new)]


def tree(store: DiskStore, **files: bytes) -> list[Entry]:
    return [Entry(f"all/{name}", Kind.FILE, store.put(text)) for name, text in files.items()]


def test_united_trees_share_small_files_and_heal_from_blobs(tmp_path: Path) -> None:
    with open_store(str(tmp_path)) as store:
        made = [store.materialise(tree_of(tree(store, **{name: b"x"}))) for name in ("a", "b")]
        trees = {one: listing for one in made if one and (listing := store.tree(one))}

        whole = store.unite(tree_of(parts.union(one.entries for one in trees.values())), trees)

        assert whole is not None
        place = Path(store.place(whole) or "")
        origin = Path(store.place(made[0]) or "")  # type: ignore[arg-type]
        assert (place / "all/a").stat().st_ino == (origin / "all/a").stat().st_ino
        (origin / "all/a").chmod(0o644)
        (origin / "all/a").write_bytes(b"spoilt")
        healed = Path(store.place(whole) or "")
        assert (healed / "all/a").read_bytes() == b"x"
        assert Path(store.place(made[0], "all/a") or "").read_bytes() == b"x"  # type: ignore[arg-type]


def test_a_folder_of_nothing_is_there_all_the_same() -> None:
    assert moved([], "all").entries == (Entry("all", Kind.EMPTY),)
