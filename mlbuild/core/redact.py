"""Redaction: texts for people and logs, without what must stay secret."""

import re
from collections.abc import Iterable

HIDDEN = "…"
_SHORT = 6  # characters: what is shorter stands in too many innocent words
_NAMES = (
    "x-amz-(?:credential|signature|security-token)|awsaccesskeyid|signature|sig|"
    "(?:[a-z]+_)?token|password|secret|api_?key"
)
_VARIABLE = re.compile(
    r"token(?!iz)|secret|passw|credential|auth(?!or)|keys?(?:_|id|$)", re.IGNORECASE
)
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"([a-z][a-z0-9+.-]*://)[^\s/?#@]+(?:@[^\s/?#@]*)*@", rf"\1{HIDDEN}@"),
        (rf"\b((?:{_NAMES})=)[^&\s\"'`]+", rf"\1{HIDDEN}"),
        (r"\b((?:proxy-)?authorization\b[\"']?\s*[:=]\s*[\"']?).*", rf"\1{HIDDEN}"),
        (r"\b(bearer|basic)\s+[a-z0-9+/._~=-]{8,}", rf"\1 {HIDDEN}"),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b", HIDDEN),
        (r"\bmlbuild-ed25519-private:[A-Za-z0-9+/=]+", f"mlbuild-ed25519-private:{HIDDEN}"),
    )
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without `secrets`, and without what looks like one wherever it comes from.

    That are user names and passwords in URLs, signatures and tokens in queries, headers of
    authorization, access key ids, and private keys of ours.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORT:
            text = text.replace(secret, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def is_secret(name: str, value: str) -> bool:
    """Say whether a variable looks like one that nobody else may keep, by its name or its value."""
    said = f"{name}={value}"
    return bool(_VARIABLE.search(name)) or redacted(said) != said
