"""Jobs for executors: a command over real files, in a folder of its own."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from blake3 import blake3

from mlbuild.core.action import Action, Output, Run
from mlbuild.core.digest import Digest
from mlbuild.core.result import Content
from mlbuild.core.tree import digest_tree
from mlbuild.exec.base import Job, Staged, Tool
from mlbuild.remote.outputs import scan


def shell(script: str) -> Run:
    """Return a command that runs `script` with the host's shell."""
    return Run(argv=(("/bin/sh",), ("-c",), (script,)))


def marked(mark: str) -> list[str]:
    """Return the pids of living processes with `mark` on their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mark.encode() in line:
            found.append(pid)
    return found


@dataclass
class Jobs:
    """Makes jobs below `root`."""

    root: Path
    tools: dict[str, Tool] = field(default_factory=dict)
    numbers: "count[int]" = field(default_factory=count)
    image: Path | None = None  # the unpacked image that all jobs run in

    def file(self, path: str, content: bytes, *, executable: bool = False) -> Staged:
        """Return an input of these bytes."""
        place = self.root / f"source-{next(self.numbers)}"
        place.write_bytes(content)
        digest = Digest(blake3(content).hexdigest(), len(content))
        return Staged(path, str(place), Content("x" if executable else "f", digest))

    def tree(self, path: str, files: Mapping[str, bytes]) -> Staged:
        """Return an input that is a folder with these files."""
        place = self.root / f"tree-{next(self.numbers)}"
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        listing, _ = scan(str(place))
        return Staged(path, str(place), Content("t", digest_tree(listing)))

    def job(
        self,
        run: Run,
        *inputs: Staged,
        outputs: tuple[Output, ...] = (Output("out.txt"),),
        caller_env: Mapping[str, str] | None = None,
        checkpoint: str = "",
        cache: str = "",
    ) -> Job:
        """Return a job with a scratch directory and a log of its own."""
        number = next(self.numbers)
        if self.image is not None:
            content = Content("t", Digest(blake3(bytes(self.image)).hexdigest(), 0))
            inputs = (*inputs, Staged("image", str(self.image), content))
            run = replace(run, root="image")
        scratch = self.root / f"scratch-{number}"
        scratch.mkdir()
        action = Action(
            f"//:a{number}",
            "//:a",
            "test",
            run,
            inputs=tuple(sorted(staged.path for staged in inputs)),
            outputs=outputs,
        )
        return Job(
            action,
            run,
            tuple(sorted(inputs, key=lambda staged: staged.path)),
            {name: self.tools[name] for name in run.tools},
            caller_env or {},
            str(scratch),
            "",
            str(self.root / f"log-{number}"),
            checkpoint,
            cache,
        )
