"""What a CI job has to say: as a comment, as JUnit XML, as OpenMetrics."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mlbuild.git.ci.gates import missed_gates, passed_gates
from mlbuild.git.ci.junit import junit
from mlbuild.git.ci.markdown import COMMENT, SUMMARY, comment, headline, marker_of, summary
from mlbuild.git.ci.openmetrics import openmetrics
from mlbuild.git.ci.report import Failed, Gate, Measured, Report, Target, compared
from tests.junit import cases, checked

GOLDEN = Path(__file__).parent.parent / "golden/ci"
EVAL = Target(
    "//models:lenet_eval",
    "missed",
    "evaluate",
    "through //models:lenet: file models/train.py",
    seconds=1.25,
    gates=(
        Gate("size", "<= 10", 4.0, passed=True),
        Gate("accuracy", ">= 0.95", 0.9312, passed=False),
    ),
    metrics=(Measured("accuracy", 0.9312, 0.9735), Measured("size", 4, 4)),
    based=True,
    failed=Failed("a gate was missed", ("accuracy 0.9312 >= 0.95  MISSED",)),
)
FULL = Report(
    "digits",
    "origin/main",
    "3a646210c1a5" + "0" * 28,
    "409393a6dfdd" + "0" * 28,
    (
        Target("//data:mnist", "cached", "dataset", "file data/a.gz"),
        Target(
            "//models:lenet",
            "ran",
            "train",
            "file models/train.py",
            seconds=190.0,
            metrics=(Measured("loss", 0.25, None), Measured("time.epoch", 2.5, None)),
        ),
        EVAL,
        Target(
            "//models:small",
            "ran",
            "train",
            "new: BUILD.ml",
            new=True,
            seconds=0.5,
            metrics=(Measured("loss", 0.5, None),),
        ),
        Target(
            "//tools:count",
            "failed",
            "genrule",
            "BUILD.ml",
            seconds=0.04,
            failed=Failed(
                "it ended with exit code 2",
                ("```", "\x1b[31mno such file: `a|b`\x1b[0m"),
                ("add `tools/count.py` to `srcs` of `//tools:count`",),
            ),
        ),
        Target("//tools:sum", "skipped", "genrule", "through //tools:count: BUILD.ml"),
    ),
    ("//models:old",),
    hits=6,
    runs=4,
    saved=3725.0,
    seconds=195.5,
    exit_code=1,
    fork=True,
    url="https://example.org/jobs/1",
    warnings=("`data/extra.csv` is not in git",),
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("comment.md", comment(FULL)),
        ("nothing.md", comment(Report("digits", "main", "3a646210c1a5", "409393a6dfdd"))),
        ("fault.md", summary(Report("digits", fault="BUILD.ml:1:1: no such rule\nis it `train`?"))),
        ("junit.xml", junit(FULL)),
        ("metrics.txt", openmetrics(FULL)),
    ],
)
def test_the_texts_of_a_report(name: str, text: str) -> None:
    place = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        place.write_text(text)

    expected = place.read_text()

    assert text == expected


def test_the_comment_is_found_by_its_first_line_whatever_the_workspace_is_called() -> None:
    text = comment(replace(FULL, workspace='a "b" --> <script>\n'))

    first = text.splitlines()[0]

    assert re.fullmatch(r"<!-- mlbuild ci [A-Za-z0-9_. -]+ -->", first)
    assert "<script>" not in text


def test_a_comment_is_never_too_long_and_says_what_was_cut() -> None:
    many = tuple(
        replace(EVAL, label=f"//models/{'x' * 90}:é{number}", status="failed")
        for number in range(3000)
    )

    text = comment(replace(FULL, targets=many))

    assert COMMENT - 2000 < len(text) <= COMMENT
    assert "Cut to fit" in text
    assert re.search(r"… and [\d,]+ more", text)
    assert text.count("<details>") == text.count("</details>")
    assert len(summary(replace(FULL, targets=many))) <= SUMMARY


def test_nothing_in_a_name_becomes_markup_or_mentions_somebody() -> None:
    evil = "//a:`@everyone`|<img src=x>\n# big"
    target = replace(EVAL, label=evil, metrics=(Measured("@you`|", 1.0, None),))

    text = comment(replace(FULL, targets=(target,), warnings=("@team <b>look</b>",)))

    assert "\n# big" not in text
    assert "`//a:'@everyone'\\|<img src=x>\\n# big`" in text
    assert "\\@team \\<b\\>look\\</b\\>" in text


def test_junit_has_a_case_for_each_target_and_each_gate() -> None:
    found = cases(checked(junit(FULL)))

    assert found == {
        "data mnist": "passed",
        "models lenet": "passed",
        "models lenet_eval": "passed",
        "models.lenet_eval size <= 10": "passed",
        "models.lenet_eval accuracy >= 0.95": "failure",
        "models small": "passed",
        "tools count": "error",
        "tools sum": "skipped",
    }


def test_junit_leaves_out_what_xml_forbids() -> None:
    said = "\x00\x08\x1b\ufffe\ud800 kept: é 🦊 \t"
    bad = Target("//a\x07:b", "failed", failed=Failed(said, (said,)))

    root = checked(junit(Report(f"w{said}", targets=(bad,), fault=said)))

    (case, fault) = root.iter("testcase")
    assert case.get("classname") == "a\ufffd"
    assert "kept: é 🦊" in (case[0].text or "")
    assert fault[0].tag == "error"


def test_openmetrics_is_grouped_named_and_ended_as_specified() -> None:
    odd = replace(EVAL, metrics=(Measured('a "b"\\\n', 0.5, None), Measured("gone", None, 1.0)))

    lines = openmetrics(replace(FULL, targets=(odd,))).splitlines()

    assert lines[-1] == "# EOF"
    sample = re.compile(
        r'[a-z_]+(\{[a-z]+="(\\["\\n]|[^"\\\n])*"(,[a-z]+="(\\["\\n]|[^"\\\n])*")*\})? -?[0-9.e+-]+'
    )
    families: list[str] = []
    for line in lines[:-1]:
        if line.startswith("# TYPE "):
            families.append(line.split()[2])
        assert line.startswith("# ") or sample.fullmatch(line), line
        assert families[-1] in line
    assert len(families) == len(set(families))
    assert r'metric="a \"b\"\\\n"' in "\n".join(lines)
    assert "gone" not in "\n".join(lines)


def test_metrics_are_compared_by_their_dotted_names() -> None:
    now = {"accuracy": 0.9, "by": {"class": {"0": 1}}, "only_now": 1}
    base = {"accuracy": 0.8, "by": {"class": {"0": 2}}, "only_then": 3}

    found = {one.metric: (one.now, one.base) for one in compared(now, base)}

    assert found == {
        "accuracy": (0.9, 0.8),
        "only_now": (1, None),
        "only_then": (None, 3),
        "by.class.0": (1, 2),
    }


def test_the_headline_counts_gates_before_targets() -> None:
    fine = replace(EVAL, status="ran", gates=EVAL.gates[:1])

    assert headline(FULL) == "1 gate missed, 1 target failed, 1 not built"
    assert headline(Report("w", targets=(fine,))) == "1 target built, 1 gate passed"
    assert headline(Report("w")) == "nothing is affected"


def test_gates_are_read_from_what_a_gate_wrote_and_said(tmp_path: Path) -> None:
    (tmp_path / "gates.json").write_text(
        '{"gates": [{"metric": "a.b", "value": 1, "bound": ">= 0.5", "passed": true}]}'
    )
    (tmp_path / "gate.log").write_text(
        "a.b 1 >= 2  MISSED\n"
        "c d 0.5 < 1  pass\n"
        "e is no metric (there is: a, b), wanted > 3  MISSED\n"
    )

    passed = passed_gates(str(tmp_path), ["metrics.json", "gates.json"])
    missed = missed_gates(str(tmp_path / "gate.log"))

    assert passed == (Gate("a.b", ">= 0.5", 1.0, passed=True),)
    assert missed == (
        Gate("a.b", ">= 2", 1.0, passed=False),
        Gate("c d", "< 1", 0.5, passed=True),
        Gate("e", "> 3", None, passed=False),
    )


def test_a_gate_that_says_nothing_of_itself_was_missed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "gates.json").write_text("[1, 2]")

    missed = missed_gates(str(tmp_path / "gone.log"))

    assert [one.passed for one in missed] == [False]
    assert missed[0].name == "gate"
    assert passed_gates(str(tmp_path), ["gates.json"]) == ()


def test_a_marker_is_the_workspaces_own() -> None:
    assert marker_of("digits") != marker_of("letters")
