"""Facts: what another machine says of itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mlbuild.errors import HostError


@dataclass(frozen=True, slots=True)
class Facts:
    """What another machine says of itself."""

    host: str
    mlbuild: str  # version
    python: str  # version of the interpreter that the runner is run by
    platform: str  # as keys have it
    processor: str  # class, as keys have it where every bit must repeat
    cpus: int
    memory: int  # bytes
    free: int  # bytes on the disk of its store
    store: str  # absolute path there

    def as_dict(self) -> dict[str, str | int]:
        """Return the fields, as JSON has them."""
        return asdict(self)


def facts_from(said: Mapping[str, Any]) -> Facts:
    """Read what `as_dict` gave; raise HostError for anything else."""
    try:
        return Facts(**{one.name: said[one.name] for one in fields(Facts)})
    except (KeyError, TypeError) as error:
        raise HostError("the other machine does not say what it is") from error
