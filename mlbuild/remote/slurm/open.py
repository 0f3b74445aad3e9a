"""The executor of `kind = "slurm"`: its table, and what it is made of."""

from collections.abc import Callable, Iterator, Mapping
from os.path import join
from typing import Any

from mlbuild.config import Config
from mlbuild.core.digest import digest_of
from mlbuild.exec.base import Gpu
from mlbuild.exec.room import Room
from mlbuild.remote.check import Checked
from mlbuild.remote.elsewhere import Elsewhere, Way
from mlbuild.remote.jobs.book import book_of
from mlbuild.remote.link.link import Link
from mlbuild.remote.options import Options
from mlbuild.remote.outage import Outage
from mlbuild.remote.slurm.check import UP, links
from mlbuild.remote.slurm.near import Near
from mlbuild.remote.slurm.pools import Pool, gpus_in, meant, pool_from
from mlbuild.remote.slurm.wanted import Wanted, wanted_of
from mlbuild.remote.ssh.client import Remote, Ssh, host_fault
from mlbuild.remote.ssh.open import RETRIES
from mlbuild.remote.terms import INSIDES, Terms
from mlbuild.settings_file import NamedExecutor
from mlbuild.sharing import url_fault

JOBS = 100  # that may be in Slurm together


class Slurm(Elsewhere):
    """An executor whose jobs Slurm schedules; the machine of its links hands them in."""

    def __init__(self, way: Way, connect: Callable[[], Link], *, wanted: Wanted) -> None:
        super().__init__(way, connect)
        self._wanted = wanted
        self._engine: Mapping[str, Any] | None = None

    def engine(self) -> Mapping[str, Any]:
        """Return what Slurm is, in words: `version`, `ping`, and its `pools`; asked for once."""
        if self._engine is None:
            with self._session() as session:
                words = {"starter": dict(self._way.starter)}
                self._engine = session.link.ask("engine", words)[0]
        return self._engine

    def pools(self) -> tuple[Pool, ...]:
        """Return the nodes that jobs may get."""
        found = tuple(pool_from(one) for one in self.engine()["pools"])
        wanted = self._wanted
        spot = meant(found, wanted.spot_partition) if wanted.spot_partition else ()
        return (*meant(found, wanted.partition), *spot)

    def reach(self) -> None:
        """Connect; raise Outage where Slurm cannot be reached, else HostError."""
        super().reach()
        if UP not in (ping := self.engine()["ping"]):
            raise Outage(f"Slurm takes no jobs now: {ping}", hints=("try `scontrol ping`",))

    def gpus(self) -> tuple[Gpu, ...]:
        """Return the GPUs that one job may get; raise HostError where Slurm does not answer."""
        return gpus_in(self.pools(), names=self._wanted.gres)

    def room(self) -> Room:
        """Return the most that one node has; raise HostError where Slurm does not answer."""
        pools = self.pools()
        cpus = max((one.cpus for one in pools), default=0)
        memory = max((one.memory for one in pools), default=0)
        return Room(f"the largest node of {self.where}", cpus, memory << 20, 0, "")

    def links(self) -> Iterator[Checked]:
        """Yield the links one by one; after one that is broken there are no others."""
        return links(self, engine=self.engine, pools=self.pools, partition=self._wanted.partition)


def open_slurm(described: NamedExecutor, config: Config, *, say: Callable[[str], None]) -> Slurm:
    """Return the executor that a table of the kind `slurm` says; nothing is asked yet."""
    options = Options(described)
    host = options.value("host", "")
    if host and (fault := host_fault(host)):
        raise options.fault("host", fault)
    names = ("python", "cache_dir", "node_cache_dir")
    python, root, node_root = (_place(options, name) for name in names)
    store = options.value("store", "")
    if store and (fault := url_fault(store)):
        raise options.fault("store", fault)
    terms = Terms(0, options.choice("inside", INSIDES), store)
    retries = options.number("retries", RETRIES, least=0)
    jobs = options.number("jobs", JOBS, least=1)
    wanted = wanted_of(options)
    options.close()
    if terms.inside == "process":
        say(
            "actions run as plain processes on nodes of Slurm, "
            "so results are marked `hermetic: false` and never shared"
        )
    where = host or "Slurm"
    place = f"slurm\0{host}\0{root}\0{store}".encode()
    folder = join(config.cache_dir, "remote", digest_of(place).hash[:16])
    way = Way(
        described.name,
        where,
        terms,
        retries,
        memo=join(folder, "known"),
        jobs=jobs,
        starter={
            "kind": "slurm",
            "wanted": wanted.as_dict(),
            "store": store,
            "node_cache_dir": node_root,
        },
        book=book_of(config),
    )
    environ = config.environ
    if host:
        connect = Ssh(Remote(host, python, root), folder=folder, environ=environ).connect
    else:
        connect = Near(where=where, python=python, root=root, environ=environ).connect
    return Slurm(way, connect, wanted=wanted)


def _place(options: Options, name: str) -> str:
    """Return an absolute path of another machine, "" where nothing is said."""
    found = options.value(name, "")
    if not found.isprintable() or "!" in found or (found and found[0] not in "/~"):
        raise options.fault(name, f"is an absolute path there, not `{found}`")
    return found
