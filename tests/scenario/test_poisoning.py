"""CREEP (CVE-2025-36852), replayed: a pull request plants a result that the protected branch needs.

The attacker has a whole runner to himself: he builds the honest workspace to learn the key that the
protected branch will look for, makes other bytes, and writes them to the shared cache before
anybody else, as whatever identity and into whatever scope he can.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Tree, digest_tree, tree_of
from mlbuild.shared.base import Bucket, SharedTrouble
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.folder import FolderBucket
from mlbuild.shared.keys import write_private
from mlbuild.shared.place import place_of
from mlbuild.shared.s3 import S3Bucket
from mlbuild.shared.signing import Signer, new_key, public_of
from mlbuild.store.disk import DiskStore
from tests import servers
from tests.harness import Build
from tests.servers import ObjectServer

POISON = b"POISON"
Machine = Callable[..., Build]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a maker of machines: clones of one workspace, each with a home and a local cache."""

    def make(name: str, **env: str) -> Build:
        build = Build(tmp_path / name / "work", cache=tmp_path / name / "cache")
        # The text is of this test alone: so is its key in a bucket that all tests share.
        build.file("in.txt", f"truth of {tmp_path}\n").genrule("a", "tr a-z A-Z", "in.txt")
        build.env = {
            "HOME": str(tmp_path / name),
            "XDG_CONFIG_HOME": str(tmp_path / name / ".config"),
            "MLBUILD_MACHINE_CONFIG": "",
            "MLBUILD_CACHE_UPLOAD": "wait",
            **env,
        }
        return build

    return make


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Return a shared folder that everybody may write to."""
    folder = tmp_path / "share"
    folder.mkdir()
    return folder


def truth(build: Build) -> str:
    return (build.root / "in.txt").read_text().upper()


def honest_key(attacker: Build) -> tuple[str, Result, Tree]:
    """Return what the attacker learns by building the workspace as it is."""
    attacker("//:a")
    with DiskStore(str(attacker.cache)) as store:
        (key,) = [path.name for path in (attacker.cache / "ac").rglob("*") if len(path.name) == 64]
        result = store.lookup(key)
        assert result is not None
        tree = store.tree(result.tree)
        assert tree is not None
    return key, result, tree


def poisoned(result: Result, tree: Tree, folder: Path) -> tuple[Result, Tree]:
    """Return a result of the same shape with the attacker's bytes, which lie in `folder` then."""
    bytes_ = digest_of(POISON)
    fake = tree_of([replace(entry, digest=bytes_) for entry in tree.entries])
    for entry in fake.entries:
        (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / entry.path).write_bytes(POISON)
    outputs = tuple((path, Content(content.kind, bytes_)) for path, content in result.outputs)
    return replace(result, outputs=outputs, tree=digest_tree(fake), log=None), fake


def plant(attacker: Build, bucket: Bucket, *, scope: str, signer: Signer | None = None) -> None:
    """Write poison for the key that everybody needs; raise SharedTrouble where that is refused."""
    key, result, tree = honest_key(attacker)
    folder = attacker.root.parent / "fake"
    fake, fake_tree = poisoned(result, tree, folder)
    cache = BucketCache(bucket, scope=scope, read_scopes=("nobody/reads",), signer=signer)
    try:
        cache.send_tree(fake_tree, str(folder))
        cache.publish(key, fake, manifest=b"")
    finally:
        cache.close()


def url_of(share: Path) -> dict[str, str]:
    return {"MLBUILD_CACHE_URL": f"file://{share}", "MLBUILD_CACHE_IDENTITY": "ci-main"}


# The attack works where nothing is done against it


def test_without_scopes_and_keys_the_attack_works(machine: Machine, share: Path) -> None:
    plant(machine("attacker"), FolderBucket(str(share)), scope="main")

    main = machine("main", **url_of(share))
    done = main("//:a")

    assert done.report["fetched"] == ["//:a"]
    assert main.output("a/a.txt") == POISON.decode()


# Scopes and a policy of the bucket


@pytest.fixture
def bucket(weed: ObjectServer) -> dict[str, str]:
    """Return the variables of a job on a protected branch."""
    place = f"s3://{servers.BUCKET}/{servers.CONFINED}"
    url = f"{place}?endpoint_url={weed.endpoint}&region=us-east-1"
    return {
        "MLBUILD_CACHE_URL": url,
        "MLBUILD_CACHE_IDENTITY": "ci-main",
        **weed.environment(),
    }


def as_pull_request(weed: ObjectServer, job: dict[str, str], number: int) -> dict[str, str]:
    return {
        **job,
        **weed.as_pull_request().environment(),
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_REF": f"refs/pull/{number}/merge",
    }


def test_a_pull_request_reaches_nobody_but_itself(
    machine: Machine,
    weed: ObjectServer,
    bucket: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weed.as_pull_request().use(monkeypatch)
    attacker = machine("attacker")
    own = S3Bucket(place_of(bucket["MLBUILD_CACHE_URL"]), threads=2)
    with pytest.raises(SharedTrouble) as refused:
        plant(attacker, own, scope="main")
    plant(attacker, own, scope="pr/17")

    other = machine("other", **as_pull_request(weed, bucket, 18))("//:a")
    main = machine("main", **bucket)
    built = main("//:a")
    ana = machine("ana", **{**bucket, **weed.as_reader().environment()})
    fetched = ana("//:a")
    itself = machine("itself", **as_pull_request(weed, bucket, 17))
    itself("//:a")

    assert refused.value.kind == "denied"
    assert (other.ran, built.ran, built.report["fetched"]) == (["//:a"], ["//:a"], [])
    assert main.output("a/a.txt") == truth(main)
    assert fetched.report["fetched"] == ["//:a"]
    assert ana.output("a/a.txt") == truth(ana)
    assert itself.output("a/a.txt") == POISON.decode()  # his own doing, and nobody else's


def test_a_pull_request_uses_what_the_protected_branch_made(
    machine: Machine, weed: ObjectServer, bucket: dict[str, str]
) -> None:
    main = machine("main", **bucket)
    main("//:a")
    pull = machine("pull", **as_pull_request(weed, bucket, 19))

    done = pull("//:a")

    assert done.report["fetched"] == ["//:a"]
    assert pull.output("a/a.txt") == truth(pull)


def test_what_a_pull_request_made_is_not_uploaded_to_main(
    machine: Machine, weed: ObjectServer, bucket: dict[str, str]
) -> None:
    before = set(weed.names(servers.CONFINED))

    pull = machine("pull", **as_pull_request(weed, bucket, 20))
    pull("//:a")

    added = set(weed.names(servers.CONFINED)) - before
    assert added
    assert {name.split("/")[:2] == ["pr", "20"] for name in added} == {True}


# Signatures


@pytest.fixture
def ci(tmp_path: Path) -> tuple[Path, str]:
    """Return the file of the key of a protected branch, and its public line."""
    key = new_key("ci")
    public = public_of(key)
    write_private(str(tmp_path / "ci.key"), key, public=public)
    return tmp_path / "ci.key", str(public)


@pytest.mark.parametrize("signs", [False, True], ids=["unsigned", "signed by himself"])
def test_with_trusted_keys_who_can_write_everything_can_add_nothing(
    machine: Machine, share: Path, ci: tuple[Path, str], *, signs: bool
) -> None:
    trusting = {**url_of(share), "MLBUILD_CACHE_TRUSTED_KEYS": ci[1]}
    eve = Signer(new_key("eve")) if signs else None
    plant(machine("attacker"), FolderBucket(str(share)), scope="main", signer=eve)

    main = machine("main", **trusting, MLBUILD_CACHE_SIGNING_KEY=str(ci[0]))
    built = main("//:a")
    ana = machine("ana", **trusting)
    fetched = ana("//:a")

    assert built.ran == ["//:a"]
    assert (fetched.ran, fetched.report["fetched"]) == ([], ["//:a"])
    assert main.output("a/a.txt") == ana.output("a/a.txt") == truth(main)


def test_the_signature_of_another_result_does_not_vouch_for_poison(
    machine: Machine, share: Path, ci: tuple[Path, str]
) -> None:
    trusting = {**url_of(share), "MLBUILD_CACHE_TRUSTED_KEYS": ci[1]}
    main = machine("main", **trusting, MLBUILD_CACHE_SIGNING_KEY=str(ci[0]))
    main.edit("in.txt", "truth", "another truth")
    main("//:a")
    (entry,) = [path for path in (share / "main" / "ac").rglob("*") if path.is_file()]
    key, _, _ = honest_key(machine("attacker"))

    stolen = share / "main" / "ac" / key[:2] / key
    stolen.parent.mkdir(exist_ok=True)
    stolen.write_bytes(entry.read_bytes())
    ana = machine("ana", **trusting)
    done = ana("//:a")

    assert done.ran == ["//:a"]
    assert ana.output("a/a.txt") == truth(ana)


def test_a_machine_takes_back_what_it_signed_itself(
    machine: Machine, share: Path, ci: tuple[Path, str], tmp_path: Path
) -> None:
    own = new_key("pull")
    write_private(str(tmp_path / "own"), own, public=public_of(own))
    env = {
        **url_of(share),
        "MLBUILD_CACHE_TRUSTED_KEYS": ci[1],
        "MLBUILD_CACHE_SCOPE": "pr/17",
    }
    signing = {**env, "MLBUILD_CACHE_SIGNING_KEY": str(tmp_path / "own")}
    machine("first", **signing)("//:a")

    second = machine("second", **signing)("//:a")
    stranger = machine("stranger", **env)("//:a")

    assert second.report["fetched"] == ["//:a"]
    assert stranger.ran == ["//:a"]


# Who gives results away


@pytest.mark.parametrize(
    ("env", "gives"),
    [
        ({}, False),
        ({"MLBUILD_CACHE_IDENTITY": "ci"}, True),
        ({"MLBUILD_CACHE_WRITE": "always"}, True),
        ({"MLBUILD_CACHE_WRITE": "never", "MLBUILD_CACHE_IDENTITY": "ci"}, False),
    ],
)
def test_only_a_trusted_machine_gives_results_away(
    machine: Machine, share: Path, env: dict[str, str], *, gives: bool
) -> None:
    ana = machine("ana", MLBUILD_CACHE_URL=f"file://{share}", **env)

    ana("//:a")

    assert any(path.is_file() for path in share.rglob("*")) is gives


def test_an_accepted_proposal_is_used_and_a_proposal_alone_is_not(
    machine: Machine, share: Path, ci: tuple[Path, str]
) -> None:
    offer = f'[cache]\nurl = "file://{share}"\ntrusted_keys = ["{ci[1]}"]\n'
    machine("main", **url_of(share), MLBUILD_CACHE_SIGNING_KEY=str(ci[0]))("//:a")

    ana = machine("ana").file("mlbuild.toml", offer)("//:a")
    ben = machine("ben").file("mlbuild.toml", offer)
    ben.run("trust")
    accepted = ben("//:a")

    assert (ana.ran, accepted.report["fetched"]) == (["//:a"], ["//:a"])
