"""The common JUnit schema (that of Jenkins), as far as documents can go wrong against it."""

from xml.etree import ElementTree as ET

ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "disabled", "errors"},
    "testsuite": {
        *("name", "tests", "failures", "errors", "time", "disabled", "skipped"),
        *("timestamp", "hostname", "id", "package"),
    },
    "testcase": {"name", "assertions", "time", "classname", "status"},
    "skipped": {"message", "type"},
    "error": {"message", "type"},
    "failure": {"message", "type"},
}
REQUIRED = {"testsuite": {"name", "tests"}, "testcase": {"name", "classname"}}
CHILDREN = {
    "testsuites": ["testsuite"],
    "testsuite": ["testcase"],
    "testcase": ["skipped", "error", "failure"],
}


def checked(text: str) -> ET.Element:
    """Return the root of a document that keeps to the schema, and whose counts are right."""
    root = ET.fromstring(text)  # noqa: S314 - ours
    assert root.tag == "testsuites"
    for element in root.iter():
        names = set(element.keys())
        assert names <= ATTRIBUTES[element.tag], element.tag
        assert REQUIRED.get(element.tag, set()) <= names
        assert all(child.tag in CHILDREN.get(element.tag, []) for child in element)
        order = [CHILDREN[element.tag].index(child.tag) for child in element]
        assert order == sorted(order), "children are a sequence"
        for name in names & {"tests", "failures", "errors", "skipped"}:
            assert int(element.get(name, "")) >= 0
        assert float(element.get("time", "0")) >= 0
    for suite in root:
        assert int(suite.get("tests", "")) == len(suite)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name, "")) == sum(case.find(tag) is not None for case in suite)
    return root


def cases(root: ET.Element) -> dict[str, str]:
    """Return what came of each case, by class and name."""
    return {
        f"{case.get('classname')} {case.get('name')}": next((one.tag for one in case), "passed")
        for case in root.iter("testcase")
    }
