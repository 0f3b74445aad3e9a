"""`mlbuild trust`: see what a workspace proposes to be used, and accept it."""

import json
from collections.abc import Iterator, Mapping

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.config import user_folder
from mlbuild.errors import HostError, InputError
from mlbuild.shared.keys import public_key
from mlbuild.trust import Offer, accept, accepted_before, revoke
from mlbuild.ui.text import clean

USAGE = Usage(
    "trust",
    "",
    "Accept what this workspace proposes in its `mlbuild.toml`: where the shared cache is, whose "
    "results count, and on which machine actions run. You accept exactly what is shown; when it "
    "changes, you are asked again. A proposal changes nothing before.",
    (
        Option(("--show",), "Show it, and accept nothing.", dest="show"),
        Option(("--revoke",), "Take back what you accepted here.", dest="revoke"),
        JSON,
        COLOR,
        FOLDER,
    ),
)


def run(words: Words, screen: Screen) -> int:
    """Show the proposal on stdout and remember the answer, unless only looking."""
    if words.has("show") and words.has("revoke"):
        raise InputError("`--show` changes nothing, and `--revoke` does: give one of them")
    session = open_session(words, screen)
    folder = user_folder(screen.environ)
    offer, before = session.config.offer, session.config.accepted
    was = accepted_before(session.workspace.root, folder)
    now, done = before, ""
    if words.has("revoke"):
        forgot = revoke(session.workspace.root, folder) if folder else False
        now, done = False, "taken back" if forgot else "there was nothing to take back"
    elif offer and before:
        done = "you have accepted exactly this" if not words.has("show") else ""
    elif offer and not words.has("show"):
        _accept(offer, folder)
        now, done = True, "accepted, for this workspace: `mlbuild trust --revoke` takes it back"
    if words.has("json"):
        report = {
            "root": session.workspace.root,
            "proposal": dict(offer.values) if offer else {},
            "accepted": now,
            "before": was,
        }
        screen.out.lines([json.dumps(report)])
        return 0
    if not words.has("revoke"):
        screen.out.lines([clean(line) for line in _shown(session, was, accepted=now)])
    screen.err.lines([done] if done else [])
    return 0


def _accept(offer: Offer, folder: str) -> None:
    if not folder:
        raise HostError(
            "there is no home directory to keep your answer in",
            hints=("set MLBUILD_CACHE_URL and MLBUILD_CACHE_TRUSTED_KEYS instead",),
        )
    accept(offer, folder)


def _shown(session: Session, was: Mapping[str, object], *, accepted: bool) -> Iterator[str]:
    """Yield what is proposed, how it differs from what was accepted, and what follows from it."""
    offer = session.config.offer
    if offer is None:
        yield "this workspace proposes nothing"
        return
    yield "this workspace proposes:"
    for key, value in offer.values.items():
        yield f"  {key} = {_written(value)}"
    if was and not accepted:
        yield "you accepted before:"
        for key, old in was.items():
            yield f"  {key} = {_written(old)}"
    yield "with it:"
    for line in _effects(session, offer):
        yield f"  {line}"


def _effects(session: Session, offer: Offer) -> Iterator[str]:
    """Yield what accepting means for this user."""
    if place := offer.values.get("build.executor"):
        yield f"actions run on `{place}`, which gets their inputs and the variables they may see"
    if not any(key.startswith("cache.") for key in offer.values):
        return
    sharing = session.config.sharing
    url = str(offer.values.get("cache.url", sharing.url))
    keys = offer.values.get("cache.trusted_keys", sharing.trusted_keys)
    assert isinstance(keys, tuple)
    names = ", ".join(f"{key.name} ({key.id})" for key in map(public_key, keys))
    whose = f"those that are signed by {names}" if names else "those of anybody who may write there"
    yield f"results come from `{url}`, {whose}" if sharing.read else "you read no shared cache"
    if sharing.may_write:
        yield f"your results go there, into `{sharing.scope}`"
    else:
        yield f"none of yours go there (`cache.write = {_written(sharing.write)}`)"
    sent = [name for name in ("token", "headers", "tls_cert") if getattr(sharing, name)]
    if sent and "cache.url" in offer.values:
        yield f"it is told your {' and '.join(f'`cache.{name}`' for name in sent)}"


def _written(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
