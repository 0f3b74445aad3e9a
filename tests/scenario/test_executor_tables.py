"""What `[executors.NAME]` says: shown, checked, and whether this host may stand in for another."""

import json
from pathlib import Path

import pytest

from tests import ssh
from tests.far import led
from tests.harness import REPOSITORY, Build

NOBODY = "ssh://root@127.0.0.1:1"  # no server listens on this port
HEAD = '[workspace]\nname = "test"\n'


def table(build: Build, *lines: str) -> Build:
    """Have a workspace describe the executor `gpubox`."""
    return build.file("mlbuild.toml", HEAD + "\n".join(("[executors.gpubox]", *lines)) + "\n")


@pytest.mark.parametrize(
    "lines",
    [
        ('kind = "ssh"', f'host = "{NOBODY}"'),
        ('kind = "slurm"', f'host = "{NOBODY}"'),
        ('kind = "reapi"', 'url = "grpc://127.0.0.1:1"'),
    ],
)
def test_a_build_falls_back_to_this_host_where_that_is_asked_for(
    build: Build, lines: tuple[str, ...]
) -> None:
    table(build, *lines, "fallback = true").genrule("up", "echo up")

    done = build("//:up", "--executor", "gpubox")

    assert done.ran == ["//:up"]
    assert done.stderr.count("warning: actions run here: ") == 1
    assert "cannot be reached" in done.stderr
    result = json.loads(build.run("describe", "//:up", "--json").stdout)["result"]
    assert result["executor"] in {"sandbox", "process"}


def test_a_build_never_falls_back_by_itself(build: Build) -> None:
    table(build, 'kind = "ssh"', f'host = "{NOBODY}"', "retries = 0").genrule("up", "echo up")

    done = build("//:up", "--executor", "gpubox", code=36)

    assert done.failed == ["//:up"]
    assert "cannot be reached" in done.stderr
    assert "again: mlbuild //:up --executor gpubox" in done.stderr


def test_a_host_that_answers_is_used_and_one_that_refuses_is_an_error(
    build: Build, far_host: ssh.Host, tmp_path: Path
) -> None:
    led(build, far_host, "fallback = true").genrule("up", "echo up")
    there = build("//:up")
    build.edit("BUILD.ml", "echo up", "echo again")
    lost = tmp_path / "known_hosts"
    place = build.root / "bin" / "ssh"
    called = (far_host.bin / "ssh").read_text()
    strange = f"-oUserKnownHostsFile={lost} -oControlPath=none"
    build.file("bin/ssh", called.replace('"$@"', f'{strange} "$@"', 1))
    place.chmod(0o755)
    build.env["PATH"] = f"{place.parent}:{build.env['PATH']}"

    refused = build.run("build", *build.flags, "//:up")

    assert "//:up  genrule  ran on gpubox in" in there.stderr
    assert "ran" not in refused.stdout
    assert refused.code != 0
    assert "host key" in refused.stderr


def test_an_executor_that_cannot_tell_takes_no_fallback(build: Build, tmp_path: Path) -> None:
    (tmp_path / "blind-1.0.dist-info").mkdir()
    (tmp_path / "blind-1.0.dist-info" / "METADATA").write_text("Name: blind\nVersion: 1.0\n")
    (tmp_path / "blind-1.0.dist-info" / "entry_points.txt").write_text(
        "[mlbuild.executors]\nblind = blind:open_blind\n"
    )
    (tmp_path / "blind.py").write_text(
        "from mlbuild.exec.process import Process\n"
        "def open_blind(described, config, *, say):\n    return Process()\n"
    )
    build.env["PYTHONPATH"] = f"{tmp_path}:{REPOSITORY}"
    table(build, 'kind = "blind"', "fallback = true").genrule("up", "echo up")

    done = build.run("build", "--executor", "gpubox", "//:up")

    assert done.code == 2
    assert "an executor of the kind `blind` takes no `fallback`" in done.stderr


def test_config_shows_executors_without_their_secrets(build: Build) -> None:
    lines = ('kind = "ssh"', 'host = "gpu1"', 'headers = ["x-key: hidden-a"]', 'token = "hidden-b"')
    table(build, *lines, 'odd = "https://me:hidden-c@example.org"', "fallback = true")

    shown = build.run("config").stdout
    told = json.loads(build.run("config", "--json").stdout)

    assert told["executors.gpubox.host"] == {"value": "gpu1", "origin": "mlbuild.toml"}
    assert told["executors.gpubox.fallback"]["value"] is True
    assert "executors.gpubox.kind" in shown
    assert "hidden" not in shown
    assert "hidden" not in json.dumps(told)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('hots = "gpu1"', "did you mean `host`?"),
        ('host = "gpu1"\nfallbak = true', "did you mean `fallback`?"),
    ],
)
def test_a_key_that_is_nearly_one_is_told_what_it_may_be(
    build: Build, line: str, said: str
) -> None:
    table(build, 'kind = "ssh"', line).genrule("up", "echo up")

    done = build.run("build", "--executor", "gpubox", "//:up")

    assert done.code == 2
    assert said in done.stderr
    assert "mlbuild.toml:" in done.stderr
