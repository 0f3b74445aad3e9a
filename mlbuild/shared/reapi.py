"""The door to caches that speak the Remote Execution API: `grpc://…` and `grpcs://…`.

Bazel's cache servers serve as they are. It needs the extra `mlbuild[reapi]`.
"""

from collections.abc import Callable, Sequence

from mlbuild.errors import HostError
from mlbuild.shared.base import Shared
from mlbuild.shared.entry import Judge, Signer
from mlbuild.shared.layout import MAIN, checked_scope
from mlbuild.shared.reapi_access import Access, parsed

PATIENCE = 60.0  # seconds without progress
_VENDORS = {"grpc", "google"}


def open_reapi(
    url: str,
    *,
    access: Access | None = None,
    scope: str = MAIN,
    read_scopes: Sequence[str] = (),
    signer: Signer | None = None,
    judge: Judge | None = None,
    report: Callable[[str, bytes, str], None] | None = None,
    patience: float = PATIENCE,
) -> Shared:
    """Return the cache at `grpc[s]://host:port[/instance]`; nothing is asked of it yet.

    `read_scopes` are looked through in this order; without any: the own scope, then `main`.
    `report` hears of all bytes that were wrong: their name, the bytes, what is wrong with them.
    Raises InputError for an address that is none, HostError when the extra is not installed.
    """
    address = parsed(url)
    try:
        from mlbuild.shared.reapi_cache import ReapiCache  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _VENDORS:
            raise
        raise HostError(
            f"the shared cache `{url}` needs packages that are not installed",
            hints=("run `pip install 'mlbuild[reapi]'`",),
        ) from error
    wanted = [checked_scope(one) for one in read_scopes or (scope, MAIN)]
    return ReapiCache(
        address,
        access or Access(),
        scope=checked_scope(scope),
        read_scopes=tuple(dict.fromkeys(wanted)),
        signer=signer,
        judge=judge,
        report=report or _unheard,
        patience=patience,
    )


def _unheard(_name: str, _content: bytes, _why: str) -> None:
    """Tell nobody."""
