"""The executor of `kind = "reapi"`: its table, and what it is made of.

It needs the extra `mlbuild[reapi]`.
"""

from collections.abc import Callable
from os.path import join

from mlbuild.config import Config
from mlbuild.errors import HostError
from mlbuild.exec.base import Executor
from mlbuild.exec.bubblewrap import Bubblewrap
from mlbuild.remote.jobs.book import book_of
from mlbuild.remote.reapi.server import server_of
from mlbuild.settings_file import NamedExecutor

_VENDORS = {"grpc", "google"}


def open_reapi_executor(
    described: NamedExecutor, config: Config, *, say: Callable[[str], None]
) -> Executor:
    """Return the executor that a table of the kind `reapi` says; its server is not asked yet."""
    server = server_of(described, config)
    try:
        from mlbuild.remote.reapi.executor import Reapi  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _VENDORS:
            raise
        raise HostError(
            f"the executor `{server.name}` needs packages that are not installed",
            hints=("run `pip install 'mlbuild[reapi]'`",),
        ) from error
    if not server.hermetic:
        say(
            f"workers of `{server.name}` may show actions more than their inputs, "
            "so results are marked `hermetic: false` and never shared"
        )
    here = Bubblewrap(join(config.cache_dir, "sandbox")) if server.network == "here" else None
    folder = join(config.cache_dir, "remote", "reapi")
    return Reapi(server, folder=folder, jobs=config.jobs, here=here, book=book_of(config))
