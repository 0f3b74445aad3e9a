"""What moves bytes, each as a program of its own: mlbuild's shared cache, and boto3 as a peer.

`python -m bench.moving VERB ...`: the time and the memory that a run of it takes are measured.
"""

import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, decode, digest_tree, encode, tree_of

THREADS = 16
BUCKET = "cache"


def note(folder: str) -> None:
    """Write the listing of `folder` beside it: a local store knows that of all that it has."""
    names = sorted(os.listdir(folder))
    entries = [Entry(name, Kind.FILE, digest_of(Path(folder, name).read_bytes())) for name in names]
    Path(f"{folder}.tree").write_bytes(encode(tree_of(entries)))


def push(url: str, folder: str, memo: str) -> None:
    """Send a folder, and the result that names it; print how many requests that took."""
    cache = _opened(url, memo)
    tree = decode(Path(f"{folder}.tree").read_bytes())
    key, result = _result(tree)
    known = cache.lookup(key)
    if known is None:
        cache.send_tree(tree, folder)
        cache.publish(key, result, manifest=b"facts")
    sys.stdout.write(f"{cache.traffic.requests}\n")


def pull(url: str, folder: str, into: str, memo: str) -> None:
    """Fetch what `folder` has, verified, into the new folder `into`."""
    cache = _opened(url, memo)
    tree = decode(Path(f"{folder}.tree").read_bytes())
    found = cache.lookup(_result(tree)[0])
    os.mkdir(into)
    if found is None or cache.bring_tree(found.tree, into) != tree:
        raise SystemExit(f"{url} has not what was pushed")
    sys.stdout.write(f"{cache.traffic.requests}\n")


def _result(tree: Tree) -> tuple[str, Result]:
    """Return a result with this tree, and its key."""
    outputs = tuple((entry.path, Content("f", digest)) for entry, digest in tree.files())
    digest = digest_tree(tree)
    return digest_of(digest.hash.encode()).hash, Result(outputs, digest)


def _opened(url: str, memo: str) -> Any:
    """Return the shared cache at `url` as a build has it, but that trouble ends the measurement."""
    from mlbuild.shared.bucket_cache import BucketCache  # noqa: PLC0415 - a peer has none of this
    from mlbuild.shared.patience import Patience, PatientBucket  # noqa: PLC0415 - likewise
    from mlbuild.shared.s3 import open_s3  # noqa: PLC0415 - likewise

    bucket = PatientBucket(open_s3(url, threads=THREADS), Patience())
    return BucketCache(bucket, memo=memo)


# the peer


def boto_start(endpoint: str) -> None:
    """Import boto3 and ask for one object that is not there."""
    client = _client(endpoint)
    try:
        client.get_object(Bucket=BUCKET, Key="nothing")
    except client.exceptions.NoSuchKey:
        return
    raise SystemExit("there is an object `nothing`")


def boto_send(endpoint: str, file: str, key: str) -> None:
    """Upload a file with boto3's transfer manager."""
    _client(endpoint).upload_file(file, BUCKET, key, Config=_transfer())


def boto_fetch(endpoint: str, file: str, key: str) -> None:
    """Download a file with boto3's transfer manager."""
    _client(endpoint).download_file(BUCKET, key, file, Config=_transfer())


def boto_send_all(endpoint: str, folder: str, prefix: str) -> None:
    """Upload each file of a folder, on threads."""
    client = _client(endpoint)

    def send(name: str) -> None:
        content = Path(folder, name).read_bytes()
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=content)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(send, os.listdir(folder)))


def boto_fetch_all(endpoint: str, folder: str, prefix: str) -> None:
    """Download all objects of a prefix into a new folder, on threads."""
    client = _client(endpoint)
    os.mkdir(folder)

    def fetch(key: str) -> None:
        body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        Path(folder, os.path.basename(key)).write_bytes(body)

    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fetch, [entry["Key"] for page in pages for entry in page["Contents"]]))


def _client(endpoint: str) -> Any:
    import boto3  # noqa: PLC0415 - mlbuild does not import all of it
    from botocore.config import Config  # noqa: PLC0415 - likewise

    return boto3.client("s3", endpoint_url=endpoint, config=Config(max_pool_connections=THREADS))


def _transfer() -> Any:
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - likewise

    return TransferConfig(max_concurrency=THREADS)


VERBS: Mapping[str, Callable[..., None]] = {
    verb.__name__: verb
    for verb in (
        note,
        push,
        pull,
        boto_start,
        boto_send,
        boto_fetch,
        boto_send_all,
        boto_fetch_all,
    )
}


if __name__ == "__main__":
    partial(VERBS[sys.argv[1]], *sys.argv[2:])()
