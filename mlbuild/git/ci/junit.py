"""JUnit: a report as the XML that every CI system reads. A case for each target and each gate."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from mlbuild.git.ci.report import Gate, Report, Target
from mlbuild.ui.text import clean_log

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOST = "\ufffd"  # stands for a character that XML cannot hold


def junit(report: Report) -> str:
    """Return the document. Attributes and elements are those that Jenkins' schema knows."""
    cases = [case for target in report.targets for case in _cases(target)]
    if report.fault:
        cases.append(_fault(report))
    counts = {
        "tests": len(cases),
        "failures": sum(one.find("failure") is not None for one in cases),
        "errors": sum(one.find("error") is not None for one in cases),
    }
    skipped = sum(one.find("skipped") is not None for one in cases)
    shared = {name: str(count) for name, count in counts.items()}
    shared |= {"name": _text(report.workspace), "time": f"{report.seconds:.3f}"}
    top = ET.Element("testsuites", shared)
    suite = ET.SubElement(top, "testsuite", shared | {"skipped": str(skipped)})
    suite.extend(cases)
    ET.indent(top)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(top, encoding="unicode")}\n'


def _cases(target: Target) -> Iterator[ET.Element]:
    """Yield the case of a target, then those of its gates."""
    package, _, name = target.label.removeprefix("//").rpartition(":")
    folder = package.replace("/", ".") or "root"
    case = _case(name, folder, target.seconds)
    if target.status == "skipped":
        message = "something that it depends on failed"
        ET.SubElement(case, "skipped", {"message": message})
    elif target.status == "failed" and target.failed is not None:
        said = "\n".join((*map(clean_log, target.failed.tail), *target.failed.hints))
        _went_wrong(case, "error", target.failed.reason, said)
    yield case
    for gate in target.gates:
        yield _gate(gate, f"{folder}.{name}")


def _gate(gate: Gate, within: str) -> ET.Element:
    case = _case(gate.name, within, 0.0)
    value = "nothing" if gate.value is None else f"{gate.value:.10g}"
    if not gate.passed:
        _went_wrong(case, "failure", f"{gate.metric or 'the metric'} is {value}", gate.name)
    return case


def _fault(report: Report) -> ET.Element:
    case = _case("mlbuild", "mlbuild", 0.0)
    _went_wrong(case, "error", "nothing could be built", report.fault)
    return case


def _case(name: str, within: str, seconds: float) -> ET.Element:
    return ET.Element(
        "testcase",
        {"classname": _text(within), "name": _text(name), "time": f"{seconds:.3f}"},
    )


def _went_wrong(case: ET.Element, kind: str, message: str, said: str) -> None:
    found = ET.SubElement(case, kind, {"message": _text(message), "type": kind})
    found.text = _text(said)


def _text(text: str) -> str:
    """Return `text` without what XML 1.0 forbids."""
    return _FORBIDDEN.sub(_LOST, text)
