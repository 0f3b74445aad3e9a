"""Graphs: the same layered graph of small actions for mlbuild, ninja and make.

Ten layers; a target reads a source of its own and three targets of the layer before, 0, 1 and 5
places further on. A change of the first source reaches 185 targets where layers hold 50 or more.
"""

import os
from dataclasses import dataclass

from bench.measure import write

LAYERS = 10
OFFSETS = (0, 1, 5)
CONE = 185  # targets that the first source reaches in a graph of 500 or more


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph on disk; every folder is absolute."""

    workspace: str
    ninja: str  # the folder with build.ninja
    make: str  # the folder with Makefile
    targets: int

    @property
    def leaf(self) -> str:
        """The first source."""
        return os.path.join(self.workspace, "l0", "s0.txt")


def generate(folder: str, targets: int) -> Graph:
    """Write a graph of `targets`, a multiple of LAYERS, below `folder`."""
    graph = Graph(
        workspace=os.path.join(folder, "workspace"),
        ninja=os.path.join(folder, "ninja"),
        make=os.path.join(folder, "make"),
        targets=targets,
    )
    width = targets // LAYERS
    write(os.path.join(graph.workspace, "mlbuild.toml"), '[workspace]\nname = "bench"\n')
    ninja = ["rule sum\n  command = cksum $in > $out\n"]
    make = [".SUFFIXES:\nMAKEFLAGS += --no-builtin-rules\nall:\n"]
    for layer in range(LAYERS):
        build: list[str] = []
        for number in range(width):
            write(os.path.join(graph.workspace, f"l{layer}", f"s{number}.txt"), f"{number}\n")
            before = _before(layer, number, width)
            build.append(_genrule(number, before))
            out = f"out/l{layer}/t{number}.txt"
            source = f"../workspace/l{layer}/s{number}.txt"
            inputs = " ".join([source, *(f"out/l{at}/t{n}.txt" for at, n in before)])
            ninja.append(f"build {out}: sum {inputs}\n")
            make.append(f"{out}: {inputs}\n\t@cksum $^ > $@\nall: {out}\n")
        write(os.path.join(graph.workspace, f"l{layer}", "BUILD.ml"), "".join(build))
        os.makedirs(os.path.join(graph.make, "out", f"l{layer}"), exist_ok=True)
    write(os.path.join(graph.ninja, "build.ninja"), "".join(ninja))
    write(os.path.join(graph.make, "Makefile"), "".join(make))
    return graph


def _before(layer: int, number: int, width: int) -> list[tuple[int, int]]:
    """Return layer and number of what a target reads, each once."""
    if layer == 0:
        return []
    return list(dict.fromkeys((layer - 1, (number - offset) % width) for offset in OFFSETS))


def _genrule(number: int, before: list[tuple[int, int]]) -> str:
    sources = [f'"s{number}.txt"', *(f'"//l{layer}:t{n}"' for layer, n in before)]
    return (
        f'genrule(name = "t{number}", srcs = [{", ".join(sources)}], '
        f'outs = ["t{number}.txt"], cmd = "cksum $(SRCS) > $@")\n'
    )
