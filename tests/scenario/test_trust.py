"""Trust: what a checkout may decide, whose results count, and what a pull request can reach."""

import json
from pathlib import Path

import pytest

from tests.harness import Build

SECRETS = ("hush-token-1", "hush-header-2", "hush-secret-3", "hush-session-4")


@pytest.fixture
def build(build: Build, tmp_path: Path) -> Build:
    """Return an empty workspace of a user with a home of his own."""
    build.env |= {"HOME": str(tmp_path / "home"), "MLBUILD_MACHINE_CONFIG": ""}
    build.env["XDG_CONFIG_HOME"] = str(tmp_path / "home" / ".config")
    return build


def proposing(build: Build, url: str) -> Build:
    return build.file("mlbuild.toml", f'[cache]\nurl = "{url}"\n').genrule("a", "tr a-z A-Z")


def setting(build: Build, key: str) -> dict[str, object]:
    shown = json.loads(build.run("config", "--json").stdout)
    found: dict[str, object] = shown[key]
    return found


# What a workspace proposes


def test_a_build_goes_on_without_a_proposal_and_says_so_in_one_line(build: Build) -> None:
    proposing(build, "file:///nfs/nowhere")

    done = build.run("//:a")

    told = [line for line in done.stderr.splitlines() if "proposes" in line]
    assert done.code == 0
    assert len(told) == 1
    assert told[0] == (
        "warning: this workspace proposes the shared cache `file:///nfs/nowhere`: "
        "`mlbuild trust` accepts it"
    )


def test_a_proposal_is_shown_accepted_and_taken_back(build: Build) -> None:
    proposing(build, "s3://team/models")

    shown = build.run("trust", "--show")
    before = setting(build, "cache.url")
    accepted = build.run("trust")
    after = setting(build, "cache.url")
    again = build.run("trust")
    back = build.run("trust", "--revoke")
    nothing = build.run("trust", "--revoke")

    assert 'cache.url = "s3://team/models"' in shown.stdout
    assert "those of anybody who may write there" in shown.stdout
    assert "none of yours go there" in shown.stdout
    assert before == {"value": "", "origin": "default"}
    assert accepted.stdout == shown.stdout
    assert accepted.stderr.startswith("accepted, for this workspace")
    assert after == {"value": "s3://team/models", "origin": "mlbuild.toml, accepted"}
    assert again.stderr == "you have accepted exactly this\n"
    assert back.stderr == "taken back\n"
    assert nothing.stderr == "there was nothing to take back\n"
    assert setting(build, "cache.url") == before


def test_a_changed_proposal_is_asked_again_and_shows_what_was_accepted(build: Build) -> None:
    proposing(build, "s3://team/models")
    build.run("trust")

    build.edit("mlbuild.toml", "s3://team/models", "s3://evil/models")
    changed = json.loads(build.run("trust", "--json", "--show").stdout)
    shown = build.run("trust", "--show")

    assert changed == {
        "root": str(build.root),
        "proposal": {"cache.url": "s3://evil/models"},
        "accepted": False,
        "before": {"cache.url": "s3://team/models"},
    }
    assert "you accepted before:" in shown.stdout
    assert setting(build, "cache.url")["value"] == ""


def test_trust_says_which_secrets_a_place_would_be_told(build: Build) -> None:
    proposing(build, "grpcs://cache.team/x")
    build.env["MLBUILD_CACHE_TOKEN"] = SECRETS[0]

    shown = build.run("trust", "--show")

    assert "it is told your `cache.token`" in shown.stdout
    assert SECRETS[0] not in shown.stdout


def test_a_workspace_without_a_proposal_has_nothing_to_accept(build: Build) -> None:
    done = build.run("trust")

    assert (done.code, done.stdout) == (0, "this workspace proposes nothing\n")
    assert build.run("trust", "--show", "--revoke").code == 2


def test_a_workspace_that_decides_is_an_error_with_its_place(build: Build) -> None:
    build.file("mlbuild.toml", '[cache]\nwrite = "always"\n').genrule("a", "cat")

    done = build.run("//:a")

    assert done.code == 2
    assert "`cache.write` is not taken from a workspace" in done.stderr
    assert "mlbuild.toml:2:1" in done.stderr


# Keys


def test_a_key_is_made_shown_and_listed(build: Build, tmp_path: Path) -> None:
    made = build.run("key", "new", "ana")
    line = made.stdout.strip()
    out = build.run("key", "new", "--out", str(tmp_path / "ci.key"), "ci", "--json")
    shown = build.run("key", "show", "ana")
    only = build.run("key", "show")
    listed = json.loads(build.run("key", "list", "--json").stdout)
    elsewhere = build.run("key", "show", str(tmp_path / "ci.key"))

    path = tmp_path / "home" / ".config" / "mlbuild" / "keys" / "ana"
    assert line.startswith("mlbuild-ed25519:")
    assert line.endswith(":ana")
    assert path.stat().st_mode & 0o777 == 0o600
    assert f'signing_key = "{path}"' in made.stderr
    assert shown.stdout == only.stdout == made.stdout
    assert [(one["name"], one["public"]) for one in listed["keys"]] == [("ana", line)]
    assert elsewhere.stdout.strip() == json.loads(out.stdout)["public"]
    secret = path.read_text().split(":")[1]
    everything = [made, shown, build.run("key", "list"), out, elsewhere]
    assert not any(secret in one.stdout + one.stderr for one in everything)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to do with keys"),
        (("nwe",), "did you mean `new`?"),
        (("new", "a/b"), "`a/b` cannot be the name of a key"),
        (("show",), "you have no key yet"),
        (("show", "ana"), "cannot read"),
        (("list", "x"), "`mlbuild key` does not take `x`"),
        (("list", "--out", "x"), "only `mlbuild key new` takes `--out`"),
    ],
)
def test_wrong_words_about_keys_are_said(build: Build, words: tuple[str, ...], said: str) -> None:
    done = build.run("key", *words)

    assert done.code == 2
    assert said in done.stderr


# Secrets


def test_secrets_reach_no_output_log_or_file(build: Build, tmp_path: Path) -> None:
    build.genrule("a", "tr a-z A-Z", "b").file("b", "b")
    build.env |= {
        "MLBUILD_CACHE_URL": f"file://{tmp_path}/nowhere",
        "MLBUILD_CACHE_WRITE": "always",
        "MLBUILD_CACHE_UPLOAD": "wait",
        "MLBUILD_CACHE_TOKEN": SECRETS[0],
        "MLBUILD_CACHE_HEADERS": f"x-api-key: {SECRETS[1]}",
        "AWS_SECRET_ACCESS_KEY": SECRETS[2],
        "AWS_SESSION_TOKEN": SECRETS[3],
    }

    words = [("config",), ("config", "--json"), ("--events", "events", "//:a"), ("why", "//:a")]
    said = [build.run(*one) for one in (*words, ("//:a",), ("log", "//:a"), ("doctor",))]

    assert [one.code for one in said[:5]] == [0] * 5
    assert not [s for one in said for s in SECRETS if s in one.stdout + one.stderr]
    assert not holding(SECRETS, build.root, build.cache, tmp_path / "home")


def holding(secrets: tuple[str, ...], *folders: Path) -> list[Path]:
    """Return the files below `folders` that hold one of `secrets`."""
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert found
    return [path for path in found if any(s.encode() in path.read_bytes() for s in secrets)]


def test_a_password_in_the_address_is_refused_and_not_repeated(build: Build) -> None:
    build.genrule("a", "cat")

    done = build.run("--cache-url", "https://ana:hush-word@mirror/x", "//:a")

    assert done.code == 2
    assert "https://…@mirror/x" in done.stderr
    assert "hush-word" not in done.stdout + done.stderr
    assert not holding(("hush-word",), build.root)


# Where actions run


def choosing(build: Build, host: str) -> Build:
    """Have a workspace choose an executor that it describes itself."""
    build.file(
        "mlbuild.toml",
        f'[build]\nexecutor = "far"\n[executors.far]\nkind = "ssh"\nretries = 0\nhost = "{host}"\n',
    )
    return build.genrule("a", "tr a-z A-Z")


def test_a_checkout_sends_nothing_to_a_machine_before_its_user_says_yes(build: Build) -> None:
    choosing(build, "ssh://nobody@127.0.0.1:1")

    before = build.run("//:a")
    shown = build.run("trust")
    after = build.run("--rerun", "//:a")
    build.edit("mlbuild.toml", ":1", ":2")
    changed = setting(build, "build.executor")

    assert before.code == 0
    assert "this workspace proposes to run actions on `far`: `mlbuild trust` accepts it" in (
        before.stderr
    )
    assert 'executors.far.host = "ssh://nobody@127.0.0.1:1"' in shown.stdout
    assert "actions run on `far`, which gets their inputs" in shown.stdout
    assert after.code == 36
    assert "cannot be reached" in after.stderr
    assert changed == {"value": "auto", "origin": "default"}


def test_who_names_an_executor_is_not_asked(build: Build) -> None:
    choosing(build, "ssh://nobody@127.0.0.1:1")

    far = build.run("--executor", "far", "//:a")
    here = build.run("--executor", "sandbox", "//:a")

    assert far.code == 36
    assert here.code == 0
    assert "proposes" not in far.stderr + here.stderr


def test_no_workspace_takes_the_place_of_an_executor_of_its_user(
    build: Build, tmp_path: Path
) -> None:
    own = tmp_path / "home" / ".config" / "mlbuild" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('[build]\nexecutor = "far"\n[executors.far]\nkind = "ssh"\nhost = "mine"\n')
    choosing(build, "theirs")

    shown = json.loads(build.run("trust", "--show", "--json").stdout)
    done = build.run("doctor", "--executor", "far", "--json")

    assert shown["proposal"] == {"build.executor": "far"}
    assert "`mine`" in done.stdout
    assert "theirs" not in done.stdout


def test_a_config_that_a_workspace_chooses_reaches_no_other_machine(build: Build) -> None:
    choosing(build, "theirs")
    build.edit("mlbuild.toml", 'executor = "far"', 'config = ["gpu"]')
    build.file(
        "mlbuild.toml",
        (build.root / "mlbuild.toml").read_text() + '[config.gpu]\nbuild.executor = "far"\n',
    )

    assert setting(build, "build.executor")["value"] == "auto"
    assert (
        json.loads(build.run("config", "--json", "--config", "gpu").stdout)["build.executor"][
            "value"
        ]
        == "far"
    )
