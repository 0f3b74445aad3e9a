"""`mlbuild cache gc`: remove what nobody needs, from the local store or the shared cache."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from mlbuild.cli.cache import show
from mlbuild.cli.cache_store import store_limits
from mlbuild.cli.collecting import give_way, note_collected
from mlbuild.cli.options import Words
from mlbuild.cli.session import Screen, open_config, terminations
from mlbuild.config import Config
from mlbuild.core.limits import age_of
from mlbuild.errors import HostError, InputError, MlbuildError
from mlbuild.shared import sweep
from mlbuild.shared.base import SharedTrouble
from mlbuild.store import files
from mlbuild.store.collect import Removed, collect, foretold
from mlbuild.store.disk import DiskStore, open_store
from mlbuild.store.gc import Plan, now_of, plan
from mlbuild.store.private import take
from mlbuild.store.survey import survey
from mlbuild.store.uses import uses
from mlbuild.ui.counter import counter
from mlbuild.ui.text import bytes_text, clean, plural

PATIENCE = 0.2  # seconds between two looks whether another collection has ended


def gc(words: Words, screen: Screen) -> int:
    """Collect; say on stdout what went, or would go."""
    config = open_config(words, screen)
    if words.has("remote"):
        _collect_far(config, words, screen)
        return 0
    if words.has("grace"):
        raise InputError("`--grace` goes with `--remote`")
    if words.has("background"):
        _in_background(config)
        return 0
    with terminations(), open_store(config.cache_dir) as store:
        removed, before, most = _collected(store, config, words, screen)
    dry_run = words.has("dry_run")
    report = {**_report(removed), "before": before, "max_bytes": most, "dry_run": dry_run}
    lines = [_line(removed, dry_run=dry_run), _left(before - removed.freed, most, dry_run=dry_run)]
    show(report, lines, words=words, screen=screen)
    return 0


def _collected(
    store: DiskStore, config: Config, words: Words, screen: Screen
) -> tuple[Removed, int, int | None]:
    """Return what went, the bytes that the store took before, and those that it may take."""
    with counter(screen.err, screen.terminal) as tell, _alone(store.root, tell):
        tell("looking what there is")
        choice, most = _choice(store, config)
        if words.has("dry_run"):
            removed = foretold(choice)
        else:
            removed = collect(store, choice, tell=lambda size: tell(f"{bytes_text(size)} freed"))
            note_collected(store.root, _report(removed))
        return removed, choice.before, most


def _choice(store: DiskStore, config: Config) -> tuple[Plan, int | None]:
    """Return what has to go, and how many bytes the store may take."""
    now = now_of(store)
    found = survey(store.root)
    limits = store_limits(config, taken=found.size)
    return plan(found, limits, now=now), limits.size


@contextmanager
def _alone(root: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process collects in the store at `root`."""
    path = f"{root}/locks/gc"
    while (fd := take(path)) is None:
        tell("waiting for another collection")
        time.sleep(PATIENCE)
    try:
        yield
    finally:
        files.remove(path)
        os.close(fd)


def _in_background(config: Config) -> None:
    """Collect when nobody else is at it; what goes wrong is told by `mlbuild cache status`.

    Only the look at what there is gives way to everything else. Who removes something keeps builds
    out of the store for that moment (`gate.py`), and must not be kept waiting himself.
    """
    try:
        with open_store(config.cache_dir) as store:
            fd = take(f"{store.root}/locks/gc")
            if fd is None:
                return
            try:
                with ThreadPoolExecutor(1, initializer=give_way) as quiet:
                    choice, _ = quiet.submit(_choice, store, config).result()
                removed = collect(store, choice)
                note_collected(store.root, _report(removed))
            finally:
                files.remove(f"{store.root}/locks/gc")
                os.close(fd)
    except MlbuildError as error:
        note_collected(config.cache_dir, {"error": error.message})


def _report(removed: Removed) -> dict[str, object]:
    return {
        "results": removed.results,
        "trees": removed.trees,
        "blobs": removed.blobs,
        "others": removed.others,
        "freed": removed.freed,
        "spared": len(removed.spared),
    }


def _line(removed: Removed, *, dry_run: bool) -> str:
    what = [
        plural(count, noun)
        for count, noun in (
            (removed.results, "result"),
            (removed.trees, "tree"),
            (removed.blobs, "blob"),
            (removed.others, "other thing"),
        )
        if count
    ]
    if not what:
        return "nothing would go" if dry_run else "nothing went: all of it is needed, or young"
    verb = "would go" if dry_run else "went"
    return f"{', '.join(what)} {verb}: {bytes_text(removed.freed)}"


def _left(left: int, most: int | None, *, dry_run: bool) -> str:
    verb = "would be left" if dry_run else "are left"
    if most is None:
        return f"{bytes_text(left)} {verb}"
    more = "" if left <= most else ": the rest is in use, shown by a workspace, pinned or young"
    return f"{bytes_text(left)} of at most {bytes_text(most)} {verb}{more}"


# the shared cache


@contextmanager
def far_errors(url: str) -> Iterator[None]:
    """Turn trouble of the shared cache into an error: somebody asked for just this."""
    try:
        yield
    except SharedTrouble as trouble:
        hints = (trouble.cure,) if trouble.cure else ()
        raise HostError(f"the shared cache `{url}`: {trouble.message}", hints=hints) from trouble


def checked_url(config: Config) -> str:
    """Return the URL of the shared cache; raise InputError when there is none."""
    if not config.sharing.url:
        raise InputError(
            "no shared cache is set",
            hints=("set `cache.url`, for example with `--cache-url s3://bucket/prefix`",),
        )
    return config.sharing.url


def _collect_far(config: Config, words: Words, screen: Screen) -> None:
    """Collect in the shared cache; say what went."""
    from mlbuild.shared.opened import open_bucket  # noqa: PLC0415 - start-up: all of the far side

    if words.has("max_size") or words.has("background"):
        raise InputError("`--remote` takes `--max-age` and `--grace`, and no size")
    url = checked_url(config)
    if config.sharing.write == "never" and not words.has("dry_run"):
        raise InputError(
            'this machine may not write to the shared cache: `cache.write = "never"`',
            hints=("collect on one that may, or with `--dry-run`",),
        )
    grace = age_of(words.text("grace")) if words.has("grace") else sweep.GRACE
    age = age_of(config.max_age)
    with (
        terminations(),
        far_errors(url),
        closing(open_bucket(config.sharing)) as bucket,
        counter(screen.err, screen.terminal) as tell,
    ):
        tell("listing the shared cache")
        found = sweep.plan(
            bucket,
            age=age,
            used=_used_here(config, age),
            grace=float("inf") if grace is None else grace,
            tell=lambda done, of: tell(f"read {done:,} of {plural(of, 'result')}"),
        )
        if not words.has("dry_run"):
            found = sweep.carry_out(
                bucket, found, tell=lambda done, of: tell(f"removed {done:,} of {of:,}")
            )
    _show_sweep(found, words, screen)


def _used_here(config: Config, age: float | None) -> set[str]:
    """Return the keys of all results that builds of this machine rest on, not longer ago."""
    since = 0 if age is None else time.time_ns() - int(age * 1e9)
    return {key for use in uses(config.cache_dir) if use.used >= since for key in use.keys}


def _show_sweep(found: sweep.Sweep, words: Words, screen: Screen) -> None:
    dry_run = words.has("dry_run")
    report = {
        "results": len(found.results),
        "others": len(found.others),
        "freed": found.freed,
        "before": found.before,
        "kept": found.kept,
        "renewed": len(found.renewed),
        "condemned": len(found.condemned),
        "condemned_bytes": found.waiting,
        "dry_run": dry_run,
    }
    verb = "would go" if dry_run else "went"
    renewed = f", {len(found.renewed):,} of them as if new" if found.renewed else ""
    counts = (
        f"{plural(len(found.results), 'result')} and {plural(len(found.others), 'other object')}"
    )
    lines = [
        f"{counts} {verb}: {bytes_text(found.freed)} of {bytes_text(found.before)}",
        f"{plural(found.kept, 'result')} {'stays' if found.kept == 1 else 'stay'}{renewed}",
    ]
    if found.condemned:
        lines.append(
            f"{bytes_text(found.waiting)} in {plural(len(found.condemned), 'object')} that no "
            "result names go with a later collection, unless somebody needs them by then"
        )
    show(report, [clean(line) for line in lines], words=words, screen=screen)
