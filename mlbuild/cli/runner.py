"""`mlbuild runner`: run one order of a bucket on this machine; what other executors start."""

import math
import os
import re
import uuid

from mlbuild.cli.options import FOLDER, Option, Usage, Words
from mlbuild.cli.session import Screen
from mlbuild.errors import HostError, InputError
from mlbuild.remote.control import Control
from mlbuild.remote.terms import INSIDES, Terms
from mlbuild.sharing import Sharing, url_fault

USAGE = Usage(
    "runner",
    "KEY | ORDER --store URL",
    "Run one order that lies in a bucket, in the same sandbox or container as everywhere, and keep "
    "its log, its state and what it made there. It is named by itself or by the key of its action, "
    "or by how they begin. Executors start it on other machines; two of them on one order do no "
    "harm: the second one leaves, unless the first one is silent.",
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
        Option(
            ("--patience",),
            "Seconds without a sign of life after which another runner counts as dead (60).",
            "SECONDS",
            "patience",
        ),
        Option(
            ("--claim",),
            "Who we are: another runner of this name is known to be dead, and followed at once.",
            "NAME",
            "claim",
        ),
        FOLDER,
    ),
    most=1,
)
PAUSE = 0.5  # seconds between two looks at the bucket
_HEX = re.compile(r"[0-9a-f]{6,64}")
SILENCE = 60.0  # seconds without a beat after which another runner counts as dead
_WHOLE = 64  # digits of a name


def run(words: Words, screen: Screen) -> int:
    """Run an order to its end; return 0 when its state says how that was."""
    from mlbuild.remote.freight import freight_in  # noqa: PLC0415 - likewise
    from mlbuild.remote.machine.claim import Claims, Held  # noqa: PLC0415 - start-up: all executors
    from mlbuild.remote.machine.runner import run_order  # noqa: PLC0415 - likewise
    from mlbuild.remote.machine.site import site_of  # noqa: PLC0415 - likewise
    from mlbuild.remote.outage import bucket_troubles  # noqa: PLC0415 - likewise
    from mlbuild.shared.opened import open_bucket  # noqa: PLC0415 - likewise

    url = words.text("store")
    terms, patience = _terms(words), _patience(words)
    site = site_of(words.text("cache_dir"), screen.environ)
    bucket = open_bucket(Sharing(url=url))
    with bucket_troubles(url):
        id_ = _order(words.rest[0], Control(bucket))
        lock = site.take(id_)
        if lock is None:
            screen.err.lines([f"the order {id_[:12]} is run here already"])
            return 0
        attempt = uuid.uuid4().hex
        claims = Claims(bucket, id_)
        claim = claims.take(
            words.text("claim") or _own_name(site.host, site.root),
            attempt=attempt,
            patience=patience,
            hear=lambda other: screen.err.lines([f"{other} has taken it: does it live?"]),
        )
        if claim is None:
            said = "has its outcome, or another runner that lives"
            screen.err.lines([f"the order {id_[:12]} {said}"])
            return 0
        control = Held(bucket, claims, claim)
        control.begin(id_)
    run_order(
        id_,
        site,
        control=control,
        freight=freight_in(bucket),
        terms=terms,
        caller_env=screen.environ,
        attempt=attempt,
        pause=PAUSE,
    )
    os.close(lock)
    with bucket_troubles(url):
        state = control.state(id_)
    if state is None or not (state.over or control.is_lost):
        raise HostError("the end of the order could not be told")
    return 0


def _terms(words: Words) -> Terms:
    """Return how orders are to be run here; raise InputError for words that cannot be meant."""
    url = words.text("store")
    if not words.rest or not url:
        raise InputError("`mlbuild runner` takes an order or a key, and its `--store`")
    if fault := url_fault(url):
        raise InputError(f"`--store` {fault}")
    inside, slots = words.text("inside") or "auto", words.text("slots") or "0"
    if inside not in INSIDES or not slots.isdigit():
        raise InputError("`--inside` or `--slots` cannot be meant", hints=("see its `--help`",))
    return Terms(int(slots), inside)


def _patience(words: Words) -> float:
    text = words.text("patience") or str(SILENCE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise InputError(f"`--patience` takes seconds, not `{text}`")
    return seconds


def _order(word: str, control: Control) -> str:
    """Return the newest order that `word` names, by its key or by itself."""
    if not _HEX.fullmatch(word):
        raise InputError(
            f"`{word}` is neither a key nor an order", hints=("six hex digits or more will do",)
        )
    if len(word) == _WHOLE and control.has_order(word):
        return word
    found = control.named(word)
    if not found:
        raise InputError(
            f"no order in the bucket is `{word}`, or for an action of that key",
            hints=("`mlbuild actions LABEL` shows the keys of a target",),
        )
    keys = {control.subject(id_) for id_ in found}
    if len(keys) > 1:
        raise InputError(
            f"`{word}` names orders of several keys",
            notes=tuple(f"{key}: {label}" for label, key in sorted(keys)),
            hints=("name one by more letters",),
        )
    return found[0]


def _own_name(host: str, root: str) -> str:
    """Return a name for all runners of one site, of which one at a time holds an order's lock."""
    return f"{host} {root} {os.stat(root).st_ino}"
