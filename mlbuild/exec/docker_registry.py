"""Tags: which digest a registry has for one now. Only `mlbuild lock` asks."""

import os
import sys
from collections.abc import Mapping

from mlbuild.errors import HostError

TIMEOUT = 120  # seconds


def resolve_tag(image: str, *, rules_root: str, environ: Mapping[str, str]) -> str:
    """Return the digest, `sha256:…`, of an image such as `python:3.11-slim`.

    `rules_root` is the folder of the rule library, whose program asks as a build would. Raises
    HostError when the registry does not answer, does not know the image, or refuses.
    """
    import subprocess  # noqa: PLC0415 - start-up

    program = os.path.join(rules_root, "tools/image/image_pull.py")
    try:
        done = subprocess.run(
            [sys.executable, "-s", "-B", program, "--resolve", image],
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(f"the registry of `{image}` did not answer in {TIMEOUT} s") from error
    if done.returncode != 0:
        raise HostError(f"`{image}` cannot be resolved: {done.stderr.strip()}")
    return done.stdout.strip()
