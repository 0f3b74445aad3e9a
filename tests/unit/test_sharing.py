"""Settings of the shared cache: what they may be, who may set them, and what is never shown."""

import json
from pathlib import Path

import pytest

from mlbuild.config import Config, load
from mlbuild.core.redact import is_secret, redacted
from mlbuild.errors import InputError
from mlbuild.settings import SETTINGS, Value, shown
from mlbuild.sharing import Sharing, scope_of
from mlbuild.trust import Offer, accept, accepted, accepted_before, revoke

KEY = "mlbuild-ed25519:" + "A" * 43 + "=:ci"
OTHER = "mlbuild-ed25519:" + "B" * 42 + "A=:ana"
OFFER = f'[cache]\nurl = "s3://team/models"\ntrusted_keys = ["{KEY}"]\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "mlbuild.toml").write_text("")
    return folder


def loaded(root: Path, environ: dict[str, str] | None = None, **flags: Value) -> Config:
    nobody = str(root.parent / "machine.toml")
    given = {"HOME": str(root.parent), "MLBUILD_MACHINE_CONFIG": nobody} | (environ or {})
    return load(
        str(root), environ=given, flags={name.replace("__", "."): flags[name] for name in flags}
    )


def user_settings(root: Path, text: str) -> Path:
    path = root.parent / ".config" / "mlbuild" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def folder_of(root: Path) -> str:
    return str(root.parent / ".config" / "mlbuild")


def test_without_a_url_there_is_no_shared_cache(root: Path) -> None:
    found = loaded(root).sharing

    assert found == Sharing()
    assert not found.used
    assert (found.write, found.upload, found.scope) == ("trusted", "background", "main")


def test_a_variable_a_flag_and_the_users_file_set_it(root: Path) -> None:
    user = user_settings(root, '[cache]\nurl = "s3://users/x"\nwrite = "always"\n')

    by_user = loaded(root)
    by_variable = loaded(root, {"MLBUILD_CACHE_URL": "file:///nfs/share"})
    by_flag = loaded(root, {"MLBUILD_CACHE_URL": "file:///nfs/share"}, cache__url="s3://flag")

    assert (by_user.sharing.url, by_user.origin("cache.url")) == ("s3://users/x", str(user))
    assert by_user.sharing.used
    assert by_user.sharing.may_write
    assert by_variable.sharing.url == "file:///nfs/share"
    assert (by_flag.sharing.url, by_flag.origin("cache.url")) == ("s3://flag", "--cache-url")


def test_the_machines_file_is_weaker_than_the_users(root: Path) -> None:
    machine = root.parent / "machine.toml"
    machine.write_text('[cache]\nurl = "s3://machine"\nidentity = "ci-main"\n')
    before = loaded(root)
    user_settings(root, '[cache]\nurl = "s3://users"\n')

    config = loaded(root)

    assert (before.sharing.url, before.origin("cache.url")) == ("s3://machine", str(machine))
    assert (config.sharing.url, config.sharing.identity) == ("s3://users", "ci-main")
    assert config.sharing.may_write


@pytest.mark.parametrize(
    ("write", "key", "identity", "may"),
    [
        ("never", "/k", "ci", False),
        ("trusted", "", "", False),
        ("trusted", "/k", "", True),
        ("trusted", "", "ci", True),
        ("always", "", "", True),
    ],
)
def test_trusted_is_who_signs_or_has_a_declared_identity(
    write: str, key: str, identity: str, *, may: bool
) -> None:
    sharing = Sharing(url="s3://x", write=write, signing_key=key, identity=identity)

    assert sharing.may_write is may


def test_the_own_scope_is_read_before_main() -> None:
    assert Sharing(scope="pr/17").scopes == ("pr/17", "main")
    assert Sharing(scope="main").scopes == ("main",)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/a/b",
        "s3://bucket/a?endpoint_url=http://127.0.0.1:8333&region=us-east-1",
        "file:///nfs/my share",
        "http://mirror/x",
        "https://mirror:8443",
        "grpc://127.0.0.1:8980",
        "grpcs://cache.team/main",
    ],
)
def test_places_of_a_shared_cache(root: Path, url: str) -> None:
    assert loaded(root, {"MLBUILD_CACHE_URL": url}).sharing.url == url


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("url", "ftp://x", "begins with one of"),
        ("url", "s3:bucket", "begins with one of"),
        ("url", "s3://a\u202eb", "begins with one of"),
        ("url", "s3://", "is written like `s3://host/path`"),
        ("url", "file://host/x", "is written like `file:///folder`"),
        ("url", "s3://b/../x", "holds no `#`"),
        ("url", "s3://b/x#y", "holds no `#`"),
        ("url", "https://h/x?a=b", "takes no such options"),
        ("url", "s3://b?secret_access_key=x", "takes no such options"),
        ("scope", "pr", "is `main` or two lower-case names"),
        ("scope", "main/x", "is `main` or two lower-case names"),
        ("scope", "pr/../main", "is `main` or two lower-case names"),
        ("scope", "pr/17/x", "is `main` or two lower-case names"),
        ("scope", "PR/17", "is `main` or two lower-case names"),
        ("write", "sometimes", "is `never`, `trusted` or `always`"),
        ("trusted_keys", "ssh-ed25519 AAAA", "holds lines of `mlbuild key show`"),
        ("trusted_keys", "mlbuild-ed25519:AAAA:x", "holds lines of `mlbuild key show`"),
        ("signing_key", "key", "is not an absolute path"),
        ("headers", "no colon", "holds headers written like"),
        ("token", "two words", "is one word"),
        ("read", "perhaps", "is `true` or `false`"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(root: Path, key: str, value: str, said: str) -> None:
    variable = f"MLBUILD_CACHE_{key.upper()}"

    with pytest.raises(InputError) as caught:
        loaded(root, {variable: value})

    assert caught.value.message.startswith(f"`{variable}` ")
    assert said in caught.value.message


@pytest.mark.parametrize("url", ["grpc://cache.team", "http://mirror.team/x"])
def test_a_secret_does_not_travel_unprotected(root: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"`cache\.token` would travel unprotected"):
        loaded(root, {"MLBUILD_CACHE_URL": url, "MLBUILD_CACHE_TOKEN": "hush-hush"})

    near = url.replace("cache.team", "localhost:1").replace("mirror.team", "127.0.0.1:80")
    assert loaded(root, {"MLBUILD_CACHE_URL": near, "MLBUILD_CACHE_TOKEN": "hush"}).sharing.token


@pytest.mark.parametrize(
    ("environ", "scope"),
    [
        ({}, "main"),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}, "main"),
        ({"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/17/merge"}, "pr/17"),
        ({"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/../merge"}, "run/0"),
        (
            {
                "GITHUB_EVENT_NAME": "pull_request_target",
                "GITHUB_REF": "refs/heads/main",
                "GITHUB_RUN_ID": "99",
            },
            "run/99",
        ),
        ({"CI_MERGE_REQUEST_IID": "5"}, "pr/5"),
        ({"CI_MERGE_REQUEST_IID": "5/../main"}, "main"),
    ],
)
def test_the_job_of_a_pull_request_has_a_scope_of_its_own(
    root: Path, environ: dict[str, str], scope: str
) -> None:
    assert scope_of(environ)[0] == scope
    assert loaded(root, environ).sharing.scope == scope
    assert loaded(root, environ | {"MLBUILD_CACHE_SCOPE": "dev/a"}).sharing.scope == "dev/a"


# What a workspace may say


@pytest.mark.parametrize("name", ["mlbuild.toml", "mlbuild.local.toml"])
@pytest.mark.parametrize(
    "key",
    [key for key, setting in SETTINGS.items() if key.startswith("cache.") and setting.personal],
)
def test_a_workspace_decides_nothing_of_trust(root: Path, name: str, key: str) -> None:
    (root / name).write_text(f'[cache]\n{key.removeprefix("cache.")} = "x"\n')

    with pytest.raises(InputError, match="is not taken from a workspace"):
        loaded(root)


def test_an_offer_changes_nothing_until_it_is_accepted(root: Path) -> None:
    (root / "mlbuild.toml").write_text(OFFER)

    before = loaded(root)
    assert before.offer is not None
    accept(before.offer, folder_of(root))
    after = loaded(root)

    assert before.sharing == Sharing()
    assert before.invitation == (
        "this workspace proposes the shared cache `s3://team/models`: `mlbuild trust` accepts it"
    )
    assert (after.sharing.url, after.sharing.trusted_keys) == ("s3://team/models", (KEY,))
    assert after.origin("cache.url") == "mlbuild.toml, accepted"
    assert after.invitation == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("s3://team/models", "s3://evil/models"),
        (KEY, OTHER),
        (f'["{KEY}"]', f'["{KEY}", "{OTHER}"]'),
        (f'trusted_keys = ["{KEY}"]', ""),
    ],
)
def test_an_offer_that_changed_in_any_way_is_asked_again(root: Path, old: str, new: str) -> None:
    (root / "mlbuild.toml").write_text(OFFER)
    first = loaded(root)
    assert first.offer is not None
    accept(first.offer, folder_of(root))

    (root / "mlbuild.toml").write_text(OFFER.replace(old, new))
    changed = loaded(root)
    (root / "mlbuild.toml").write_text(OFFER)

    assert changed.sharing == Sharing()
    assert changed.invitation
    assert loaded(root).accepted


def test_what_is_accepted_in_one_workspace_is_not_in_another(root: Path) -> None:
    (root / "mlbuild.toml").write_text(OFFER)
    first = loaded(root)
    assert first.offer is not None
    accept(first.offer, folder_of(root))
    other = root.parent / "other"
    other.mkdir()
    (other / "mlbuild.toml").write_text(OFFER)

    assert loaded(other).sharing == Sharing()


def test_an_answer_is_taken_back_and_was_private(root: Path) -> None:
    offer = Offer(str(root), {"cache.url": "s3://x"})
    folder = folder_of(root)

    accept(offer, folder)
    place = next((root.parent / ".config" / "mlbuild" / "accepted").iterdir())
    mode = place.stat().st_mode & 0o777
    remembered = accepted_before(str(root), folder)

    assert mode == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert remembered == {"cache.url": "s3://x"}
    assert accepted(offer, folder)
    assert revoke(str(root), folder)
    assert not accepted(offer, folder)
    assert not revoke(str(root), folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"offer": 1}', b"[" * 50_000, b"\xff"])
def test_a_damaged_answer_is_no_yes(root: Path, content: bytes) -> None:
    offer = Offer(str(root), {"cache.url": "s3://x"})
    accept(offer, folder_of(root))
    place = next((root.parent / ".config" / "mlbuild" / "accepted").iterdir())

    place.write_bytes(content)

    assert not accepted(offer, folder_of(root))
    assert accepted_before(str(root), folder_of(root)) == {}


def test_an_answer_that_others_could_have_written_is_no_yes(root: Path) -> None:
    offer = Offer(str(root), {"cache.url": "s3://x"})
    accept(offer, folder_of(root))
    place = next((root.parent / ".config" / "mlbuild" / "accepted").iterdir())

    place.chmod(0o666)

    assert not accepted(offer, folder_of(root))


def test_a_user_who_named_a_cache_or_wants_none_is_not_asked(root: Path) -> None:
    (root / "mlbuild.toml").write_text(OFFER)

    named = loaded(root, {"MLBUILD_CACHE_URL": "s3://mine"})
    none = loaded(root, {"MLBUILD_CACHE_READ": "false"})

    assert (named.invitation, none.invitation) == ("", "")
    assert named.sharing.url == "s3://mine"
    assert named.sharing.trusted_keys == ()


def test_a_named_config_of_a_workspace_offers_nothing(root: Path) -> None:
    (root / "mlbuild.toml").write_text('[config.x]\ncache.url = "s3://evil"\n')

    with pytest.raises(InputError, match=r"`cache\.url` is not taken from a named config"):
        loaded(root)


def test_a_workspace_that_picks_a_config_of_the_user_does_not_reach_his_trust(root: Path) -> None:
    user_settings(
        root,
        "[config.release]\nbuild.jobs = 3\n"
        'cache.url = "s3://release"\ncache.write = "always"\ncache.dir = "/elsewhere"\n',
    )
    (root / "mlbuild.toml").write_text('[build]\nconfig = "release"\n')

    picked = loaded(root)
    chosen = loaded(root, {"MLBUILD_CONFIG": "release"})

    assert (picked.jobs, picked.sharing) == (3, Sharing())
    assert picked.cache_dir != "/elsewhere"
    assert (chosen.sharing.url, chosen.sharing.write) == ("s3://release", "always")
    assert chosen.cache_dir == "/elsewhere"


# Secrets


def test_a_password_in_a_url_is_refused_without_saying_it(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        loaded(root, {"MLBUILD_CACHE_URL": "https://ana:hunter2@mirror/x"})

    assert "hunter2" not in caught.value.message
    assert "https://…@mirror/x" in caught.value.message


def test_secret_settings_are_not_shown(root: Path) -> None:
    config = loaded(
        root,
        {
            "MLBUILD_CACHE_URL": "grpcs://h",
            "MLBUILD_CACHE_TOKEN": "hush-token",
            "MLBUILD_CACHE_HEADERS": "x-api-key: hush-header",
        },
    )

    told = json.dumps([shown(one, config.value(key)) for key, one in SETTINGS.items()])

    assert "hush" not in told + repr(config)
    assert config.sharing.secrets == ("hush-token", "hush-header")


@pytest.mark.parametrize("value", ["1", "true", "[1]", "{x = 1}"])
def test_a_secret_of_the_wrong_kind_is_not_said(root: Path, value: str) -> None:
    user_settings(root, f"[cache]\ntoken = {value}\n")

    with pytest.raises(InputError, match=r"`cache\.token` takes a text, not anything else"):
        loaded(root)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot reach https://ana:hunter2@host/x", "hunter2"),
        ("GET http://h/?X-Amz-Signature=abc123&x=1", "abc123"),
        ("GET http://h/?X-Amz-Security-Token=abc123", "abc123"),
        ("url is s3://b?session_token=abc123", "abc123"),
        ("Authorization: Bearer abc123def", "abc123def"),
        ("{'authorization': 'Basic YWJjMTIz'}", "YWJjMTIz"),
        ("sent bearer abcdefgh.12345678", "abcdefgh"),
        ("the key AKIAIOSFODNN7EXAMPLE is unknown", "AKIAIOSFODNN7EXAMPLE"),
        ("mlbuild-ed25519-private:c2VjcmV0:ana", "c2VjcmV0"),
        ("password=hunter2 is wrong", "hunter2"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    assert secret not in redacted(text)
    assert "…" in redacted(text)


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    text = "the server said: no user hush-token, and not hush-token-2"

    assert "hush" not in redacted(text, ("hush-token", "hush-token-2"))


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/path@2", "mail ana@team.org", "a signature of another key", "`//a:b` failed"],
)
def test_innocent_texts_stay(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HF_TOKEN", "x", True),
        ("AWS_SECRET_ACCESS_KEY", "x", True),
        ("WANDB_API_KEY", "x", True),
        ("KEY", "x", True),
        ("AWSACCESSKEYID", "x", True),
        ("SSH_KEY_FILE", "x", True),
        ("BASIC_AUTH", "x", True),
        ("HTTPS_PROXY", "http://ana:word@proxy", True),
        ("HTTPS_PROXY", "http://proxy:3128", False),
        ("UV_KEYRING_PROVIDER", "disabled", False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("GIT_AUTHOR_NAME", "Ana", False),
        ("UV_INDEX_URL", "https://pypi.org/simple", False),
    ],
)
def test_a_variable_is_secret_by_its_name_or_its_value(
    name: str, value: str, *, secret: bool
) -> None:
    assert is_secret(name, value) is secret
