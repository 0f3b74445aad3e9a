"""Site: which file is being read, so that what it calls knows where it belongs."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from mlbuild import lang
from mlbuild.errors import InputError, Span
from mlbuild.graph.files import Files, read_source
from mlbuild.graph.package import Package, locate

RULES = "@rules//"


@dataclass(slots=True)
class Site:
    """The BUILD.ml that is being evaluated, and the .bzl files that are being loaded."""

    files: Files  # of the workspace
    rules_root: str
    listed: set[str] = field(default_factory=set)  # folders whose listing was looked at
    package: Package | None = None
    loading: list[str] = field(default_factory=list)  # shown names of .bzl files, outermost first
    on_fault: Callable[[InputError], None] | None = None  # told of targets that cannot be declared

    def here(self, what: str) -> Package:
        """Return the package that is being read; `what` was called there.

        Raises InputError in a .bzl file that is being loaded, and in a rule's implementation.
        """
        if self.package is None or self.loading:
            raise InputError(
                f"{what} can only be called while a BUILD.ml is read",
                hints=("call it in a function that the BUILD.ml calls",),
            )
        return self.package

    def in_file(self, what: str) -> str:
        """Return the shown name of the .bzl file that is being loaded; `what` was called there."""
        if not self.loading:
            raise InputError(
                f"{what} can only be called while a .bzl file is loaded",
                hints=(f"call {what} at the top level of a .bzl file, and load what it gives",),
            )
        return self.loading[-1]

    def text(self, path: str) -> str:
        """Return the text of a BUILD.ml or .bzl file as it is now, "" when it cannot be read."""
        try:
            if not path.startswith(RULES):
                return self.files.read(path).decode("utf-8", "replace")
            place = os.path.join(self.rules_root, path.removeprefix(RULES))
            return read_source(place, shown=path).decode("utf-8", "replace")
        except InputError:
            return ""

    def place_of(self, word: str, frames: tuple[tuple[str, Span], ...], *, keyword: bool) -> Span:
        """Return where `word` stands among the calls at `frames`, the innermost that has it.

        Where none has it: the innermost call, leaving out those of the rule library.
        """
        for _, span in frames:
            found = locate(self.text(span.path), span, word, keyword=keyword)
            if found is not span:
                return found
        return self.place(frames)

    def place(self, frames: tuple[tuple[str, Span], ...]) -> Span:
        """Return the innermost of `frames` that is not in the rule library, else the outermost."""
        outside = [span for _, span in frames if not span.path.startswith(RULES)]
        return outside[0] if outside else frames[-1][1] if frames else Span("?", 1, 1)


def strings(value: object, what: str) -> list[str]:
    """Return a list of strings in plain Python; raise InputError for anything else."""
    plain = list(value) if isinstance(value, tuple) else lang.to_python(value)
    if type(plain) is not list or not all(type(one) is str for one in plain):
        raise InputError(
            f"{what} takes a list of strings, not {lang.repr_of(value)[:60]}",
            hints=('write `["…"]`',) if type(value) is str else (),
        )
    return plain
