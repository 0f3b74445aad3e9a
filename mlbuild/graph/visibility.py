"""Visibility: which packages may name a target or file of another package."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlbuild.core.label import Label, parse_label
from mlbuild.errors import InputError, Span, did_you_mean

PUBLIC = "//visibility:public"
PRIVATE = "//visibility:private"
EVERYONE: tuple[str, ...] = (PUBLIC,)
_HERE, _BELOW = "__pkg__", "__subpackages__"


@dataclass(frozen=True, slots=True)
class PackageGroup:
    """Packages under one name, for use in `visibility`."""

    label: Label
    packages: tuple[str, ...]  # as written: `//a`, `//a/...`, `//...`, each with an optional `-`
    includes: tuple[str, ...]  # labels of further groups
    span: Span

    def holds(self, package: str) -> bool:
        """Say whether `package` is meant, leaving the included groups aside."""
        named = [one for one in self.packages if _covers(one.removeprefix("-"), package)]
        return bool(named) and not any(one.startswith("-") for one in named)


def parse_visibility(
    labels: Iterable[str], *, package: str, span: Span | None = None
) -> tuple[str, ...]:
    """Return the labels in full; raise InputError for one that names nothing that can see."""
    found: list[str] = []
    for text in labels:
        label = parse_label(text, package=package, span=span)
        if label.package == "visibility" and str(label) not in {PUBLIC, PRIVATE}:
            raise InputError(
                f"`{text}` is no visibility",
                span=span,
                hints=did_you_mean(text, (PUBLIC, PRIVATE))
                or (f"there are `{PUBLIC}` and `{PRIVATE}`",),
            )
        found.append(str(label))
    for alone in (PUBLIC, PRIVATE):
        if alone in found and len(set(found)) > 1:
            raise InputError(f"`{alone}` leaves no room for other visibility", span=span)
    return tuple(found)


def parse_packages(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the packages of a group as they were written; raise InputError for a wrong one."""
    found = tuple(texts)
    for text in found:
        path = text.removeprefix("-").removesuffix("...").removeprefix("//").rstrip("/")
        if not text.removeprefix("-").startswith("//") or ":" in text:
            raise InputError(
                f"`{text}` names no packages",
                hints=("write `//models`, `//models/...`, `//...`, or `-//models/old`",),
            )
        if path:
            parse_label(f"//{path}:x", package="")
    return found


def sees(package: str, visibility: tuple[str, ...], group: Callable[[Label], PackageGroup]) -> bool:
    """Say whether `package` may name what has `visibility`; `group` finds package groups."""
    if visibility is EVERYONE or PUBLIC in visibility:
        return True
    pending = list(visibility)
    asked: set[str] = set()
    while pending:
        text = pending.pop()
        if text in asked or text == PRIVATE:
            continue
        asked.add(text)
        label = parse_label(text, package="")
        if label.name == _HERE:
            if package == label.package:
                return True
        elif label.name == _BELOW:
            if _covers(f"//{label.package}/...", package):
                return True
        else:
            found = group(label)
            if found.holds(package):
                return True
            pending += found.includes
    return False


def _covers(pattern: str, package: str) -> bool:
    """Say whether `//a` or `//a/...` means `package`."""
    if pattern in {"//...", "///..."}:
        return True
    path = pattern.removeprefix("//")
    above = path.removesuffix("/...")
    return package == above or (above != path and package.startswith(above + "/"))
