"""Slots: the CPUs, memory and GPUs that commands share, and who holds how much of them.

Held while a command runs and no longer: what is kept after it overlaps with other commands.
"""

Amount = tuple[int, int, int]  # CPUs, bytes of memory, GPUs


class Slots:
    """`cpus` CPUs, `memory` bytes and `gpus` GPUs."""

    def __init__(self, *, cpus: int, memory: int, gpus: int = 0) -> None:
        self._all = self._free = (cpus, memory, gpus)
        self._held: dict[str, Amount] = {}

    def has_gpus(self, gpus: int) -> bool:
        """Say whether so many GPUs are free."""
        return min(gpus, self._all[2]) <= self._free[2]

    def take(self, id_: str, *, cpus: int, memory: int, gpus: int = 0) -> bool:
        """Let `id_` hold so much, if it is free; say whether it is.

        Who asks for more than there is gets all of it.
        """
        assert id_ not in self._held
        most = self._all
        wish = (min(cpus, most[0]), min(memory, most[1]), min(gpus, most[2]))
        free = self._free
        if wish[0] > free[0] or wish[1] > free[1] or wish[2] > free[2]:
            return False
        self._held[id_] = wish
        self._free = (free[0] - wish[0], free[1] - wish[1], free[2] - wish[2])
        return True

    def give(self, id_: str, *, all_but_gpus: bool = False) -> None:
        """Take back what `id_` holds, if it holds anything."""
        cpus, memory, gpus = self._held.pop(id_, (0, 0, 0))
        if all_but_gpus:
            self._held[id_] = (0, 0, gpus)
            gpus = 0
        free = self._free
        self._free = (free[0] + cpus, free[1] + memory, free[2] + gpus)
