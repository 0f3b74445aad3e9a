"""`mlbuild key`: make and show the keys that sign results for the shared cache."""

import json
import os
import re

from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, current_folder
from mlbuild.config import user_folder
from mlbuild.errors import HostError, InputError, did_you_mean
from mlbuild.shared import signing
from mlbuild.shared.keys import (
    PublicKey,
    checked_name,
    public_keys,
    read_private,
    read_public,
    write_private,
)
from mlbuild.ui.text import clean

USAGE = Usage(
    "key",
    "new [NAME] | show [NAME | FILE] | list",
    "Make a pair of keys, show a public key, or list those you have. A private key signs the "
    "results that this machine gives to the shared cache, and never leaves its file; whoever has "
    "the public one in `cache.trusted_keys` takes them. Needs no workspace.",
    (
        Option(("--out",), "The file of the new private key.", "FILE", "out"),
        JSON,
        COLOR,
        FOLDER,
    ),
    most=2,
)
VERBS = ("new", "show", "list")
_FOLDER = "keys"  # in the folder of the user's settings


def run(words: Words, screen: Screen) -> int:
    """Do what the first word says."""
    verb, name = (*words.rest, "", "")[:2]
    if words.has("out") and verb != "new":
        raise InputError("only `mlbuild key new` takes `--out`")
    match verb:
        case "new":
            _new(name or _own_name(screen), words, screen)
        case "show":
            _print([_one(name, screen, current_folder(words.text("folder")))], words, screen)
        case "list" if not name:
            _list(words, screen)
        case _:
            wrong = name if verb == "list" else verb
            raise InputError(
                f"`mlbuild key` does not take `{wrong}`" if wrong else "say what to do with keys",
                hints=did_you_mean(wrong, VERBS)
                or ("`mlbuild key new`, `mlbuild key show` and `mlbuild key list` are there",),
            )
    return 0


def _new(name: str, words: Words, screen: Screen) -> None:
    """Make a pair; print the public key on stdout and what to do with it on stderr."""
    key = signing.new_key(checked_name(name))
    folder = current_folder(words.text("folder"))
    out = words.text("out")
    path = os.path.join(folder, os.path.expanduser(out)) if out else _place(name, screen)
    public = signing.public_of(key)
    write_private(path, key, public=public)
    _print([(path, public)], words, screen)
    settings = os.path.join(user_folder(screen.environ), "config.toml")
    lines = (
        f"the private key is in {path}: it is a secret",
        f"to sign with it, put into {settings}:",
        "  [cache]",
        f"  signing_key = {json.dumps(path)}",
        "others take your results once their `cache.trusted_keys` has the line on top",
    )
    screen.err.lines([clean(line) for line in lines])


def _one(name: str, screen: Screen, folder: str) -> tuple[str, PublicKey]:
    """Return the key of a name or file; without one, the only key there is."""
    if "/" in name:
        path = os.path.join(folder, os.path.expanduser(name)).removesuffix(".pub")
        if os.path.isfile(f"{path}.pub"):
            return path, read_public(path)
        return path, signing.public_of(read_private(path))
    if name:
        path = _place(checked_name(name), screen)
        return path, read_public(path)
    found = public_keys(_keys(screen))
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"you have {len(found)} keys: say which" if found else "you have no key yet",
        hints=("`mlbuild key list` shows them" if found else "`mlbuild key new` makes one",),
    )


def _list(words: Words, screen: Screen) -> None:
    found = public_keys(_keys(screen))
    if not found and not words.has("json"):
        screen.err.lines(["you have no key yet: `mlbuild key new` makes one"])
    if words.has("json"):
        screen.out.lines([json.dumps({"keys": [_object(*one) for one in found]})])
    else:
        screen.out.lines([clean(f"{key}  # {key.id}, {path}") for path, key in found])


def _print(found: list[tuple[str, PublicKey]], words: Words, screen: Screen) -> None:
    """Print public keys on stdout."""
    lines = [json.dumps(_object(*one)) if words.has("json") else str(one[1]) for one in found]
    screen.out.lines(lines)


def _object(path: str, key: PublicKey) -> dict[str, str]:
    return {"name": key.name, "id": key.id, "public": str(key), "path": path}


def _own_name(screen: Screen) -> str:
    """Return the name of this user as a key may have it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", screen.environ.get("USER", "")).strip("-") or "mlbuild"


def _place(name: str, screen: Screen) -> str:
    return os.path.join(_keys(screen), name)


def _keys(screen: Screen) -> str:
    folder = user_folder(screen.environ)
    if not folder:
        raise HostError(
            "there is no home directory to keep keys in",
            hints=("`mlbuild key new --out FILE` writes one elsewhere",),
        )
    return os.path.join(folder, _FOLDER)
