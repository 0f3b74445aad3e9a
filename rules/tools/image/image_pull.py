"""Fetches an image by its digest and unpacks it, as image.py does with an archive.

usage: MLBUILD_IMAGE=NAME image_pull.py DIGEST|FILE OUT
       image_pull.py --resolve NAME[:TAG]

The name comes in a variable since it is no part of what the image is: every byte is held against
the digest. With `--resolve` it prints the digest that a tag stands for now.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import os
import sys

from image import unpack
from image_archive import DIGEST, FREE, ImageError, Source
from image_registry import Registry, digest_of_tag, repository_of

MOST = 64 * FREE  # bytes that an image may unpack to: a digest vouches for it


def main() -> None:
    """Fetch or resolve, or say in one sentence why not."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - our own name and two words
        sys.exit("usage: image_pull.py DIGEST OUT | --resolve NAME[:TAG]")
    _, what, word = sys.argv
    variables = os.environ  # noqa: TID251 - a program of its own
    config = variables.get("DOCKER_CONFIG", "")
    try:
        if what == "--resolve":
            name, tag = name_and_tag(word)
            config = config or os.path.join(variables.get("HOME", ""), ".docker")
            sys.stdout.write(f"{digest_of_tag(name, tag, config=config)}\n")
        else:
            pull(variables.get("MLBUILD_IMAGE", ""), what, word, config=config)
    except ImageError as error:
        sys.exit(f"the image cannot be had: {error}")
    except OSError as error:
        sys.exit(f"the image cannot be unpacked: {error.strerror or error}")


def pull(name: str, digest: str, out: str, *, config: str) -> None:
    """Fetch the image `name` at `digest` and unpack it to `out`."""
    if os.path.isfile(digest):  # which holds it
        with open(digest, encoding="ascii") as file:
            digest = file.read()
    if not DIGEST.fullmatch(digest):
        raise ImageError(f"`{digest}` is no digest: write `sha256:` and 64 hex digits")
    aside = f"{out}.blob"
    try:
        registry = Registry(repository_of(name, config=config), digest, aside=aside)
        unpack(Source(registry, MOST), out)
    finally:
        if os.path.exists(aside):
            os.remove(aside)


def name_and_tag(text: str) -> tuple[str, str]:
    """Return the two parts of `python:3.11-slim`; a port is no tag."""
    name, colon, tag = text.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (text, "latest")


if __name__ == "__main__":
    main()
