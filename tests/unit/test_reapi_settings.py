"""What `[executors.NAME]` of the kind `reapi` may say."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlbuild.config import Config, load
from mlbuild.errors import InputError
from mlbuild.remote.reapi.platform import properties
from mlbuild.remote.reapi.server import Server, server_of
from tests.contract.jobs import shell


def configured(
    root: Path, *lines: str, own: str = "", env: Mapping[str, str] | None = None
) -> Config:
    """Return the settings of a workspace with such a table, and of a user with `own` ones."""
    table = ["[executors.grid]", 'kind = "reapi"', *lines] if lines else []
    (root / "mlbuild.toml").write_text("\n".join(['[workspace]\nname = "t"', *table, ""]))
    home = root / "home/.config/mlbuild"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(own)
    return load(str(root), environ={"HOME": str(root / "home"), **(env or {})}, flags={})


def read(config: Config) -> Server:
    return server_of(config.executors["grid"], config)


def test_a_table_says_where_and_how(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        'url = "grpc://localhost:8980/ml"',
        "hermetic = false",
        "slots = 12",
        'gpus = ["A100", "A100"]',
        "[executors.grid.platform]",
        'pool = "big"',
    )

    server = read(config)

    assert (server.address.target, server.address.instance) == ("localhost:8980", "ml")
    assert (server.hermetic, server.slots, server.platform) == (False, 12, {"pool": "big"})
    assert [gpu.name for gpu in server.gpus] == ["A100", "A100"]
    assert len({gpu.uuid for gpu in server.gpus}) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "http://x:1"', "`executors.grid.url` is an address like `grpc://host:port`"),
        ("hermetic = true", "lacks its `url`"),
        ('url = "grpc://localhost:1"\ntools = "mine"', "`executors.grid.tools` is "),
        ('url = "grpc://localhost:1"\nretries = -1', "is at least 0, not -1"),
        ('url = "grpc://localhost:1"\nplatform = "linux"', "is a table of properties"),
        (
            'url = "grpc://localhost:1"\nplatform = {cores = 4}',
            "takes texts, and `cores` is the number 4",
        ),
        ('url = "grpc://localhost:1"\ngpus = 2', "lists the GPUs of the workers"),
        ('url = "grpc://localhost:1"\nplatforms = {}', "`platforms` is no key"),
        ('url = "grpc://localhost:1"\ntoken = "s3cret"', "belongs in your own settings"),
    ],
)
def test_what_cannot_be_meant_is_named(tmp_path: Path, line: str, said: str) -> None:
    config = configured(tmp_path, line)

    with pytest.raises(InputError) as error:
        read(config)

    assert said in error.value.message
    assert error.value.span is not None
    assert "s3cret" not in repr(config)


def test_a_token_of_the_users_own_goes_to_the_users_own_server(tmp_path: Path) -> None:
    own = '[executors.grid]\nkind = "reapi"\nurl = "grpcs://grid.example.org"\ntoken = "s3cret"\n'

    server = read(configured(tmp_path, own=own))

    assert server.access.token == "s3cret"  # noqa: S105 - of no one
    assert "s3cret" not in repr(server)


def test_a_server_that_is_the_shared_cache_is_entered_in_the_same_way(tmp_path: Path) -> None:
    own = '[cache]\nurl = "grpcs://grid.example.org/cache"\ntoken = "s3cret"\n'

    same = read(configured(tmp_path, 'url = "grpcs://grid.example.org/jobs"', own=own))
    other = read(configured(tmp_path, 'url = "grpcs://elsewhere.example.org"', own=own))

    assert (same.access.token, other.access.token) == ("s3cret", "")


def test_a_property_of_nothing_is_named() -> None:
    with pytest.raises(InputError, match=r"names `\{gpu_count\}`, which is nothing"):
        properties({"gpus": "{gpu_count}"}, shell("true"), name="grid")
