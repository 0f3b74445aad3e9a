"""Survey: what an agent says of the orders on its machine, to whoever looks after them."""

from collections.abc import Iterable, Iterator

from mlbuild.remote.control import Control
from mlbuild.remote.machine.starter import Starter
from mlbuild.remote.state import State, encode


def rows(
    ids: Iterable[str], control: Control, starter: Starter
) -> Iterator[tuple[str, str, str, str, bool, bool]]:
    """Yield a row for each order that has a state.

    It holds its name, the label and the key of its action, the state in JSON, whether it runs or
    waits for that, and whether somebody took its outcome.
    """
    for id_ in ids:
        told, alive = _told(id_, control, starter)
        if told is not None:
            label, key = (told.owner, told.key) if told.owner else control.subject(id_)
            taken = told.over and control.is_taken(id_)
            yield id_, label, key, encode(told).decode(), alive, taken


def _told(id_: str, control: Control, starter: Starter) -> tuple[State | None, bool]:
    """Return how far an order is, and whether that may change."""
    state = control.state(id_)
    if state is None:
        return None, False
    alive = not state.over and starter.alive(id_)
    if not alive and not state.over:
        state = control.state(id_) or state  # its last word may have come meanwhile
    state = starter.seen(id_, state)
    return state, alive and not state.over
