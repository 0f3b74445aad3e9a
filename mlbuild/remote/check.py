"""Check: each link of the chain to another machine, and whether it holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from mlbuild import __version__
from mlbuild.errors import MlbuildError
from mlbuild.exec.host import platform_id
from mlbuild.remote.elsewhere import Elsewhere
from mlbuild.remote.facts import Facts

GIB = 1 << 30
LITTLE = 10 * GIB  # bytes free


@dataclass(frozen=True, slots=True)
class Checked:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str
    status: Literal["ok", "note", "bad"]
    text: str
    cure: str = ""


@runtime_checkable
class Linked(Protocol):
    """What an Executor may also have: it looks at its own links."""

    def links(self) -> Iterator[Checked]:
        """Yield the links one by one; after one that is broken there are no others."""
        ...


def links_of(executor: object) -> Iterator[Checked] | None:
    """Return the links of an executor; None for one that cannot be looked at."""
    if isinstance(executor, Linked):
        return executor.links()
    return links(executor) if isinstance(executor, Elsewhere) else None


def links(executor: Elsewhere) -> Iterator[Checked]:
    """Yield the links one by one; after one that is broken there are no others."""
    try:
        facts = executor.facts()
    except MlbuildError as error:
        yield Checked("connection", "bad", error.message, "; ".join(error.hints))
        return
    yield Checked("connection", "ok", f"`{executor.where}` answers: it calls itself {facts.host}")
    looks: tuple[Callable[[], Checked], ...] = (
        lambda: Checked("runner", "ok", f"mlbuild {__version__} with Python {facts.python}"),
        lambda: _platform(facts),
        lambda: _sandbox(executor),
        lambda: _docker(executor),
        lambda: _gpu(executor),
        lambda: _disk(facts),
    )
    for look in looks:
        try:
            yield look()
        except MlbuildError as error:
            yield Checked("connection", "bad", error.message, "; ".join(error.hints))
            return


def _platform(facts: Facts) -> Checked:
    if facts.platform == platform_id():
        text = f"{facts.platform}, as here; {facts.cpus} CPUs, {facts.memory / GIB:.0f} GiB"
        return Checked("platform", "ok", text)
    return Checked(
        "platform",
        "bad",
        f"it is {facts.platform}, and here is {platform_id()}: results would not be the same",
        "give targets a container_environment, or use a machine that is alike",
    )


def _sandbox(executor: Elsewhere) -> Checked:
    version, why_not = executor.insides()["sandbox"]
    if why_not:
        return Checked("sandbox", "bad", str(why_not), "there: apt-get install bubblewrap")
    return Checked("sandbox", "ok", f"{version} works")


def _docker(executor: Elsewhere) -> Checked:
    version, why_not = executor.insides()["docker"]
    if why_not:
        return Checked("docker", "note", f"{why_not}: images run in the sandbox")
    return Checked("docker", "ok", f"engine {version}")


def _gpu(executor: Elsewhere) -> Checked:
    found = executor.gpus()
    if found:
        return Checked("gpu", "ok", "; ".join(map(str, found)))
    return Checked("gpu", "note", "no GPU of NVIDIA is there (nvidia-smi finds none)")


def _disk(facts: Facts) -> Checked:
    text = f"{facts.free / GIB:.1f} GiB free for the store at {facts.store}"
    if facts.free < LITTLE:
        return Checked("disk", "note", text, "there: `mlbuild cache gc`, or set `cache_dir`")
    return Checked("disk", "ok", text)
