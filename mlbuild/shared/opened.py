"""Opened: the shared cache that the settings name, with whom it may trust and what it may bear."""

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from mlbuild.errors import InputError
from mlbuild.shared.base import Bucket, Shared
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.careful import Careful
from mlbuild.shared.patience import Patience, PatientBucket
from mlbuild.shared.place import place_of
from mlbuild.shared.quarantine import Quarantine
from mlbuild.shared.signing import Judge, Signer
from mlbuild.sharing import Sharing
from mlbuild.store.remote import Remote

THREADS = 48  # that talk to a server at once


def open_shared(
    sharing: Sharing, *, root: str, say: Callable[[str, tuple[str, ...]], None]
) -> Careful:
    """Return the shared cache that `sharing` names; nothing is asked of it yet.

    `root` is the local store, which keeps what was learned of it and what was wrong with it. `say`
    hears, once for each cause, what a user should know. Raises InputError for settings that cannot
    be meant, and HostError where something is missing that they need.
    """
    quarantine = Quarantine(f"{root}/quarantine/shared", say=say)
    signer = Signer.open(sharing.signing_key) if sharing.signing_key else None
    judge = Judge.of(sharing.trusted_keys, own=signer)
    scheme = urlsplit(sharing.url).scheme
    shared: Shared
    if scheme in {"grpc", "grpcs"}:
        from mlbuild.shared.reapi import open_reapi  # noqa: PLC0415 - each backend brings its own
        from mlbuild.shared.reapi_access import Access  # noqa: PLC0415 - likewise

        shared = open_reapi(
            sharing.url,
            access=Access(
                sharing.tls_ca,
                sharing.tls_cert,
                sharing.tls_key,
                token=sharing.token,
                headers=sharing.headers,
            ),
            scope=sharing.scope,
            read_scopes=sharing.scopes,
            signer=signer,
            judge=judge,
            report=quarantine.report,
        )
    else:
        shared = BucketCache(
            PatientBucket(_bucket(sharing, scheme), Patience()),
            scope=sharing.scope,
            read_scopes=sharing.scopes,
            memo=f"{root}/known/{Remote(root, sharing).id}",
            signer=signer,
            judge=judge,
            report=quarantine.report,
        )
    return Careful(shared, say=say)


def open_bucket(sharing: Sharing) -> Bucket:
    """Return the bucket that `sharing` names, to look after it.

    Raises InputError where there is none that could be looked after from here.
    """
    scheme = urlsplit(sharing.url).scheme
    if scheme in {"grpc", "grpcs"}:
        raise InputError(f"`{sharing.url}` is a server that looks after what it keeps itself")
    if scheme in {"http", "https"}:
        raise InputError(f"`{sharing.url}` is a mirror, which can only be read")
    return PatientBucket(_bucket(sharing, scheme), Patience())


def _bucket(sharing: Sharing, scheme: str) -> Bucket:
    """Return the bucket that is behind a URL."""
    url = sharing.url
    if scheme == "file":
        from mlbuild.shared.folder import FolderBucket  # noqa: PLC0415 - likewise

        return FolderBucket(unquote(urlsplit(url).path))
    if scheme == "s3":
        from mlbuild.shared.s3 import S3Bucket  # noqa: PLC0415 - likewise

        return S3Bucket(place_of(url), threads=THREADS)
    if scheme in {"http", "https"}:
        from mlbuild.shared.web import WebBucket, context_of  # noqa: PLC0415 - likewise

        bearer = (f"Authorization: Bearer {sharing.token}",) if sharing.token else ()
        context = context_of(sharing.tls_ca, sharing.tls_cert, sharing.tls_key)
        return WebBucket(url, headers=(*bearer, *sharing.headers), context=context)
    raise InputError(f"no shared cache begins with `{scheme}://`")
