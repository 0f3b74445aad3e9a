"""Fitness: whether a machine gives the result that an order is for, and has room for it."""

from dataclasses import replace

from mlbuild import __version__
from mlbuild.errors import HostError
from mlbuild.exec.host import platform_id
from mlbuild.exec.numerics import cpu_class
from mlbuild.remote.machine.site import Site
from mlbuild.remote.order import Order
from mlbuild.remote.outage import Outage, full_disk


def check(order: Order, site: Site) -> None:
    """Raise HostError where this machine would give another result, or never has room for it.

    Raises Outage where it has no room now.
    """
    host = site.host
    if order.mlbuild != __version__:
        older = host if _numbers(__version__) < _numbers(order.mlbuild) else "your machine"
        raise HostError(
            f"`{host}` has mlbuild {__version__}, and this build is of {order.mlbuild}",
            hints=(f"upgrade mlbuild on {older}",),
        )
    ours = platform_id()
    whole = not order.run.root  # an image brings its own distribution and C library
    if ours != order.platform and (
        whole or ours.partition("/")[0] != order.platform.partition("/")[0]
    ):
        raise HostError(
            f"`{host}` is {ours}, and this build is for {order.platform}: "
            "results would not be the same",
            hints=("give the target a container_environment, or use a machine that is alike",),
        )
    if order.numerics and order.numerics != cpu_class():
        raise HostError(
            f"`{host}` computes as {cpu_class()}, and `{order.action.owner}` must repeat to the "
            f"last bit what {order.numerics} gives",
            hints=("build it with a machine of the same class",),
        )
    owner, room = order.action.owner, site.room()
    # More CPUs than there are only take longer: who submits has said so where it is too many.
    if lack := replace(room, cpus=0).lack(order.run):
        raise HostError(f"`{owner}` {lack}")
    if shortage := room.shortage(order.run):  # which may be over soon
        raise Outage(f"`{owner}` {shortage}", hints=full_disk(host).hints)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
