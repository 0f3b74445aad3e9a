"""Server: what `[executors.NAME]` with `kind = "reapi"` says of a server that executes actions."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mlbuild.config import Config
from mlbuild.errors import InputError
from mlbuild.exec.base import Gpu
from mlbuild.remote.options import Options
from mlbuild.settings import described as in_words
from mlbuild.settings_file import NamedExecutor
from mlbuild.shared.reapi_access import Access, Address, check, parsed

RETRIES = 2
PATIENCE = 60  # seconds
_TOOLS = ("shipped", "worker")
_NETWORK = ("worker", "here")
_SECRETS = ("tls_ca", "tls_cert", "tls_key", "token", "headers")
_TABLES = ("platform", "gpus", "headers")  # which hold more than one value
_OURS = "mlbuild.toml"  # the workspace's file, which others may read


@dataclass(frozen=True, slots=True)
class Server:
    """Where actions are executed, and how."""

    name: str  # of the executor
    address: Address
    access: Access = field(default_factory=Access)
    platform: Mapping[str, str] = field(default_factory=dict)  # properties; values are templates
    gpus: tuple[Gpu, ...] = ()  # that its workers have, as far as somebody said so
    hermetic: bool = True  # workers show an action its input root, their system and nothing else
    tools: str = "shipped"  # where host tools come from: "shipped" with the inputs, or "worker"
    network: str = "worker"  # where actions run that use the network: there, or "here"
    images: bool = False  # workers show nothing over the input root, so that it may be an image
    server_cache: bool = False  # whether the server may answer from its own action cache
    retries: int = RETRIES  # after failures of the server or of a worker
    patience: float = PATIENCE  # seconds without a sign of life after which it is asked again
    slots: int = 0  # CPUs whose actions may be under way together; 0: as on this host


def server_of(named: NamedExecutor, config: Config) -> Server:
    """Return the server that a table describes; raise InputError for what cannot be meant."""
    plain = {name: value for name, value in named.options.items() if name not in _TABLES}
    options = Options(replace(named, options=plain))
    url = options.needed("url", "grpc://host:port")
    try:
        address = parsed(url)
    except InputError as error:
        raise options.fault(
            "url", f"is an address like `grpc://host:port`: {error.message}"
        ) from error
    access = _access(named, options)
    if access == Access() and config.sharing.url:
        access = _of_cache(address, config)
    check(address, access)
    server = Server(
        named.name,
        address,
        access,
        _platform(named, options),
        _gpus(named, options),
        options.value("hermetic", True),
        options.choice("tools", _TOOLS),
        options.choice("network", _NETWORK),
        options.value("images", False),
        options.value("server_cache", False),
        options.number("retries", RETRIES, least=0),
        options.number("patience", PATIENCE, least=1),
        options.number("slots", 0, least=1),
    )
    options.close()
    return server


def _access(named: NamedExecutor, options: Options) -> Access:
    """Return what lets one in, which belongs in the user's own file."""
    for name in _SECRETS:
        span = named.spans.get(name)
        if name in named.options and span is not None and span.path == _OURS:
            raise InputError(
                f"`executors.{named.name}.{name}` belongs in your own settings",
                span=span,
                hints=("write the whole table into `~/.config/mlbuild/config.toml`",),
            )
    headers = named.options.get("headers", [])
    if not isinstance(headers, list) or not all(isinstance(one, str) for one in headers):
        raise options.fault("headers", 'takes a list of texts such as `["name: value"]`')
    texts = {name: options.value(name, "") for name in _SECRETS if name != "headers"}
    return Access(**texts, headers=tuple(headers))


def _of_cache(address: Address, config: Config) -> Access:
    """Return what lets one into the shared cache, where that is the same server."""
    sharing = config.sharing
    if not sharing.url.startswith("grpc") or parsed(sharing.url).target != address.target:
        return Access()
    return Access(sharing.tls_ca, sharing.tls_cert, sharing.tls_key, sharing.token, sharing.headers)


def _platform(named: NamedExecutor, options: Options) -> dict[str, str]:
    found = named.options.get("platform", {})
    if not isinstance(found, Mapping):
        raise options.fault("platform", f"is a table of properties, not {in_words(found)}")
    for name, value in found.items():
        if not isinstance(value, str):
            raise options.fault("platform", f"takes texts, and `{name}` is {in_words(value)}")
    return dict(found)


def _gpus(named: NamedExecutor, options: Options) -> tuple[Gpu, ...]:
    """Return the GPUs that a list of their names describes, one by one."""
    found = named.options.get("gpus", [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise options.fault("gpus", 'lists the GPUs of the workers, such as `["NVIDIA A100"]`')
    return tuple(Gpu(f"{named.name}-{at}", name) for at, name in enumerate(found))
