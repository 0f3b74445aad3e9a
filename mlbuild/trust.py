"""Trust: what a workspace offers to be used, and the user's yes to exactly that.

A checkout may name a shared cache, the keys to trust and a machine to run on, but naming is not
deciding: until the user has accepted it, an offer changes nothing. What was accepted is kept in a
file of the user's, by workspace; an offer that differs in any way from what was accepted waits for
another yes.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbuild.core.digest import digest_of
from mlbuild.errors import HostError
from mlbuild.settings import Value

_DOMAIN = "mlbuild offer 1"
_LIMIT = 1 << 16  # bytes of a file of ours


@dataclass(frozen=True, slots=True)
class Offer:
    """What the workspace at `root` would like to be used: settings by key."""

    root: str  # absolute
    values: Mapping[str, Value]

    @property
    def digest(self) -> str:
        """What stands for exactly this offer of exactly this workspace."""
        told = [_DOMAIN, self.root, sorted(self.values.items())]
        return digest_of(json.dumps(told, separators=(",", ":")).encode()).hash

    def line(self, keys: Sequence[str]) -> str:
        """Return what a build says that goes on without these of its values."""
        what = " and ".join(self._what(key) for key in keys)
        return f"this workspace proposes {what}: `mlbuild trust` accepts it"

    def _what(self, key: str) -> str:
        match key:
            case "cache.url":
                return f"the shared cache `{self.values[key]}`"
            case "build.executor":
                return f"to run actions on `{self.values[key]}`"
            case _:
                return "keys for the shared cache"


def accepted(offer: Offer, folder: str) -> bool:
    """Say whether the user, whose settings are in `folder`, has accepted exactly this offer."""
    answer = _answer(offer.root, folder)
    return answer.get("root") == offer.root and answer.get("offer") == offer.digest


def accepted_before(root: str, folder: str) -> dict[str, object]:
    """Return the settings that the user accepted last for the workspace at `root`, by key."""
    answer = _answer(root, folder)
    values = answer.get("values")
    return dict(values) if answer.get("root") == root and isinstance(values, dict) else {}


def accept(offer: Offer, folder: str) -> None:
    """Remember the user's yes to exactly this offer, instead of any other of its workspace.

    Raises HostError when it cannot be kept.
    """
    place = _place(offer.root, folder)
    kept = {"root": offer.root, "offer": offer.digest, "values": dict(offer.values)}
    fresh = f"{place}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        with open(fresh, "w", encoding="utf-8", opener=_private) as file:
            json.dump(kept, file, indent=1)
        os.replace(fresh, place)
    except OSError as error:
        raise HostError(f"cannot write `{place}`: {error.strerror}") from error


def revoke(root: str, folder: str) -> bool:
    """Forget the user's yes for the workspace at `root`; say whether there was one."""
    place = _place(root, folder)
    try:
        os.unlink(place)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HostError(f"cannot remove `{place}`: {error.strerror}") from error
    return True


def answer_file(root: str, folder: str) -> str:
    """Return the path of what is remembered for the workspace at `root`, "" without a folder."""
    return _place(root, folder) if folder else ""


def _answer(root: str, folder: str) -> dict[str, object]:
    """Return what is remembered; nothing where it is damaged or others could have written it."""
    if not folder:
        return {}
    try:
        with open(_place(root, folder), "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_LIMIT)
        found = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return {}
    ours = status.st_uid in {os.getuid(), 0} and not status.st_mode & 0o022
    return found if ours and isinstance(found, dict) else {}


def _place(root: str, folder: str) -> str:
    name = digest_of(root.encode("utf-8", "surrogateescape")).hash[:32]
    return os.path.join(folder, "accepted", f"{name}.json")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
