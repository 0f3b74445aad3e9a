"""What a build runs, and what it does not."""

import json
import shutil
from pathlib import Path

from tests.harness import Build


def test_a_second_build_runs_nothing(build: Build) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")
    build.genrule("count", "wc -c", ":upper")
    first = build("//...")

    second = build("//...")

    assert first.ran == ["//:count", "//:upper"]
    assert second.ran == []
    assert second.cached == ["//:count", "//:upper"]
    assert build.output("upper/upper.txt") == "ONE\n"


def test_an_unchanged_output_stops_the_rebuild(build: Build) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")
    build.genrule("count", "wc -c", ":upper")("//:count")

    build.file("a.txt", "ONE\n")  # differs, yet `upper` yields the same bytes

    assert build("//:count").ran == ["//:upper"]


def test_deleted_outputs_and_state_come_back_without_running(build: Build) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")("//...")

    shutil.rmtree(build.root / "mlbuild-out")
    shutil.rmtree(build.root / ".mlbuild")

    assert build("//...").ran == []
    assert build.output("upper/upper.txt") == "ONE\n"


def test_a_copy_at_another_path_runs_nothing(build: Build, tmp_path: Path) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")("//...")

    other = build.copy(tmp_path / "elsewhere" / "deeper")

    assert other("//...").ran == []
    assert other.output("upper/upper.txt") == "ONE\n"


def test_reverting_an_edit_runs_nothing(build: Build) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")("//...")
    build.file("a.txt", "two\n")
    build("//...")

    build.file("a.txt", "one\n")

    assert build("//...").ran == []
    assert build.output("upper/upper.txt") == "ONE\n"


def test_an_edit_of_the_same_size_in_the_same_instant_is_seen(build: Build) -> None:
    build.file("a.txt", "0000\n").genrule("copy", "cat", "a.txt")("//...")

    for number in range(1, 12):
        build.file("a.txt", f"{number:04}\n")
        build("//...")
        assert build.output("copy/copy.txt") == f"{number:04}\n"


def test_patterns_select_and_exclude(build: Build) -> None:
    build.genrule("a", "cat").genrule("b", "cat")
    build.genrule("c", "cat", package="deep/down").genrule("d", "cat", package="deep")

    assert build("//...").ran == ["//:a", "//:b", "//deep/down:c", "//deep:d"]
    assert build("//deep/...", "-//deep/down:c").cached == ["//deep:d"]
    assert build("//:all").cached == ["//:a", "//:b"]
    assert build(":a").cached == ["//:a"]
    assert build("//deep:d").cached == ["//deep:d"]


def test_patterns_are_relative_to_where_they_are_given(build: Build) -> None:
    build.genrule("c", "cat", package="deep/down").genrule("d", "cat", package="deep")

    done = build.run("--json", ":d", cwd=build.root / "deep")

    assert json.loads(done.stdout)["ran"] == ["//deep:d"]
    assert json.loads(build.run("--json", "...", cwd=build.root / "deep/down").stdout)["ran"] == [
        "//deep/down:c"
    ]


def test_an_output_is_a_label(build: Build) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")
    build.genrule("one", "cat", ":upper.txt").genrule("two", "cat", "//:upper/upper.txt")

    assert build("//:one", "//:two").ran == ["//:one", "//:two", "//:upper"]


def test_keep_going_builds_what_does_not_depend_on_the_failure(build: Build) -> None:
    build.genrule("bad", "false; exit 3; cat").genrule("after", "cat", ":bad").genrule(
        "good", "cat"
    )
    build.edit("BUILD.ml", "cat $(SRCS) /dev/null | false; exit 3; cat > $@", "exit 3")

    done = build("-k", "//...", code=1)

    assert (done.ran, done.failed, done.skipped) == (["//:good"], ["//:bad"], ["//:after"])


def test_a_dry_run_tells_and_does_nothing(build: Build) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")
    build.genrule("count", "wc -c", ":upper")

    done = build("--dry-run", "//...")

    assert done.ran == ["//:count", "//:upper"]
    assert not (build.root / "mlbuild-out").exists()
    assert "never built here" in done.stderr


def test_rerun_runs_what_was_asked_for_and_not_its_dependencies(build: Build) -> None:
    build.file("a.txt", "one\n").genrule("upper", "tr a-z A-Z", "a.txt")
    build.genrule("count", "wc -c", ":upper")("//...")

    assert build("--rerun", "//:count").ran == ["//:count"]
