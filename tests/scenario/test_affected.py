"""Affected targets: what differs between two revisions of a real repository, and why."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mlbuild import config as configs
from mlbuild.config import Config
from mlbuild.errors import HostError, InputError
from mlbuild.git.affected import Affected, Changes, affected, changes
from mlbuild.git.definition import definitions_of
from mlbuild.reading import Reading
from mlbuild.sources import Sources
from mlbuild.stamps import StatIndex
from mlbuild.workspace import Workspace
from tests.harness import Build
from tests.repositories import Grown, Repository

COMMITS = int(os.environ.get("AFFECTED_COMMITS", "25"))  # `make test-affected` takes 200
SEED = int(os.environ.get("AFFECTED_SEED", "20240229"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def config_of(root: Path, cache: Path) -> Config:
    environ = {"HOME": "/nowhere", "PATH": os.environ["PATH"], "MLBUILD_CACHE_DIR": str(cache)}
    return configs.load(str(root), environ=environ, flags={})


def definitions(root: Path, cache: Path, state: Path) -> dict[str, str]:
    """Return the definition of each target of a clean clone, with what lies on its disk."""
    config = config_of(root, cache)
    workspace = Workspace(str(root))
    plan = Reading(workspace, config, say=print).plan(("//...",), "").plan
    sources = Sources(
        StatIndex.open(str(root), state=str(state / "own")),
        StatIndex.open(workspace.rules_root(), state=str(state / "rules")),
        tell=lambda *_: None,
    ).contents(plan.sources)
    salt = config.salt
    return definitions_of(plan, content=lambda path: str(sources[path]), salt=salt).targets


def test_affected_targets_are_those_whose_definitions_differ_in_clean_clones(
    tmp_path: Path, cache: Path
) -> None:
    grown = Grown(tmp_path / "grown", seed=SEED)
    config = config_of(grown.root, cache)
    workspace = Workspace(str(grown.root))
    known: dict[str, dict[str, str]] = {}

    def defined(commit: str) -> dict[str, str]:
        if commit not in known:
            clone = grown.clone(tmp_path / commit, commit=commit)
            known[commit] = definitions(clone, cache, tmp_path)
        return known[commit]

    for number in range(COMMITS):
        head = grown.grow()
        base = grown.commits[-2] if number % 4 else grown.random.choice(grown.commits)
        before, after = defined(base), defined(head)

        found = changes(workspace, config, base=base, head=head)

        expected = {label for label, one in after.items() if before.get(label) != one}
        assert {one.label for one in found.affected} == expected, grown.git("show", "--stat")
        assert set(found.deleted) == set(before) - set(after)
        assert all(one.reasons for one in found.affected)


class Followed(Repository):
    """A small workspace; `affected` compares its commits."""

    cache: Path

    def affected(
        self, *patterns: str, base: str = "HEAD~1", head: str = "HEAD", root: str = ""
    ) -> dict[str, Affected]:
        return {
            one.label: one
            for one in self.changes(*patterns, base=base, head=head, root=root).affected
        }

    def changes(
        self, *patterns: str, base: str = "HEAD~1", head: str = "HEAD", root: str = ""
    ) -> Changes:
        self.said: list[str] = []
        place = self.root / root if root else self.root
        return changes(
            Workspace(str(place)),
            config_of(place, self.cache),
            base=base,
            head=head,
            patterns=patterns or ("//...",),
            say=self.said.append,
        )

    def why(self, label: str, **given: str) -> list[tuple[str, str]]:
        return [(one.kind, one.path) for one in self.affected(**given)[label].reasons]


BUILD = """load("//tools:defs.bzl", "twice")

python_environment(name = "env", lock = "requirements.lock")

train(
    name = "model",
    script = "train.py",
    environment = ":env",
    data = {"numbers": "//data:numbers"},
    params = {"lr": 0.5},
    outs = ["model.bin"],
)

twice("doubled", "notes.txt")

genrule(
    name = "picked",
    srcs = select({"//data:on_gpu": ["gpu.txt"], "//conditions:default": ["cpu.txt"]}),
    outs = ["picked.txt"],
    cmd = "cp $< $@",
)
"""
DATA = """dataset(name = "numbers", srcs = glob(["*.csv"]))

config_setting(name = "on_gpu", values = {"device": "gpu"})

dataset(name = "pictures", srcs = ["png"])
"""
TOOLS = """def twice(name, src):
    genrule(name = name, srcs = [src], outs = [name + ".txt"], cmd = "cat $< $< > $@")
"""


@pytest.fixture
def repository(tmp_path: Path, cache: Path) -> Followed:
    made = Followed(tmp_path / "work")
    made.cache = cache
    write_workspace(made, "")
    made.commit("the first")
    return made


def write_workspace(made: Repository, prefix: str) -> None:
    toml = '[workspace]\nname = "w"\n[config.gpu]\ndevice = "gpu"\n'
    made.file(f"{prefix}mlbuild.toml", toml).file(f"{prefix}BUILD.ml", BUILD)
    made.file(f"{prefix}data/BUILD.ml", DATA).file(f"{prefix}tools/defs.bzl", TOOLS)
    made.file(f"{prefix}tools/BUILD.ml").file(f"{prefix}data/one.csv", "1\n")
    made.file(f"{prefix}data/png/a.png", "a").file(f"{prefix}data/png/b.png", "b")
    for name in ("train.py", "notes.txt", "gpu.txt", "cpu.txt", "requirements.lock", "README.md"):
        made.file(f"{prefix}{name}", f"# {name}\n")


def test_an_edited_script_affects_its_target_alone(repository: Followed) -> None:
    repository.file("train.py", "# other\n").commit()

    found = repository.affected()

    assert list(found) == ["//:model"]
    assert found["//:model"].direct
    assert repository.why("//:model") == [("file", "train.py")]


def test_a_docs_only_commit_affects_nothing(repository: Followed) -> None:
    repository.file("README.md", "more\n").commit()

    found = repository.changes()

    assert found.affected == found.deleted == ()


def test_an_edit_of_data_affects_the_dataset_and_through_it_the_model(repository: Followed) -> None:
    repository.file("data/one.csv", "2\n").commit()

    found = repository.affected()

    assert list(found) == ["//data:numbers", "//:model"]  # dependencies first
    assert not found["//:model"].direct
    assert found["//:model"].through == ("//data:numbers",)
    assert repository.why("//:model") == [("file", "data/one.csv")]


@pytest.mark.parametrize(
    ("path", "old", "new", "label", "reason"),
    [
        ("BUILD.ml", '"lr": 0.5', '"lr": 0.1', "//:model", ("BUILD.ml", "BUILD.ml")),
        ("tools/defs.bzl", "cat $< $<", "cat $<", "//:doubled", ("load", "tools/defs.bzl")),
        ("requirements.lock", "#", "##", "//:env", ("lock", "requirements.lock")),
        (
            "mlbuild.toml",
            "[conf",
            '[build]\nconfig = "gpu"\n[conf',
            "//:picked",
            ("config", "mlbuild.toml"),
        ),
        (
            "mlbuild.toml",
            "[conf",
            '[build]\nsalt = "x"\n[conf',
            "//:picked",
            ("config", "mlbuild.toml"),
        ),
        ("data/png/b.png", "b", "c", "//data:pictures", ("file", "data/png/b.png")),
    ],
)
def test_each_kind_of_edit_is_named(
    repository: Followed, path: str, old: str, new: str, label: str, reason: tuple[str, str]
) -> None:
    repository.edit(path, old, new).commit()

    found = repository.why(label)

    assert found == [reason]


def test_an_image_that_is_named_anew_is_named_as_one(repository: Followed) -> None:
    image = 'container_environment(name = "image", image = "python@sha256:{}")\n'
    repository.file("images/BUILD.ml", image.format("0" * 64)).commit()
    repository.file("images/BUILD.ml", image.format("1" * 64)).commit()

    found = repository.why("//images:image")

    assert found == [("image", "images/BUILD.ml")]


def test_a_remark_in_a_build_file_affects_nothing(repository: Followed) -> None:
    text = (repository.root / "BUILD.ml").read_text()
    repository.file("BUILD.ml", f"# a remark\n{text}").commit()

    found = repository.affected()

    assert found == {}


def test_a_new_file_that_a_glob_matches_is_the_reason(repository: Followed) -> None:
    repository.file("data/two.csv", "2\n").commit()

    found = repository.why("//data:numbers")

    assert found == [("file", "data/two.csv")]


def test_many_edits_below_a_folder_are_told_as_the_folder(repository: Followed) -> None:
    repository.file("data/png/a.png", "2").file("data/png/b.png", "2").commit()

    found = repository.why("//data:pictures")

    assert found == [("file", "data/png")]


def test_new_targets_are_affected_and_deleted_ones_are_told_apart(repository: Followed) -> None:
    repository.edit("BUILD.ml", 'twice("doubled"', 'twice("tripled"').commit()

    found = repository.changes()

    assert [(one.label, one.new) for one in found.affected] == [("//:tripled", True)]
    assert found.deleted == ("//:doubled",)


def test_patterns_choose_what_is_told(repository: Followed) -> None:
    repository.file("data/one.csv", "2\n").commit()

    found = repository.affected("//:model")

    assert list(found) == ["//:model"]
    assert found["//:model"].reasons


def test_a_package_that_patterns_do_not_need_may_be_broken(repository: Followed) -> None:
    repository.file("broken/BUILD.ml", "genrule(").file("train.py", "# other\n").commit()

    found = repository.affected("//:model")

    assert list(found) == ["//:model"]


def test_a_broken_base_makes_every_target_new(repository: Followed) -> None:
    repository.file("data/BUILD.ml", "genrule(").commit()
    repository.file("data/BUILD.ml", DATA).commit()

    found = repository.changes()

    assert len(found.affected) == 7
    assert all(one.new for one in found.affected)
    assert "`HEAD~1` cannot be read" in repository.said[0]
    assert "data/BUILD.ml:1:" in repository.said[0]


def test_a_broken_head_is_an_error_with_revision_and_place(repository: Followed) -> None:
    commit = repository.file("data/BUILD.ml", "genrule(").commit()
    repository.file("data/BUILD.ml", DATA)

    with pytest.raises(InputError) as caught:
        repository.changes()

    assert caught.value.span is not None
    assert str(caught.value.span).startswith(f"{commit[:12]}:data/BUILD.ml:1:")
    assert caught.value.notes == (f"in revision `HEAD`, commit {commit[:12]}",)
    assert caught.value.source == "genrule("


def test_three_dots_are_the_merge_base(repository: Followed) -> None:
    repository.git("checkout", "-q", "-b", "topic")
    repository.file("train.py", "# other\n").commit()
    repository.git("checkout", "-q", "main")
    repository.file("data/one.csv", "2\n").commit()

    found = repository.affected(base="main...topic", head="topic")

    assert list(found) == ["//:model"]
    assert set(repository.affected(base="main", head="topic")) == {"//data:numbers", "//:model"}


def test_an_id_of_zeros_is_a_base_without_targets(repository: Followed) -> None:
    found = repository.affected(base="0" * 40)

    assert len(found) == 7
    assert repository.said == []


def test_the_work_tree_counts_with_what_is_not_committed(repository: Followed) -> None:
    repository.file("train.py", "# edited\n").file("data/new.csv", "new, and not added\n")
    before = repository.git("status", "--porcelain"), repository.git("count-objects")

    found = repository.affected(base="HEAD", head="WORKTREE")

    assert set(found) == {"//:model", "//data:numbers"}
    assert (repository.git("status", "--porcelain"), repository.git("count-objects")) == before


def test_a_workspace_may_lie_in_a_subfolder(tmp_path: Path, cache: Path) -> None:
    repository = Followed(tmp_path / "mono repo")
    repository.cache = cache
    write_workspace(repository, "teams/vision/")
    repository.file("BUILD.ml", "not ours").commit()
    repository.file("teams/vision/train.py", "# other\n").file("BUILD.ml", "nor this").commit()

    found = repository.why("//:model", root="teams/vision")

    assert found == [("file", "train.py")]


def test_no_data_and_no_checkout_are_needed(repository: Followed, tmp_path: Path) -> None:
    repository.file("data/one.csv", os.urandom(100_000)).commit()
    repository.file("data/one.csv", os.urandom(100_000)).commit()
    repository.git("config", "uploadpack.allowFilter", "true")
    words = ("--filter=blob:none", "--no-checkout", "--no-local")
    clone = repository.clone(tmp_path / "partial", *words, url=True)
    (clone / "mlbuild.toml").write_text("[workspace]\n")
    data = repository.git("rev-parse", "HEAD:data/one.csv")

    found = changes(Workspace(str(clone)), config_of(clone, repository.cache), base="HEAD~1")

    assert [one.label for one in found.affected] == ["//data:numbers", "//:model"]
    assert data not in objects_of(clone)


def objects_of(clone: Path) -> str:
    """Return the ids of the objects that are in a clone, without fetching any."""
    words = ("cat-file", "--batch-check", "--batch-all-objects")
    return subprocess.run(
        ["git", *words], cwd=clone, capture_output=True, text=True, check=True
    ).stdout


def test_pointers_of_large_files_stand_for_their_bytes(repository: Followed) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12\n"
    repository.file("data/one.csv", pointer.format("1" * 64)).commit()
    repository.file("data/one.csv", pointer.format("2" * 64)).commit()

    found = repository.why("//data:numbers")

    assert found == [("file", "data/one.csv")]


def test_data_outside_of_git_counts_by_the_digest_that_is_stated(repository: Followed) -> None:
    stated = 'dataset(name = "big", srcs = ["big.bin"], digest = "blake3:{}")\n'
    using = 'genrule(name = "use", srcs = [":big"], outs = ["o"], cmd = "cp $< $@")\n'
    repository.file(".gitignore", "*.bin\n").file("out/BUILD.ml", stated.format("1" * 64) + using)
    repository.commit()
    repository.file("out/BUILD.ml", stated.format("2" * 64) + using).commit()

    found = repository.affected()

    assert list(found) == ["//out:big", "//out:use"]
    assert [found[label].direct for label in found] == [True, False]


def test_data_outside_of_git_that_nobody_states_is_told(repository: Followed) -> None:
    repository.file(".gitignore", "*.bin\n").file("out/big.bin", "1")
    repository.file("out/BUILD.ml", 'dataset(name = "big", srcs = ["big.bin"])\n').commit()
    repository.file("train.py", "# other\n").commit()

    found = repository.affected()

    assert list(found) == ["//:model"]
    assert len(repository.said) == 1
    assert repository.said[0].startswith("`out/big.bin` is not in git: whether it changes cannot")


def test_odd_names_of_files_are_read_and_told(repository: Followed) -> None:
    names = (b"data/png/line\nend.png", b"data/png/\xff\xfe.png", b'data/png/"q"\t.png')
    for name in names:
        repository.file(os.fsdecode(name), "1")
    repository.commit()
    repository.file(os.fsdecode(names[1]), "2").commit()

    found = repository.why("//data:pictures")

    assert found == [("file", os.fsdecode(names[1]))]


def test_a_link_counts_by_what_it_leads_to(repository: Followed) -> None:
    (repository.root / "train.py").unlink()
    (repository.root / "train.py").symlink_to("data/../scripts/train.py")
    repository.file("scripts/train.py", "# 1\n").commit()
    repository.file("scripts/train.py", "# 2\n").commit()

    found = repository.why("//:model")

    assert found == [("file", "scripts/train.py")]


def test_an_executable_bit_counts(repository: Followed) -> None:
    (repository.root / "train.py").chmod(0o755)
    repository.commit()

    found = repository.why("//:model")

    assert found == [("file", "train.py")]


def test_a_submodule_counts_by_its_files_where_it_is_here_and_else_by_its_commit(
    repository: Followed, tmp_path: Path
) -> None:
    library = Repository(tmp_path / "library")
    library.file("used.py", "1").file("other.py", "1").commit()
    protocol = ("-c", "protocol.file.allow=always")
    repository.git(*protocol, "submodule", "add", "-q", str(library.root), "library")
    text = 'genrule(name = "uses", srcs = ["library/used.py"], outs = ["o"], cmd = "cp $< $@")\n'
    repository.file("BUILD.ml", BUILD + text).commit()
    library.file("other.py", "2").commit()
    repository.git(*protocol, "submodule", "update", "-q", "--remote")
    repository.commit()
    clone = repository.clone(tmp_path / "clone")

    here = repository.affected()
    without = changes(Workspace(str(clone)), config_of(clone, repository.cache), base="HEAD~1")

    assert here == {}
    assert [one.label for one in without.affected] == ["//:uses"]
    assert [why.path for why in without.affected[0].reasons] == ["library"]


def test_a_shallow_clone_is_told_how_to_reach_the_merge_base(
    repository: Followed, tmp_path: Path
) -> None:
    repository.git("checkout", "-q", "-b", "topic")
    repository.file("train.py", "# other\n").commit()
    repository.git("checkout", "-q", "main")
    repository.file("data/one.csv", "2\n").commit()
    words = ("--depth=1", "--no-single-branch", "--no-local")
    clone = repository.clone(tmp_path / "shallow", *words, url=True)

    with pytest.raises(InputError) as merge_base:
        changes(
            Workspace(str(clone)), config_of(clone, repository.cache), base="origin/topic...HEAD"
        )
    with pytest.raises(InputError) as parent:
        changes(Workspace(str(clone)), config_of(clone, repository.cache), base="HEAD~1")

    assert "shallow clone ends before" in merge_base.value.message
    assert any("git fetch --unshallow" in hint for hint in merge_base.value.hints)
    assert any("fetch-depth: 0" in hint for hint in parent.value.hints)


def test_variables_that_git_sets_for_hooks_do_not_lead_astray(
    repository: Followed, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other")
    repository.file("train.py", "# other\n").commit()
    config = config_of(repository.root, repository.cache)
    hook = {
        "GIT_DIR": str(other.root / ".git"),
        "GIT_INDEX_FILE": str(other.root / ".git" / "index"),
        "GIT_WORK_TREE": str(other.root),
        "GIT_PREFIX": "elsewhere/",
        "LC_ALL": "de_DE.UTF-8",
    }

    found = affected(
        Workspace(str(repository.root)),
        replace(config, environ=dict(config.environ) | hook),
        base="HEAD~1",
    )

    assert [one.label for one in found] == ["//:model"]


def test_the_name_of_a_branch_of_a_server_is_proposed(repository: Followed, tmp_path: Path) -> None:
    repository.git("branch", "release")
    clone = repository.clone(tmp_path / "clone")

    with pytest.raises(InputError) as caught:
        changes(Workspace(str(clone)), config_of(clone, repository.cache), base="release")

    assert caught.value.hints == ("did you mean `origin/release`?",)


def test_a_repository_of_somebody_else_is_not_trusted(repository: Followed) -> None:
    config = config_of(repository.root, repository.cache)
    environ = dict(config.environ) | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}

    with pytest.raises(HostError) as caught:
        affected(Workspace(str(repository.root)), replace(config, environ=environ), base="HEAD~1")

    assert f"git does not trust `{repository.root}" in caught.value.message
    assert "safe.directory" in caught.value.hints[0]


def test_without_git_one_sentence_says_so(repository: Followed) -> None:
    config = config_of(repository.root, repository.cache)

    with pytest.raises(HostError) as caught:
        affected(
            Workspace(str(repository.root)),
            replace(config, environ={"PATH": "/nowhere", "MLBUILD_CACHE_DIR": "/nowhere"}),
            base="HEAD~1",
        )

    assert caught.value.message == "git is not installed, or not on the PATH"


def test_the_command_prints_lines_labels_or_json(repository: Followed, cache: Path) -> None:
    repository.file("data/one.csv", "2\n").commit()
    build = Build(repository.root, cache=cache)

    lines = build.run("affected", "--base", "HEAD~1")
    labels = build.run("affected", "--base", "HEAD~1", "--label", ":model", "//data:all")
    report = json.loads(build.run("affected", "--base=HEAD~1", "--json").stdout)

    assert lines.stdout.splitlines() == [
        "//data:numbers  file data/one.csv",
        "//:model        through //data:numbers: file data/one.csv",
    ]
    assert "2 targets of HEAD" in lines.stderr
    assert labels.stdout.splitlines() == ["//data:numbers", "//:model"]
    assert report["affected"][1] == {
        "label": "//:model",
        "rule": "train",
        "direct": False,
        "new": False,
        "reasons": [{"kind": "file", "path": "data/one.csv"}],
        "through": ["//data:numbers"],
    }
    assert report["base"]["revision"] == "HEAD~1"
    assert len(report["head"]["commit"]) == 40
