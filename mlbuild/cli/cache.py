"""`mlbuild cache`: look after the local store and the shared cache."""

import json
from collections.abc import Callable, Mapping
from importlib import import_module

from mlbuild.cli.options import (
    COLOR,
    CONFIG,
    DEFINE,
    FOLDER,
    JSON,
    SHARING,
    Option,
    Usage,
    Words,
)
from mlbuild.cli.session import Screen
from mlbuild.errors import InputError, did_you_mean

_DRY = Option(("--dry-run",), "Say what would go; remove nothing.", dest="dry_run")
_WHERE = (SHARING[0], SHARING[3])  # which shared cache, which scope
_OF_TARGETS = (CONFIG, DEFINE, JSON, COLOR, FOLDER)
VERBS = (
    Usage(
        "cache status",
        "",
        "Say how large the local store is, what holds it, and what waits to be uploaded. Asks "
        "nothing of the shared cache.",
        (JSON, COLOR, FOLDER),
    ),
    Usage(
        "cache verify",
        "",
        "Read everything in the local store and compare it with its name. What is damaged goes to "
        "the quarantine, and is healed where that can be.",
        (
            Option(("--dry-run",), "Only say what is damaged.", dest="dry_run"),
            JSON,
            COLOR,
            FOLDER,
        ),
    ),
    Usage(
        "cache gc",
        "",
        "Remove what nobody needs. In the local store that happens by itself from time to time; "
        "`--remote` does it in the shared cache.",
        (
            _DRY,
            Option(
                ("--max-size",),
                "What the local store may take: `50 GiB`, `20%` of the disk, `none`.",
                "SIZE",
                "max_size",
            ),
            Option(
                ("--max-age",),
                "How long what nobody uses stays: `30 days`, `none`. In the shared cache the age "
                "counts from when a result was uploaded.",
                "TIME",
                "max_age",
            ),
            Option(("--remote",), "Collect in the shared cache, all scopes of it.", dest="remote"),
            Option(
                ("--grace",),
                "With `--remote`: how long bytes stay that no result names any more.",
                "TIME",
                "grace",
            ),
            Option(
                ("--background",),
                "Give way to everything else and say nothing, as when it happens by itself.",
                dest="background",
            ),
            *_WHERE,
            JSON,
            COLOR,
            FOLDER,
        ),
    ),
    Usage(
        "cache push",
        "LABEL…",
        "Upload the results that targets rest on. They come from the local store: nothing runs.",
        (*_WHERE, *_OF_TARGETS),
        most=None,
    ),
    Usage(
        "cache pull",
        "LABEL…",
        "Bring the results of targets from the shared cache into the local store. Nothing runs.",
        (*_WHERE, *_OF_TARGETS),
        most=None,
    ),
    Usage(
        "cache evict",
        "LABEL…",
        "Forget the results of targets, so that they run again or are fetched anew. What nothing "
        "else needs of them is removed.",
        (
            Option(
                ("--remote",),
                "Forget them in the shared cache too, in the scope that is written.",
                dest="remote",
            ),
            *_WHERE,
            *_OF_TARGETS,
        ),
        most=None,
    ),
    Usage(
        "cache pin",
        "LABEL…",
        "Keep the results that targets rest on now. They stay also when nobody uses them, and "
        "after the targets have changed.",
        _OF_TARGETS,
        most=None,
    ),
    Usage(
        "cache unpin",
        "LABEL…",
        "Let targets go that were pinned.",
        (JSON, COLOR, FOLDER),
        most=None,
    ),
)
USAGE = Usage(
    "cache",
    "COMMAND",
    "Look after the local store, which all your workspaces share, and the shared cache.",
    (JSON, COLOR, FOLDER),
    most=None,
    verbs=VERBS,
)
_MODULES = {  # the rest is about the targets of a workspace
    "status": "cache_store",
    "verify": "cache_store",
    "gc": "cache_gc",
    "push": "cache_shared",
    "pull": "cache_shared",
}


def run(words: Words, screen: Screen) -> int:
    """Do what the first word says."""
    names = [one.command.rpartition(" ")[2] for one in VERBS]
    verb, *rest = words.rest or ("",)
    if verb not in names:
        raise InputError(
            f"`mlbuild cache` does not take `{verb}`" if verb else "say what to do with the cache",
            hints=did_you_mean(verb, names) or ("`mlbuild cache --help` lists what there is",),
        )
    (usage,) = (one for one in VERBS if one.command.endswith(f" {verb}"))
    if usage.most is None and not rest:
        example = f"mlbuild cache {verb} //models:lenet"
        raise InputError("no target is named", hints=(f"for example `{example}`",))
    module = import_module(f"mlbuild.cli.{_MODULES.get(verb, 'cache_targets')}")
    act: Callable[[Words, Screen], int] = getattr(module, verb)
    return act(Words(words.values, tuple(rest), words.lists), screen)


def show(report: Mapping[str, object], lines: list[str], *, words: Words, screen: Screen) -> None:
    """Print a report on stdout: as one JSON object, or as lines."""
    screen.out.lines([json.dumps(report)] if words.has("json") else lines)
