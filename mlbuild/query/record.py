"""Record: what a query knows of one package, in plain values that are kept between commands.

A node of the query graph is a label: of a target, of a file that a target makes, of a source file
or folder, of a BUILD.ml or .bzl file, or of a package group.
"""

from dataclasses import dataclass, fields
from typing import Any

RULES = "@rules//"
SOURCE, GENERATED, GROUP = "source file", "generated file", "package group"
BUILD_FILE = "BUILD.ml"


@dataclass(frozen=True, slots=True)
class Record:
    """One package. Labels are texts in full; those of targets come in the order of their names."""

    path: str
    targets: tuple[str, ...]  # labels
    needs: dict[str, tuple[str, ...]]  # what each label of the package names, each once
    explicit: dict[str, tuple[str, ...]]  # likewise, without what comes by private attributes
    kinds: dict[str, str]  # of the labels in `needs`
    places: dict[str, tuple[int, int]]  # line and column of targets and groups in the BUILD.ml
    named: tuple[str, ...]  # labels of the package that its targets name and that it cannot explain
    loads: tuple[str, ...]  # shown names of all .bzl files that take part
    folders: tuple[str, ...]  # workspace-relative: those whose listing matters
    details: bytes  # of the targets, for `details.targets_of`

    def plain(self) -> tuple[Any, ...]:
        """Return the record as a tuple, from which `Record(*plain)` makes it again."""
        return tuple(getattr(self, one.name) for one in fields(self))


def package_of(label: str) -> str:
    """Return the package of a label in full; of the rule library, "@rules"."""
    if label.startswith(RULES):
        return RULES.rstrip("/")
    return label[2:].partition(":")[0]


def name_of(label: str) -> str:
    """Return what stands after the package of a label in full."""
    if label.startswith(RULES):
        return label[len(RULES) :]
    return label.partition(":")[2]


def path_of(label: str) -> str:
    """Return the path of the file that a label in full may name, relative to the workspace."""
    if label.startswith(RULES):
        return f"@rules/{name_of(label)}"
    package, _, name = label[2:].partition(":")
    return f"{package}/{name}" if package else name


def order(label: str) -> tuple[str, str]:
    """Return the place of a label among others: by package, then by name."""
    package, _, name = label.partition(":")
    return package, name


def full_label(text: str, package: str) -> str:
    """Return a label in full as seen from `package`; one that is wrong stays wrong."""
    if text.startswith(RULES):
        return RULES + text[len(RULES) :].replace(":", "/").lstrip("/")
    if text.startswith("//"):
        return text if ":" in text else f"{text}:{text.rpartition('/')[2]}"
    return f"//{package}:{text.removeprefix(':')}"
