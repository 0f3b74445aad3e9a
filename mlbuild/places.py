"""Places: which executors the settings files describe, and whose word chooses one of them.

A workspace may describe executors, and whoever names one on the command line or in a variable means
it. But what a checkout itself chooses would send its user's data and variables to a machine that
the user has never heard of, so that is an offer, with all that the table says (`trust.py`).
"""

import json
from collections.abc import Mapping, Sequence

from mlbuild.settings import Value
from mlbuild.settings_file import NamedExecutor, SettingsFile

CHOICE = "build.executor"
Files = Sequence[tuple[bool, SettingsFile]]  # the weakest first; whether it is the workspace's


def described(files: Files) -> dict[str, NamedExecutor]:
    """Return all executors by name. A workspace puts none in the place of one of its user's."""
    found: dict[str, NamedExecutor] = {}
    for wanted in (True, False):
        for ours, file in files:
            if ours is wanted:
                found |= file.executors
    return found


def settled(files: Files) -> list[Mapping[str, Value]]:
    """Return what each file sets, without a choice that is only an offer."""
    return [
        {
            key: value
            for key, value in file.settings.items()
            if key != CHOICE or not _is_offer(value, files, ours=ours)
        }
        for ours, file in files
    ]


def offered(files: Files) -> dict[str, Value]:
    """Return the executor that waits for a yes, and all that the workspace says of it."""
    wishes = [
        file.settings[CHOICE]
        for ours, file in files
        if CHOICE in file.settings and _is_offer(file.settings[CHOICE], files, ours=ours)
    ]
    if not wishes:
        return {}
    wish = str(wishes[-1])
    found: dict[str, Value] = {CHOICE: wish}
    if wish not in _users(files):
        table = described(files)[wish]
        found |= {f"executors.{wish}.kind": table.kind}
        found |= {f"executors.{wish}.{key}": _plain(one) for key, one in table.options.items()}
        found |= {f"executors.{wish}.fallback": True} if table.fallback else {}
    return found


def _is_offer(wish: Value, files: Files, *, ours: bool) -> bool:
    """Say whether only a workspace stands for an executor that is none of this machine."""
    return wish in described(files) and (ours or wish not in _users(files))


def _users(files: Files) -> dict[str, NamedExecutor]:
    """Return the executors of the files that are the user's or the machine's."""
    return described([(ours, file) for ours, file in files if not ours])


def _plain(option: object) -> Value:
    """Return an option as a proposal shows it."""
    if isinstance(option, bool | int | str):
        return option
    return json.dumps(option, sort_keys=True, default=str)
