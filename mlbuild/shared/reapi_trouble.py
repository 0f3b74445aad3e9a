"""What a cache server's status codes mean to a user: the kind of trouble, a sentence, a cure."""

from mlbuild.shared.base import SharedTrouble

# By number, as they stand in the answers for single blobs.
CODES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
NOT_FOUND = CODES.index("NOT_FOUND")
_FAILED = {"UNKNOWN", "ABORTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
_SLOW = {"DEADLINE_EXCEEDED", "CANCELLED"}
_NO_UPDATES = {"UNIMPLEMENTED", "FAILED_PRECONDITION"}
_REFUSED = "Failed to connect to remote host"
_SHOWN = 200  # characters of a server's own words that are shown
_RIGHTS = {
    "GetActionResult": "to read the action cache",
    "UpdateActionResult": "to write the action cache",
    "FindMissingBlobs": "to read the content-addressable storage",
    "BatchReadBlobs": "to read the content-addressable storage",
    "Read": "to read the content-addressable storage",
    "BatchUpdateBlobs": "to write the content-addressable storage",
    "Write": "to write the content-addressable storage",
}


def trouble(code: str, details: str, *, method: str, server: str) -> SharedTrouble:
    """Return the trouble that the status `code` of `method` is, with the server's words."""
    said = _plain(details)
    if code == "UNAUTHENTICATED":
        return SharedTrouble(
            "denied",
            f"the cache server `{server}` does not know who you are ({method}: {said})",
            cure="set `cache.token`, `cache.headers` or `cache.tls_cert`; a token may have expired",
        )
    if code == "PERMISSION_DENIED":
        return SharedTrouble(
            "denied",
            f"the cache server `{server}` denies {method} ({said})",
            cure=f"ask for the right {_RIGHTS.get(method, f'to call {method}')}",
        )
    if code == "UNAVAILABLE" and _distrusted(details):
        return SharedTrouble(
            "refused",
            f"no secure connection to the cache server `{server}`: {said}",
            cure="set `cache.tls_ca` to the file of the certificates that vouch for it",
        )
    if method == "UpdateActionResult" and code in _NO_UPDATES:
        return readonly(server)
    if code == "RESOURCE_EXHAUSTED" and "larger than max" not in details:
        return SharedTrouble(
            "full",
            f"the cache server `{server}` has no room or too many requests ({said})",
            cure="raise its quota, or ask who runs it",
        )
    if code in _SLOW:
        return SharedTrouble(
            "slow",
            f"the cache server `{server}` did not answer {method} in time",
            cure="check the network and the load of the server",
        )
    if code in _FAILED:
        what = "cannot be reached" if code == "UNAVAILABLE" else f"failed at {method}"
        return SharedTrouble(
            "unreachable",
            f"the cache server `{server}` {what} ({said})",
            cure="check `cache.url`, the network, and that the server runs",
        )
    return _refused(code, said, method=method, server=server)


def _refused(code: str, said: str, *, method: str, server: str) -> SharedTrouble:
    """Return the trouble of a request that makes no sense to the server."""
    if code == "UNIMPLEMENTED":
        return SharedTrouble(
            "refused",
            f"the server `{server}` does not know {method}; it is no REAPI cache",
            cure="check the host, the port and the instance in `cache.url`",
        )
    cure = ""
    if "instance" in said.lower():
        cure = "check the instance, which is the path in `cache.url`"
    return SharedTrouble(
        "refused", f"the cache server `{server}` refuses {method} ({code}: {said})", cure=cure
    )


def readonly(server: str) -> SharedTrouble:
    """Return the trouble of a server whose action cache takes nothing from clients."""
    return SharedTrouble(
        "readonly",
        f"the cache server `{server}` has no ActionCache updates: it takes no results from you",
        cure='set `cache.write = "never"`, or let the server accept updates of its action cache',
    )


def damaged(server: str, what: str) -> SharedTrouble:
    """Return the trouble of wrong bytes."""
    return SharedTrouble(
        "damaged",
        f"the cache server `{server}` sent wrong bytes: {what}",
        cure="tell who runs it; what it sends is not used",
    )


def _distrusted(details: str) -> bool:
    words = details.lower()
    return any(word in words for word in ("handshake", "certificate", "ssl_error", "tls"))


def _plain(details: str) -> str:
    """Return a server's words in one short printable line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in details).split())
    if _REFUSED in line:
        line = line.rpartition(": ")[2]  # what the system says, without how grpc came to ask it
    return line[:_SHOWN] or "no reason given"
