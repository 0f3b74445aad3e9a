"""Slurm job: what a batch script becomes on its node: the runner of one order."""

import json
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from mlbuild.config import process_environment
from mlbuild.exec.base import Gpu
from mlbuild.remote.control import Control
from mlbuild.remote.freight import bucket_at, freight_in
from mlbuild.remote.machine.lot import Lot
from mlbuild.remote.machine.runner import run_order
from mlbuild.remote.machine.site import Site, site_of
from mlbuild.remote.machine.starter import FAR_LOOK
from mlbuild.remote.terms import Terms
from mlbuild.shared.folder import FolderBucket

_RIGHT = 30  # seconds that another runner of the order may need to end
_PLACES = ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


def main(told: str) -> NoReturn:
    """Run the order that `told` describes in JSON, to its end."""
    code = 1
    try:
        _run(json.loads(told), process_environment())
        code = 0
    except BaseException:  # noqa: BLE001 - the last place where it can be noted
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(told: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    site = site_of(told["root"], environ)
    bucket = bucket_at(told["store"]) if told["store"] else FolderBucket(told["bucket"])
    lock = _right(site, told["id"])
    restart = environ.get("SLURM_RESTART_COUNT", "")
    run_order(
        told["id"],
        site,
        control=Control(bucket),
        freight=freight_in(bucket),
        terms=Terms(0, told["inside"], told["store"]),
        caller_env=told["env"],
        attempt=f"{told['attempt']}-{restart}" if restart else told["attempt"],
        pause=FAR_LOOK,
        lot=Lot(f"slurm {environ.get('SLURM_JOB_ID', '')}", given_gpus(environ, site.gpus.found)),
    )
    with site.open() as store:
        site.collect(store)
    os.close(lock)


def _right(site: Site, id_: str) -> int:
    """Return the right to run an order; a runner that was killed may hold it for a moment."""
    for _ in range(_RIGHT * 10):
        lock = site.take(id_)
        if lock is not None:
            os.set_inheritable(lock, False)
            return lock
        time.sleep(0.1)
    sys.exit("another runner has the order")


def given_gpus(environ: Mapping[str, str], found: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Return the GPUs that Slurm gave this job; `found` are those that the driver tells of.

    Slurm says their numbers, or their UUIDs. Where the driver is silent, a number is all we know.
    """
    said = next((environ[name] for name in _PLACES if environ.get(name)), "")
    by_name = {gpu.uuid: gpu for gpu in found} | {str(n): gpu for n, gpu in enumerate(found)}
    words = [word.strip() for word in said.split(",") if word.strip()]
    return tuple(by_name.get(word, Gpu(word, "GPU")) for word in words)
