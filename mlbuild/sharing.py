"""Sharing: how a run uses the shared cache, and what may stand in its settings."""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlbuild.core.redact import redacted

MAIN = "main"  # the scope that everybody reads
SCHEMES = ("s3", "grpc", "grpcs", "file", "http", "https")
PUBLIC = "mlbuild-ed25519"  # how a public key begins
_KEY_BYTES = 32
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#\s]*)([^\r\n\0]*)")
_OPTION = r"(?!\w*(?:secret|token|key|password))[a-z_]+=[^@&#\s]+"
_OPTIONS = re.compile(rf"{_OPTION}(?:&{_OPTION})*")
_LOCAL = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")
_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
_SCOPE = re.compile(rf"main|(?!main/){_NAME}/{_NAME}")
_KEY = re.compile(rf"{PUBLIC}:([A-Za-z0-9+/]+={{0,2}}):[A-Za-z0-9][A-Za-z0-9._@-]{{0,63}}")
_HEADER = re.compile(r"[A-Za-z0-9-]+:[^\r\n\0]+")


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a run uses the shared cache. Without a `url` it uses none."""

    url: str = ""
    read: bool = True
    write: str = "trusted"  # "never", "trusted", "always"
    upload: str = "background"  # "background", "wait", "off"
    scope: str = MAIN  # that it writes
    trusted_keys: tuple[str, ...] = ()  # whose results count; none: anybody's
    signing_key: str = ""  # absolute path of a private key
    identity: str = ""  # the name under which this machine is declared to be trusted
    tls_ca: str = ""  # absolute paths
    tls_cert: str = ""
    tls_key: str = ""
    token: str = field(default="", repr=False)  # secret
    headers: tuple[str, ...] = field(default=(), repr=False)  # "name: value"; secret

    @property
    def may_write(self) -> bool:
        """Say whether results of this machine may go into the shared cache.

        With `trusted`, only those of a machine that signs them or has a declared identity.
        """
        if self.write == "trusted":
            return bool(self.signing_key or self.identity)
        return self.write == "always"

    @property
    def used(self) -> bool:
        """Say whether there is a shared cache that this run may read or write."""
        return bool(self.url) and (self.read or self.may_write)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes to read from, in this order."""
        return (MAIN,) if self.scope == MAIN else (self.scope, MAIN)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        values = (header.partition(":")[2].strip() for header in self.headers)
        return tuple(secret for secret in (self.token, *values) if secret)


def url_fault(url: str) -> str:
    """Say what is wrong with the place of a shared cache; "" when nothing is."""
    found = _URL.fullmatch(url) if url.isprintable() else None
    if not found or found[1] not in SCHEMES:
        listed = ", ".join(f"`{scheme}://`" for scheme in SCHEMES)
        return f"begins with one of {listed}, not like `{redacted(url)}`"
    scheme, host, path = found.groups()
    if "@" in host:
        return (
            f"holds a name or password: `{redacted(url)}`; "
            "those belong in `cache.headers` or `cache.token`, and for S3 in your AWS settings"
        )
    if (scheme == "file") == bool(host) or (scheme == "file" and not path.startswith("/")):
        wanted = "file:///folder" if scheme == "file" else f"{scheme}://host/path"
        return f"is written like `{wanted}`, not `{url}`"
    path, question, options = path.partition("?")
    if question and (scheme != "s3" or not _OPTIONS.fullmatch(options)):
        return f"takes no such options: `{redacted(url)}`"
    if "#" in url or re.search(r"(?:^|/)\.\.?(?:/|$)", path):
        return f"holds no `#`, `.` or `..`, but this one does: `{redacted(url)}`"
    return ""


def scope_fault(scope: str) -> str:
    """Say what is wrong with a scope; "" when nothing is.

    No scope lies inside another one: what may write one can write no other.
    """
    if _SCOPE.fullmatch(scope):
        return ""
    return f"is `main` or two lower-case names such as `pr/17`, not `{scope}`"


def keys_fault(keys: tuple[str, ...]) -> str:
    """Say what is wrong with a list of public keys; "" when nothing is."""
    for key in keys:
        found = _KEY.fullmatch(key)
        if not found or len(_decoded(found[1])) != _KEY_BYTES:
            shown = redacted(key)
            return f"holds lines of `mlbuild key show`, such as `{PUBLIC}:…:ana`, not `{shown}`"
    return ""


def headers_fault(headers: tuple[str, ...]) -> str:
    """Say what is wrong with a list of headers, without their values; "" when nothing is."""
    if all(_HEADER.fullmatch(header) for header in headers):
        return ""
    return "holds headers written like `name: value`"


def token_fault(token: str) -> str:
    """Say what is wrong with a token, without saying it; "" when nothing is."""
    return "" if token.isascii() and token.isprintable() and " " not in token else "is one word"


def exposed(sharing: Sharing) -> str:
    """Say which secrets would travel unprotected; "" when none would."""
    found = _URL.fullmatch(sharing.url)
    if not found or found[1] not in {"http", "grpc"} or _LOCAL.fullmatch(found[2]):
        return ""
    named = [name for name in ("token", "headers", "tls_key") if getattr(sharing, name)]
    return " and ".join(f"`cache.{name}`" for name in named)


def scope_of(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the scope of this run where none is set, and the variable that tells it.

    Jobs of pull requests have scopes of their own on GitHub and GitLab; all else is `main`.
    """
    if environ.get("GITHUB_EVENT_NAME", "").startswith("pull_request"):
        found = re.fullmatch(r"refs/pull/([0-9]{1,12})/\w+", environ.get("GITHUB_REF", ""))
        run = re.sub(r"[^0-9]", "", environ.get("GITHUB_RUN_ID", ""))[:20] or "0"
        # An event that runs on the base branch names no request: nobody else ever reads its scope.
        return (f"pr/{found[1]}" if found else f"run/{run}"), "GITHUB_EVENT_NAME"
    number = environ.get("CI_MERGE_REQUEST_IID", "")
    if re.fullmatch(r"[0-9]{1,12}", number):
        return f"pr/{number}", "CI_MERGE_REQUEST_IID"
    return MAIN, "default"


def _decoded(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return b""
