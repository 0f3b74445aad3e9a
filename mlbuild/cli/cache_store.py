"""`mlbuild cache status` and `mlbuild cache verify`: what the local store holds, and how it is."""

import os
from collections.abc import Iterator

from mlbuild.cli.cache import show
from mlbuild.cli.collecting import last_collected
from mlbuild.cli.options import Words
from mlbuild.cli.session import Screen, open_config, terminations
from mlbuild.config import Config
from mlbuild.core.limits import Limits, limits_of
from mlbuild.errors import ActionError
from mlbuild.store.disk import open_store
from mlbuild.store.pins import Pin, pins
from mlbuild.store.survey import Survey, survey
from mlbuild.ui.counter import counter
from mlbuild.ui.text import bytes_text, clean, plural


def store_limits(config: Config, *, taken: int) -> Limits:
    """Return what the settings let a store keep that takes so many bytes now."""
    disk = os.statvfs(config.cache_dir)
    size, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    return limits_of(config.max_size, config.max_age, disk=size, room=taken + free)


def status(words: Words, screen: Screen) -> int:
    """Print what the local store holds."""
    config = open_config(words, screen)
    with open_store(config.cache_dir) as store:
        found = survey(store.root)
        limits = store_limits(config, taken=found.size)
        report = _report(config, found, limits, list(pins(store.root)))
    show(report, list(_lines(config, found, limits, report)), words=words, screen=screen)
    return 0


def _report(config: Config, found: Survey, limits: Limits, pinned: list[Pin]) -> dict[str, object]:
    return {
        "store": found.root,
        "bytes": found.size,
        "max_bytes": limits.size,
        "max_age_seconds": limits.age,
        "parts": found.parts,
        "results": len(found.known),
        "workspaces": {
            workspace: sum(found.trees[one].size for one in trees if one in found.trees)
            for workspace, trees in sorted(found.shown.items())
        },
        "pins": [
            {"label": one.label, "workspace": one.workspace, "when": one.when} for one in pinned
        ],
        "processes": sorted(pid for pid in found.leases if pid != os.getpid()),
        "queued": len(found.queued),
        "collected": last_collected(found.root),
        "shared": {
            "url": config.sharing.url,
            "scope": config.sharing.scope,
            "reads": config.sharing.used and config.sharing.read,
            "writes": config.sharing.used and config.sharing.may_write,
        },
    }


def _lines(
    config: Config, found: Survey, limits: Limits, report: dict[str, object]
) -> Iterator[str]:
    most = "no limit" if limits.size is None else f"at most {bytes_text(limits.size)}"
    yield clean(f"store      {found.root}")
    yield f"size       {bytes_text(found.size)}, {most}"
    parts = sorted(found.parts.items(), key=lambda part: -part[1])
    yield f"           {', '.join(f'{name} {bytes_text(size)}' for name, size in parts if size)}"
    if limits.age is not None:
        yield f"age        what nobody uses goes after {limits.age / 86400:g} days"
    yield f"results    {len(found.known):,}"
    for workspace in found.shown:
        trees = [found.trees[one] for one in found.shown[workspace] if one in found.trees]
        yield clean(f"workspace  {workspace} shows {plural(len(trees), 'tree')}")
    for pin in pins(found.root):
        yield clean(f"pin        {pin.label} of {pin.workspace}, {pin.when}")
    others = len(found.leases.keys() - {os.getpid()})
    if others:
        yield f"in use by  {others} other {'process' if others == 1 else 'processes'}"
    if found.queued:
        yield f"uploads    {plural(len(found.queued), 'result')} to go"
    last = last_collected(found.root)
    if last:
        freed = last.get("freed")
        size = bytes_text(freed) if isinstance(freed, int) else "nothing"
        yield clean(f"collected  {last.get('when', '')}: {last.get('error') or size + ' freed'}")
    yield clean(f"shared     {_sharing(config, report)}")


def _sharing(config: Config, report: dict[str, object]) -> str:
    sharing = config.sharing
    if not sharing.url:
        return "none"
    shared = report["shared"]
    assert isinstance(shared, dict)
    how = [name for name in ("reads", "writes") if shared[name]] or ["not used"]
    return f"{sharing.url}, scope {sharing.scope}: {' and '.join(how)}"


def verify(words: Words, screen: Screen) -> int:
    """Read the local store; return 1 when something is damaged and was not healed."""
    config = open_config(words, screen)
    with (
        open_store(config.cache_dir) as store,
        terminations(),
        counter(screen.err, screen.terminal) as tell,
    ):
        found = store.verify(
            repair=not words.has("dry_run"), tell=lambda count: tell(f"{count:,} looked at")
        )
    report = {
        "blobs": found.blobs,
        "trees": found.trees,
        "results": found.entries,
        "manifests": found.manifests,
        "damaged": found.damaged,
        "healed": found.healed,
        "whole": found.whole,
    }
    counts = (
        f"{plural(found.entries, 'result')}, {plural(found.trees, 'tree')}, "
        f"{plural(found.blobs, 'blob')}, {plural(found.manifests, 'manifest')}"
    )
    lines = [
        f"damaged: {clean(path)}{' (healed)' if path in found.healed else ''}"
        for path in found.damaged
    ]
    lines.append(f"{counts}: {_verdict(len(found.damaged), whole=found.whole, words=words)}")
    show(report, lines, words=words, screen=screen)
    return 0 if found.whole else ActionError.exit_code


def _verdict(damaged: int, *, whole: bool, words: Words) -> str:
    if not damaged:
        return "all is well"
    if words.has("dry_run"):
        return f"{damaged} damaged"
    if whole:
        return f"{damaged} damaged, all healed"
    return f"{damaged} damaged; what was not healed is made anew when it is needed"
