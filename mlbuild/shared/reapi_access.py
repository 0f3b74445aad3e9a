"""Access: where a cache server is, and what lets one in."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mlbuild.errors import InputError

_LOCAL = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Access:
    """How one gets into a server: all of it from the user's own settings. Files are PEM."""

    tls_ca: str = ""  # path; "" for the certificates that gRPC brings
    tls_cert: str = ""
    tls_key: str = ""
    token: str = field(default="", repr=False)
    headers: tuple[str, ...] = field(default=(), repr=False)  # `name: value`


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: `grpc[s]://host:port[/instance]`."""

    target: str  # host:port
    host: str
    instance: str
    secure: bool


def parsed(url: str) -> Address:
    """Return the Address that `url` stands for; raise InputError for what is none."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "grpcs" else None)
    except ValueError as error:
        raise InputError(f"`{url}` has no valid port") from error
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "the URL of a cache server holds no names or passwords",
            hints=("set `cache.token` or `cache.headers` in your own settings",),
        )
    if parts.scheme not in {"grpc", "grpcs"} or not parts.hostname or port is None:
        raise InputError(
            f"`{url}` is no address of a cache server",
            hints=("write `grpc://host:port/instance` or `grpcs://host/instance`",),
        )
    if parts.query or parts.fragment:
        raise InputError(f"`{url}` has more than a host, a port and an instance")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(f"{host}:{port}", parts.hostname, parts.path.strip("/"), parts.scheme == "grpcs")


def check(address: Address, access: Access) -> None:
    """Refuse to send secrets in the clear."""
    secret = access.token or access.headers
    if secret and not address.secure and address.host not in _LOCAL:
        raise InputError(
            f"`grpc://{address.target}` would carry your token in the clear",
            hints=(f"use `grpcs://{address.target}`",),
        )
