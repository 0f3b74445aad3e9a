"""The executor of `kind = "ssh"`: its table, and what it is made of."""

from collections.abc import Callable
from os.path import join

from mlbuild.config import Config
from mlbuild.core.digest import digest_of
from mlbuild.remote.elsewhere import Elsewhere, Way
from mlbuild.remote.jobs.book import book_of
from mlbuild.remote.options import Options
from mlbuild.remote.ssh.client import Remote, Ssh, host_fault
from mlbuild.remote.terms import INSIDES, Terms
from mlbuild.settings_file import NamedExecutor
from mlbuild.sharing import url_fault

RETRIES = 2


def open_ssh(described: NamedExecutor, config: Config, *, say: Callable[[str], None]) -> Elsewhere:
    """Return the executor that a table of the kind `ssh` says; nothing is asked of its host yet."""
    options = Options(described)
    host = options.needed("host", "gpu1")
    if fault := host_fault(host):
        raise options.fault("host", fault)
    remote = Remote(host, options.value("python", ""), options.value("cache_dir", ""))
    for name, value in (("python", remote.python), ("cache_dir", remote.root)):
        if not value.isprintable() or {"!", "\\"} & set(value) or (value and value[0] not in "/~"):
            raise options.fault(name, f"is an absolute path there, not `{value}`")
    slots = options.number("slots", 0, least=1)
    if not slots and config.origin("build.jobs") != "default":
        slots = config.jobs
    store = options.value("store", "")
    if store and (fault := url_fault(store)):
        raise options.fault("store", fault)
    terms = Terms(slots, options.choice("inside", INSIDES), store)
    retries = options.number("retries", RETRIES, least=0)
    options.close()
    if terms.inside == "process":
        say(
            f"actions run as plain processes on `{host}`, "
            "so results are marked `hermetic: false` and never shared"
        )
    place = f"{host}\0{remote.root}\0{store}".encode()
    folder = join(config.cache_dir, "remote", digest_of(place).hash[:16])
    most = slots or config.jobs
    way = Way(
        described.name,
        host,
        terms,
        retries,
        memo=join(folder, "known"),
        jobs=most + max(2, most // 2),  # so that the next ones are there when a slot gets free
        book=book_of(config),
    )
    return Elsewhere(way, Ssh(remote, folder=folder, environ=config.environ).connect)
