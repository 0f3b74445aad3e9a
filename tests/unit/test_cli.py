"""The command line: its words, its streams, its exit codes."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlbuild import __version__
from mlbuild.assembly import Explanation
from mlbuild.cli.fault import show_fault
from mlbuild.cli.main import main, split
from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, parse
from mlbuild.cli.session import Screen
from mlbuild.cli.why import explanation_lines
from mlbuild.errors import InputError
from mlbuild.history.why import Difference
from tests.harness import Build

USAGE = Usage(
    "build",
    "PATTERN…",
    "",
    (Option(("-j", "--jobs"), "", "N", "jobs"), Option(("-k",), "", dest="k"), JSON, COLOR, FOLDER),
    most=None,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty workspace that the test stands in."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "mlbuild.toml").write_text('[workspace]\nname = "digits"\n')
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLBUILD_CACHE_DIR", str(tmp_path / "cache"))
    return folder


# Words


@pytest.mark.parametrize(
    ("words", "command", "rest"),
    [
        ("//a:b", "build", "//a:b"),
        (":b -k", "build", ":b -k"),
        ("... //x", "build", "... //x"),
        ("-k //a:b", "build", "-k //a:b"),
        ("build //a:b", "build", "//a:b"),
        ("why //a:b", "why", "//a:b"),
        ("-C why why :b", "why", "-C why :b"),
        ("--color never log :b", "log", "--color never :b"),
        ("--color=never log :b", "log", "--color=never :b"),
        ("-//a/... why", "build", "-//a/... why"),
        ("-- why", "build", "-- why"),
        ("-k", "build", "-k"),
    ],
)
def test_a_first_word_that_is_no_command_is_a_pattern(words: str, command: str, rest: str) -> None:
    assert split(words.split()) == (command, rest.split())


def test_an_unknown_command_is_named_with_the_near_one() -> None:
    with pytest.raises(InputError, match="no command `buidl`") as caught:
        split(["buidl", "//..."])

    assert caught.value.hints[0] == "did you mean `build`?"


def test_options_and_patterns_mix_in_any_order() -> None:
    words = parse(
        USAGE, ["//a/...", "-j4", "-//a/b/...", "-k", ":c", "-C", "x", "-:d", "--", "-k", "e"]
    )

    assert words.rest == ("//a/...", "-//a/b/...", ":c", "-:d", "-k", "e")
    assert words.values == {"jobs": "4", "k": True, "folder": "x"}


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["--jsno"], "`mlbuild build` has no option `--jsno`", "did you mean `--json`?"),
        (["--job", "1"], "`mlbuild build` has no option `--job`", "did you mean `--jobs`?"),
        (["-z"], "`mlbuild build` has no option `-z`", "see `mlbuild help build`"),
        (["//a", "-j"], "`-j` needs a value", "see `mlbuild build --help`"),
        (["--color"], "`--color` needs a value", "see `mlbuild build --help`"),
        (["--json=1"], "`--json` takes no value, but `1` was given", "see `mlbuild build --help`"),
    ],
)
def test_a_wrong_option_is_one_sentence_with_a_way_out(
    words: list[str], said: str, hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        parse(USAGE, words)

    assert caught.value.message == said
    assert caught.value.hints[0].startswith(hint)


def test_a_word_too_many_is_refused() -> None:
    with pytest.raises(InputError, match="`mlbuild why` does not take `:b`"):
        parse(Usage("why", "LABEL", "", (), most=1), [":a", ":b"])


# Commands that need no engine


def test_the_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    codes = [main(["--version"]), main(["version"])]

    assert codes == [0, 0]
    assert capsys.readouterr().out == f"mlbuild {__version__}\n" * 2


@pytest.mark.parametrize("words", [[], ["help"], ["--help"], ["-h"]])
def test_help_shows_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main(words)

    shown = capsys.readouterr().out
    assert code == 0
    for command in ("build", "why", "log", "config", "clean", "version", "help"):
        assert f"\n  {command} " in shown


@pytest.mark.parametrize("words", [["help", "build"], ["build", "--help"], ["//a:b", "-h"]])
def test_help_of_a_command_shows_its_options(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(words)

    shown = capsys.readouterr().out
    assert code == 0
    for option in ("--dry-run", "--rerun", "--executor", "-j", "-k", "--json", "--events", "-C"):
        assert option in shown


def test_settings_are_shown_with_their_origin(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "mlbuild.local.toml").write_text("[build]\njobs = 3\n")
    monkeypatch.setenv("MLBUILD_SALT", "s")

    main(["config"])
    text = capsys.readouterr().out
    main(["config", "--json", "--color", "never"])
    found = json.loads(capsys.readouterr().out)

    assert [" ".join(line.split()) for line in text.splitlines()][2] == (
        "build.jobs = 3 # mlbuild.local.toml"
    )
    assert found["build.jobs"] == {"value": 3, "origin": "mlbuild.local.toml"}
    assert found["build.salt"] == {"value": "s", "origin": "MLBUILD_SALT"}
    assert found["build.color"] == {"value": "never", "origin": "--color"}
    assert found["cache.dir"]["origin"] == "MLBUILD_CACHE_DIR"


def test_an_error_goes_to_stderr_with_its_exit_code(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "mlbuild.toml").write_text("[biuld]\n")

    code = main(["config", "--json"])

    shown = capsys.readouterr()
    assert code == 2
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "error: no section `biuld` is known in `mlbuild.toml`",
        " --> mlbuild.toml:1:2",
        "  |",
        "1 | [biuld]",
        "  |  ^^^^^",
        "hint: did you mean `build`?",
    ]


@pytest.mark.parametrize("command", ["build", "why", "log"])
def test_a_command_without_a_target_says_what_it_needs(
    home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.is_dir()

    code = main([command])

    shown = capsys.readouterr().err.splitlines()
    assert code == 2
    assert shown[0] == "error: no target is named"
    assert shown[1].startswith("hint: ")


def test_a_folder_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "-C", "/no/such/folder"]) == 2
    assert "there is no folder `/no/such/folder`" in capsys.readouterr().err


def test_clean_removes_what_can_be_made_again_and_nothing_else(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "kept").write_text("x")
    (home / "mlbuild-out" / "a").mkdir(parents=True)
    (home / "mlbuild-out" / "a" / "b").symlink_to(tree)
    (home / ".mlbuild").mkdir()
    (home / ".mlbuild" / "stat-index").write_text("x" * 5000)
    (home / "train.py").write_text("")

    code = main(["clean"])

    shown = capsys.readouterr().out.splitlines()
    assert code == 0
    assert sorted(entry.name for entry in home.iterdir()) == ["mlbuild.toml", "train.py"]
    assert (tree / "kept").read_text() == "x"
    assert [line.split(":")[0] for line in shown] == [
        f"removed {home}/mlbuild-out",
        f"removed {home}/.mlbuild",
    ]
    assert main(["clean"]) == 0


def test_clean_does_not_follow_a_link_in_place_of_the_outputs(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    (home / "mlbuild-out").symlink_to(elsewhere)

    main(["clean"])

    assert not (home / "mlbuild-out").is_symlink()
    assert (elsewhere / "kept").exists()


def test_the_store_is_not_emptied_unasked(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (home / ".mlbuild").mkdir()

    code = main(["clean", "--cache"])

    assert code == 2
    assert "add `--yes`" in capsys.readouterr().err
    assert (home / ".mlbuild").exists()


def test_a_folder_that_is_no_store_is_not_emptied(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLBUILD_CACHE_DIR", str(home.parent))

    code = main(["clean", "--cache", "--yes"])

    assert code == 0
    assert "no store at" in capsys.readouterr().out
    assert (home / "mlbuild.toml").exists()


def test_a_fault_of_ours_leaves_its_details_in_a_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen({})
    screen.root = str(home)

    code = show_fault(ValueError("three\nlines\n"), ["//..."], screen)

    shown = capsys.readouterr().err.splitlines()
    (kept,) = (home / ".mlbuild" / "faults").iterdir()
    assert code == 37
    assert shown[0] == "error: mlbuild made a mistake: ValueError: three"
    assert "report it" in shown[1]
    assert str(kept) in shown[2]
    assert "ValueError: three\nlines" in kept.read_text()


def test_a_fault_outside_a_workspace_is_shown_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    code = show_fault(ValueError("three"), [], Screen({}))

    shown = capsys.readouterr().err
    assert code == 37
    assert shown.splitlines()[:2] == [
        "ValueError: three",
        "error: mlbuild made a mistake: ValueError: three",
    ]


def test_a_full_disk_is_no_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    code = show_fault(OSError(errno.ENOSPC, "x", "/store/a"), [], Screen({}))

    assert code == 36
    assert capsys.readouterr().err == "error: no space left on device: `/store/a`\n"


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (
            Explanation(
                *("//m:l", "would run", "2026-11-21T10:56:00Z"),
                differences=(
                    Difference("params", "params.lr", "0.05 → 0.1"),
                    Difference("sources", "input m/train.py", "changed"),
                ),
                versus="2026-11-21T10:56:00Z",
                deps=(),
            ),
            [
                "//m:l would run: since its run of 2026-11-21 10:56:00 UTC this differs:",
                "  params.lr         0.05 → 0.1",
                "  input m/train.py  changed",
            ],
        ),
        (
            Explanation("//m:l", "never built", "", (), "", ()),
            ["//m:l would run: it has never been built here"],
        ),
        (
            Explanation("//m:l", "would run", "", (), "", ("//d:x",)),
            ["//m:l would run after these, unless what they make is as it was:", "  //d:x"],
        ),
        (
            Explanation("//m:l", "cached", "", (), "", ()),
            ["//m:l is up to date; it has not run here, its result was known"],
        ),
    ],
)
def test_an_explanation_is_a_sentence_and_its_differences(
    found: Explanation, lines: list[str]
) -> None:
    assert explanation_lines(found) == lines


# Builds


@pytest.fixture
def letters(build: Build) -> Build:
    return (
        build.file("a.txt", "one\n")
        .genrule("upper", "tr a-z A-Z", "a.txt")
        .genrule("count", "wc -c", ":upper")
        .genrule("broken", "(echo so it goes >&2; exit 3)", "a.txt", package="bad")
        .file("bad/a.txt", "")
    )


def test_results_go_to_stdout_and_the_summary_to_stderr(letters: Build) -> None:
    done = letters.run(":upper", ":count")

    assert done.code == 0
    assert done.stdout.splitlines() == [
        "mlbuild-out/upper/upper.txt",
        "mlbuild-out/count/count.txt",
    ]
    assert done.stderr.splitlines()[-1].startswith("2 targets: 2 ran · ")


def test_labels_are_seen_from_the_current_folder(letters: Build) -> None:
    inside = letters.run(":broken", cwd=letters.root / "bad")
    told = letters.run("-C", "bad", ":broken")

    assert "FAILED //bad:broken" in inside.stderr
    assert "FAILED //bad:broken" in told.stderr


def test_exclusions_are_no_options(letters: Build) -> None:
    done = letters.run("build", "//...", "-//bad/...", "--json")

    assert sorted(json.loads(done.stdout)["ran"]) == ["//:count", "//:upper"]


def test_a_failure_is_shown_with_its_log_and_kept_for_later(letters: Build) -> None:
    done = letters.run("//bad:broken")
    log = letters.run("log", "//bad:broken")

    assert done.code == 1
    assert done.stdout == ""
    assert "  | so it goes" in done.stderr
    assert "again: mlbuild //bad:broken" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("1 target: 1 failed · ")
    assert log.stdout == "so it goes\n"


def test_a_dry_run_says_on_stdout_what_would_run(letters: Build) -> None:
    letters.run(":count")
    letters.file("a.txt", "two\n")

    done = letters.run("--dry-run", ":count")

    assert done.stdout.splitlines()[0] == "would run //:upper  genrule  input a.txt changed"
    assert "would run" in done.stderr.splitlines()[-1]


def test_why_names_the_file_that_changed(letters: Build) -> None:
    letters.run(":upper")
    letters.file("a.txt", "two\n")

    text = letters.run("why", ":upper")
    found = json.loads(letters.run("why", "--json", ":upper").stdout)

    assert text.stdout.splitlines()[1].split() == ["input", "a.txt", "changed"]
    assert found["label"] == "//:upper"
    assert found["status"] == "would run"
    assert [one["name"] for one in found["differences"]] == ["input a.txt"]


def test_events_are_written_for_programs(letters: Build) -> None:
    letters.run("--events", "events.jsonl", ":count")

    lines = [json.loads(line) for line in (letters.root / "events.jsonl").read_text().splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds[0] == "BuildStarted"
    assert kinds[-1] == "BuildFinished"
    assert kinds.count("ActionFinished") == 2


def test_an_error_prints_no_json(letters: Build) -> None:
    done = letters.run("build", "--json", "//:uper")

    assert (done.code, done.stdout) == (2, "")
    assert "did you mean" in done.stderr


def test_a_reader_that_leaves_early_is_no_error(letters: Build) -> None:
    letters.run(":count")
    reading, writing = os.pipe()
    os.close(reading)

    with open(writing, "wb") as nobody:
        done = subprocess.run(
            letters.command("config"),
            cwd=letters.root,
            env=letters.environment(),
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_polite_end_is_an_interruption(build: Build, number: signal.Signals) -> None:
    build.genrule("long", "(cat; sleep 100)")
    child = build.start("--events", "/dev/stdout", ":long")
    assert child.stdout is not None
    while "ActionStarted" not in child.stdout.readline():
        assert child.poll() is None

    child.send_signal(number)
    _, said = child.communicate(timeout=30)

    assert child.returncode == 8, said
    assert "Traceback" not in said


def test_streams_that_are_closed_do_not_end_a_build(letters: Build) -> None:
    code = "import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"

    done = subprocess.run(
        [sys.executable, "-c", code, "-m", "mlbuild", ":count"],
        cwd=letters.root,
        env=letters.environment(),
        stdout=subprocess.PIPE,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, b"mlbuild-out/count/count.txt\n")
