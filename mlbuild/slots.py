"""Slots: the CPUs and the memory that commands share, and who holds how much of them.

Held while a command runs and no longer: what is kept after it overlaps with other commands.
"""


class Slots:
    """`cpus` CPUs and `memory` bytes."""

    def __init__(self, *, cpus: int, memory: int) -> None:
        self._all = self._free = (cpus, memory)
        self._held: dict[str, tuple[int, int]] = {}

    def take(self, id_: str, *, cpus: int, memory: int) -> bool:
        """Let `id_` hold so much, if it is free; say whether it is.

        Who asks for more than there is gets all of it.
        """
        assert id_ not in self._held
        wish = (min(cpus, self._all[0]), min(memory, self._all[1]))
        if wish[0] > self._free[0] or wish[1] > self._free[1]:
            return False
        self._held[id_] = wish
        self._free = (self._free[0] - wish[0], self._free[1] - wish[1])
        return True

    def give(self, id_: str) -> None:
        """Take back what `id_` holds, if it holds anything."""
        cpus, memory = self._held.pop(id_, (0, 0))
        self._free = (self._free[0] + cpus, self._free[1] + memory)
