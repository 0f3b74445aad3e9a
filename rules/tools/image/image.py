"""Unpacks a container image into a tree that actions can have as their root file system.

usage: image.py ARCHIVE OUT

ARCHIVE is what `docker save` writes, or an OCI layout: a .tar (also .tar.gz) or a folder. Every
digest in it is checked. OUT gets `rootfs/`, the files of all layers as a container would see them,
and `image.json`: the architecture and the environment variables of the image. What differs from
machine to machine, and what has no meaning in a sandbox, stays out: times, owners, set-user-id
bits, devices, names, histories.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import os
import sys

from image_archive import ImageError, Source, image_in, opened
from image_layers import Files

# What images call the machines that Linux calls so.
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


def main() -> None:
    """Unpack, or say in one sentence why not."""
    if len(sys.argv) != 3:  # noqa: PLR2004 - our own name and two words
        sys.exit("usage: image.py ARCHIVE OUT")
    _, archive, out = sys.argv
    try:
        with opened(archive, aside=f"{out}.tar") as source:
            unpack(source, out)
    except ImageError as error:
        sys.exit(f"`{os.path.basename(archive)}` is no image that can be used: {error}")
    except OSError as error:
        sys.exit(f"`{os.path.basename(archive)}` cannot be unpacked: {error.strerror or error}")


def unpack(source: Source, out: str) -> None:
    """Write the one image of `source` to the folder `out`. Raises ImageError."""
    image = image_in(source, architecture=MACHINES.get(os.uname().machine, os.uname().machine))
    os.makedirs(f"{out}/rootfs", exist_ok=True)
    files = Files(f"{out}/rootfs", limit=source.limit)
    for number, layer in enumerate(image.layers, 1):
        with source.layer(layer) as content:
            files.apply(content, f"layer {number} of {len(image.layers)}")
    files.finish()
    with open(f"{out}/image.json", "w", encoding="utf-8") as file:
        said = {"architecture": image.architecture, "env": dict(sorted(image.env.items()))}
        json.dump(said, file, indent=1)
        file.write("\n")
    sys.stdout.write(
        f"image {image.name}: {len(image.layers)} layers, {files.count} entries, "
        f"{files.size >> 20} MiB\n"
    )


if __name__ == "__main__":
    main()
