"""Packages: what the folder of an environment holds, read from its own *.dist-info, and a bill.

The bill of materials is CycloneDX 1.5, and equal for equal environments: no time, no random name.
"""

import csv
import email.parser
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlbuild import __version__

_SPDX = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*")
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_PIN = re.compile(r"([a-z0-9-]+)(?:\[[^\]]*\])?==(\S+)((?: --hash=sha256:[0-9a-f]{64})*)\s*")
_LONGEST = 60  # letters: a longer licence is the text of one


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package."""

    name: str  # normalised
    version: str
    license: str  # "" when it does not say
    wheel: str  # what its wheel is for, such as `py3-none-any`
    size: int  # bytes, as its RECORD says
    requires: tuple[str, ...]  # names, whatever their markers say
    sha256: str = ""  # of its wheel, "" where the lock allows several


def packages_in(folder: str, pins: Mapping[str, str]) -> list[Package]:
    """Return the packages in `folder`, sorted; `pins` has the hashes of wheels by name."""
    infos = [f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".dist-info")]
    found = [_package(info, pins) for info in infos if os.path.isfile(f"{info}/METADATA")]
    return sorted(found, key=lambda one: one.name)


def pins_in(listing: str) -> dict[str, str]:
    """Return the hash of each package in a canonical list for which it has exactly one."""
    pins = {}
    for line in listing.splitlines():
        found = _PIN.fullmatch(line)
        hashes = found[3].split() if found else []
        if found and len(hashes) == 1:
            pins[found[1]] = hashes[0].removeprefix("--hash=sha256:")
    return pins


def _package(info: str, pins: Mapping[str, str]) -> Package:
    told = _headers(f"{info}/METADATA")
    name = normalised(told.get("Name", ""))
    tags = _headers(f"{info}/WHEEL").get_all("Tag") or []
    requires = [
        normalised(match[1])
        for text in told.get_all("Requires-Dist") or []
        if (match := _NAME.match(text)) and "extra ==" not in text
    ]
    return Package(
        name,
        told.get("Version", ""),
        _license(told),
        _tag(tags),
        _size(f"{info}/RECORD"),
        tuple(sorted(set(requires))),
        pins.get(name, ""),
    )


def _headers(path: str) -> Any:
    """Return the fields of a METADATA or WHEEL file; none when there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return email.parser.HeaderParser().parse(file)
    except FileNotFoundError:
        return email.parser.HeaderParser().parsestr("")


def _license(told: Any) -> str:
    """Return the licence that a package says it has, in one short line."""
    said = told.get("License-Expression") or told.get("License") or ""
    if said and said != "UNKNOWN" and "\n" not in said and len(said) <= _LONGEST:
        return str(said)
    classifiers = [
        text.rpartition("::")[2].strip()
        for text in told.get_all("Classifier") or []
        if text.startswith("License ::")
    ]
    return " AND ".join(one for one in classifiers if one != "OSI Approved")


def _tag(tags: list[str]) -> str:
    """Return several tags of a wheel as the one of its file name."""
    parts = [tag.split("-") for tag in tags if tag.count("-") == 2]  # noqa: PLR2004 - of three parts
    return "-".join(".".join(dict.fromkeys(column)) for column in zip(*parts, strict=True))


def _size(record: str) -> int:
    try:
        with open(record, encoding="utf-8", newline="") as file:
            return sum(int(row[2]) for row in csv.reader(file) if len(row) > 2 and row[2])  # noqa: PLR2004 - path, hash, size
    except (FileNotFoundError, ValueError):
        return 0


def normalised(name: str) -> str:
    """Return the one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def bill_of(label: str, packages: Iterable[Package], *, content: str) -> dict[str, Any]:
    """Return the bill of materials of the environment `label`, whose digest is `content`."""
    known = {one.name: one for one in packages}
    root = f"mlbuild:{label}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'mlbuild:{content}')}",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [{"type": "application", "name": "mlbuild", "version": __version__}]
            },
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": label,
                "hashes": [{"alg": "BLAKE3", "content": content}],
            },
        },
        "components": [_component(one) for one in known.values()],
        "dependencies": [
            {"ref": root, "dependsOn": [_ref(one) for one in known.values()]},
            *(
                {
                    "ref": _ref(one),
                    "dependsOn": [_ref(known[name]) for name in one.requires if name in known],
                }
                for one in known.values()
            ),
        ],
    }


def _ref(package: Package) -> str:
    version = package.version.replace("+", "%2B")
    return f"pkg:pypi/{package.name}@{version}"


def _component(package: Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _ref(package),
        "name": package.name,
        "version": package.version,
        "purl": _ref(package),
    }
    if package.sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": package.sha256}]
    if package.license:
        is_id = _SPDX.fullmatch(package.license) and " " not in package.license
        # Only a list that we do not carry tells whether a word is one of SPDX's: a name is safe.
        component["licenses"] = [
            {"license": {"name": package.license}}
            if is_id or not _SPDX.fullmatch(package.license)
            else {"expression": package.license}
        ]
    return component
