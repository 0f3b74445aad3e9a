"""Words of users on their way to another host: none becomes a command, an option or a leak."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlbuild.remote.ssh.client import host_fault
from tests import far
from tests.far import PLAIN, OddHost, led, until
from tests.harness import Build

CANARY = "c4n4ry-0f-th1s-t3st"
LISTENS = "0A"  # state of a socket in /proc/net/tcp
NASTY = (
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "-oProxyCommand=touch pwned",
    "' \" \\ \n \t | & > < * ? ~ # ! {a,b}",
    "ü 日本 \u202e \x7f",
    "x" * 100_000,
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OddHost]:
    yield from far.odd_host(tmp_path_factory.mktemp("input") / "host")


@pytest.fixture
def away(build: Build, odd: OddHost) -> Iterator[Build]:
    yield led(build, odd.host, "retries = 0")
    odd.says(PLAIN)


@pytest.mark.parametrize(
    "name",
    [
        *("-oProxyCommand=x", "ssh://-oProxyCommand=x", "-l", "ana@-x", "ssh://ana@-x"),
        *("a b", "a\nb", "a;b", "$(x)", "`x`", "a|b", "a'b", 'a"b', "", "x" * 300, "ü", "a\0b"),
    ],
)
def test_an_option_or_a_command_is_no_host(name: str) -> None:
    assert host_fault(name).startswith("is a host as `ssh` takes it")


@pytest.mark.parametrize(
    ("name", "shell"), [("python", "sh"), ("python", "fish"), ("cache_dir", "zsh")]
)
def test_a_path_there_runs_nothing(
    build: Build, odd: OddHost, tmp_path: Path, name: str, shell: str
) -> None:
    mark = tmp_path / "pwned"
    odd.says(f'exec {shell} -c "$SSH_ORIGINAL_COMMAND"\n')
    led(
        build, odd.host, f"""{name} = "{tmp_path}/$(touch {mark})`touch {mark}`';touch {mark};'" """
    )

    done = build.run("doctor", "--executor", "gpubox", "--json")
    odd.says(PLAIN)

    assert not mark.exists()
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["findings"]


def test_a_backslash_which_fish_would_take_is_refused(build: Build, odd: OddHost) -> None:
    led(build, odd.host, """python = '/x\\'""")

    done = build.run("doctor", "--executor", "gpubox")

    assert done.code == 2
    assert "is an absolute path there" in done.stderr


def test_words_and_names_arrive_as_they_are(away: Build, tmp_path: Path) -> None:
    away.file(
        "say.py",
        "import json, os, sys\n"
        "out = os.fsencode(sys.argv[1])\n"
        "os.mkdir(out)\n"
        "context = json.load(open(os.environ['MLBUILD_CONTEXT']))\n"
        "words = [*context['params']['words'], *sys.argv[2:], os.environ['NASTY']]\n"
        "open(out + b'/words', 'w').write(json.dumps(words))\n"
        "names = (b'-rf', b'a b', b'new\\nline', b'$(x)', b'\\xff\\xfe', b\"'\", b'\\xc3\\xbc')\n"
        "for name in names:\n"
        "    open(out + b'/' + name, 'wb').write(name)\n",
    )
    words = [word for word in NASTY if "$(" not in word]
    away.file(
        "BUILD.ml",
        f'process(name = "it", script = "say.py", params = {{"words": {json.dumps(NASTY)}}},\n'
        f'  env = {{"NASTY": {json.dumps(words[3])}}},\n'
        f'  args = ["$(output o)"] + {json.dumps(words)}, out_trees = ["o"])\n',
    )
    local = away.copy(tmp_path / "local", cache=tmp_path / "cache-local")
    local.flags.clear()

    away("//:it")
    local("//:it")

    here, there = (
        {name: (Path(os.fsdecode(place)) / os.fsdecode(name)).read_bytes() for name in names}
        for place in (os.fsencode(b.root / "mlbuild-out" / "it" / "o") for b in (local, away))
        for names in [os.listdir(place)]
    )
    assert len(here) == 8
    assert here == there
    assert json.loads(there[b"words"])[: len(NASTY)] == list(NASTY)


def ours(odd: OddHost) -> list[Path]:
    """Return the processes, on both sides, that know the host's folder."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if (
                place.name.isdigit()
                and str(odd.folder).encode() in (place / "environ").read_bytes()
            ):
                found.append(place)
        except OSError:
            continue
    return found


def listening(processes: list[Path]) -> set[str]:
    """Return the sockets of these processes that wait for strangers."""
    held = set()
    for place in processes:
        try:
            held |= {os.readlink(fd) for fd in (place / "fd").iterdir()}
        except OSError:
            continue
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == LISTENS and f"socket:[{row[9]}]" in held}


def told(place: Path) -> bytes:
    try:
        return (place / "cmdline").read_bytes()
    except OSError:
        return b""


def test_secrets_stay_where_they_are_needed_and_no_port_is_opened(
    away: Build, odd: OddHost
) -> None:
    away.env |= {
        "HTTPS_PROXY": f"http://ana:{CANARY}@proxy",
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "MLBUILD_CACHE_TOKEN": CANARY,
        "SSH_AUTH_SOCK": f"/nowhere/{CANARY}",
    }
    odd.says(f"umask 0\n{PLAIN}")
    away.file(
        "proxied.bzl",
        "def _impl(ctx):\n"
        '    out = ctx.file("o.txt")\n'
        '    cmd = "echo begun; test -n \\"$HTTPS_PROXY\\" && echo PROXY > $0; sleep 3"\n'
        '    ctx.run(argv = ["/bin/sh", "-c", cmd, out], outputs = [out], network = True,\n'
        '            caller_env = ["*_PROXY"])\n'
        "    return struct(files = [out])\n"
        "proxied = rule(implementation = _impl, attrs = {})\n",
    )
    away.file("BUILD.ml", 'load("proxied.bzl", "proxied")\nproxied(name = "net")\n')

    client = away.start("build", *away.flags, "//:net")
    until(lambda: "begun" in far.log_of(away), "the action")
    running = ours(odd)
    ports, words = listening(running), [told(place) for place in running]
    _, stderr = client.communicate(timeout=far.PATIENCE)

    assert client.returncode == 0, stderr
    assert away.output("net/o.txt") == "PROXY\n"
    assert len(running) >= 3
    assert ports == set()
    assert not [one for one in words if CANARY.encode() in one]
    places = (odd.folder, away.cache, away.root)
    kept = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert not [path for path in kept if CANARY.encode() in path.read_bytes()]
    open_to_others = [
        path
        for path in (odd.store, *odd.caches.glob("mlbuild/runners/*"))
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_to_others == []


def test_nothing_is_left_on_the_host_after_a_build(away: Build, odd: OddHost) -> None:
    (odd.folder / "own").mkdir()
    odd.says(f"export TMPDIR={odd.folder}/own\n{PLAIN}")
    away.genrule("one", "cat")

    away("//:one")

    scratch = [path for path in (odd.store / "tmp").iterdir() if path.is_dir()]
    locks = [path.name for path in (odd.store / "locks").iterdir()]
    assert scratch == []
    assert [name for name in locks if name.startswith("slot-")] == []
    assert list((odd.folder / "own").iterdir()) == []
