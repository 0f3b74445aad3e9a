"""`mlbuild runner`: run one order of a bucket on this machine; what other executors start."""

import os
import uuid

from mlbuild.cli.options import FOLDER, Option, Usage, Words
from mlbuild.cli.session import Screen
from mlbuild.errors import HostError, InputError
from mlbuild.sharing import Sharing, url_fault

USAGE = Usage(
    "runner",
    "ORDER --store URL",
    "Run one order that lies in a bucket, in the same sandbox or container as everywhere, and keep "
    "its log, its state and what it made there. Executors start it on other machines; two of them "
    "on one order do no harm.",
    (
        Option(
            ("--store",), "The bucket: `file:///folder` or `s3://bucket/prefix`.", "URL", "store"
        ),
        Option(("--cache-dir",), "The folder of this machine's own store.", "DIR", "cache_dir"),
        Option(
            ("--inside",),
            "What runs the command: `auto`, `sandbox`, `docker` or `process`.",
            "KIND",
            "inside",
        ),
        Option(("--slots",), "CPUs that orders may use here together.", "N", "slots"),
        FOLDER,
    ),
    most=1,
)
PAUSE = 0.5  # seconds between two looks at the bucket


def run(words: Words, screen: Screen) -> int:
    """Run an order to its end; return 0 when its state says how that was."""
    from mlbuild.remote.control import Control  # noqa: PLC0415 - start-up: all executors
    from mlbuild.remote.freight import freight_in  # noqa: PLC0415 - likewise
    from mlbuild.remote.runner import run_order  # noqa: PLC0415 - likewise
    from mlbuild.remote.site import site_of  # noqa: PLC0415 - likewise
    from mlbuild.remote.terms import INSIDES, Terms  # noqa: PLC0415 - likewise
    from mlbuild.shared.opened import open_bucket  # noqa: PLC0415 - likewise

    id_, url = words.rest[0] if words.rest else "", words.text("store")
    if not id_ or not url:
        raise InputError("`mlbuild runner` takes an order and its `--store`")
    if fault := url_fault(url):
        raise InputError(f"`--store` {fault}")
    inside, slots = words.text("inside") or "auto", words.text("slots") or "0"
    if inside not in INSIDES or not slots.isdigit():
        raise InputError("`--inside` or `--slots` cannot be meant", hints=("see its `--help`",))
    site = site_of(words.text("cache_dir"), screen.environ)
    lock = site.take(id_)
    if lock is None:
        screen.err.lines([f"the order {id_[:12]} is run here already"])
        return 0
    bucket = open_bucket(Sharing(url=url))
    control = Control(bucket)
    run_order(
        id_,
        site,
        control=control,
        freight=freight_in(bucket),
        terms=Terms(int(slots), inside),
        caller_env=screen.environ,
        attempt=uuid.uuid4().hex,
        pause=PAUSE,
    )
    os.close(lock)
    state = control.state(id_)
    if state is None or not state.over:
        raise HostError("the end of the order could not be told")
    return 0
