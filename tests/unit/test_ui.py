"""What people and programs see of a build."""

import io
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlbuild.core.digest import Digest
from mlbuild.core.event import (
    ActionFailed,
    ActionFinished,
    ActionSkipped,
    ActionStarted,
    ActionWaiting,
    BuildFinished,
    BuildStarted,
    Event,
    Failure,
    GpuAwaited,
    Hashing,
    PlanReady,
    Warned,
    WouldRun,
)
from mlbuild.core.result import Content, Result
from mlbuild.errors import InputError, Span
from mlbuild.ui import open_reader
from mlbuild.ui.diagnose import Place, error_lines, failure_lines
from mlbuild.ui.jsonl import Jsonl
from mlbuild.ui.live import Live, last_line
from mlbuild.ui.narrator import Narrator
from mlbuild.ui.plain import Plain
from mlbuild.ui.summary import json_text, result_lines, summary_line
from mlbuild.ui.terminal import Out, Terminal, terminal_of
from mlbuild.ui.text import Paint, bytes_text, clean, clean_log, seconds_text

PLAIN = Paint(color=False)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m \u202egnp.exe\x9b1m\x08"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def result(**fields: object) -> Result:
    content = Content("f", Digest("ab" * 32, 5))
    return Result((("model.npz", content),), Digest("cd" * 32, 7), **fields)  # type: ignore[arg-type]


def finished(label: str = "//a:b", *, ran: bool = True, **fields: object) -> ActionFinished:
    found = result(**{"seconds": 12.4} | fields)
    return ActionFinished(label, label, "train", "k", ran, found, "" if ran else "local")


def failed(label: str = "//a:b", **fields: object) -> ActionFailed:
    failure = Failure(**{"reason": "it ended with exit code 1", "kind": "exit"} | fields)  # type: ignore[arg-type]
    return ActionFailed(label, label, "train", "k", failure)


ALL_EVENTS: tuple[Event, ...] = (
    BuildStarted("id", ("//...",), 2, "sandbox"),
    PlanReady(3, 4),
    Hashing(10, 1000),
    ActionStarted("//a:b", "//a:b", "train", "k", "/nowhere/b.log"),
    ActionWaiting("//a:c", "//a:c", "k"),
    finished(),
    failed("//a:c"),
    ActionSkipped("//a:d", "//a:d", "//a:c"),
    Warned("take care", ("like this",)),
    WouldRun("//a:e", "//a:e", "train", "never built here"),
    BuildFinished(("//a:b",), (), (), ("//a:c",), ("//a:d",)),
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "models").mkdir()
    return Place(str(tmp_path), PLAIN, 80)


# Texts


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00s"),
        (0.021, "0.02s"),
        (0.0999, "0.1s"),
        (12.44, "12.4s"),
        (59.99, "1m 00s"),
        (187, "3m 07s"),
        (3599.9, "1h 00m"),
        (7500, "2h 05m"),
    ],
)
def test_durations_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_sizes_have_a_unit() -> None:
    assert [bytes_text(size) for size in (0, 1023, 1024, 1_500_000, 5 << 30)] == [
        *("0 B", "1023 B", "1.0 KiB", "1.4 MiB", "5.0 GiB")
    ]


def test_nothing_in_a_name_controls_the_terminal() -> None:
    shown = clean(f"a\n{HOSTILE}\udcff")

    assert not CONTROL.search(shown)
    assert "\\x1b[2J" in shown
    assert "\\u202egnp.exe" in shown
    assert shown.endswith("\\udcff")
    assert clean("modèles/数据.csv") == "modèles/数据.csv"


def test_a_line_of_a_log_loses_its_colours_and_what_it_overwrote() -> None:
    assert clean_log("\x1b[32m10%\r\x1b[32m20%\x1b[0m\r\n") == "20%"
    assert clean_log("a\tb") == "a   b"
    assert clean_log("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link"
    assert not CONTROL.search(clean_log(HOSTILE))


# Terminals


@pytest.mark.parametrize(
    ("environ", "color", "live", "colored"),
    [
        ({"TERM": "xterm"}, "auto", True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "auto", True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, "auto", True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "always", True, True),
        ({"TERM": "xterm"}, "never", True, False),
        ({"TERM": "xterm", "CI": "true"}, "auto", False, True),
        ({"TERM": "dumb"}, "auto", False, False),
        ({}, "auto", False, False),
    ],
)
def test_the_environment_says_what_a_terminal_shows(
    environ: dict[str, str], color: str, *, live: bool, colored: bool
) -> None:
    found = terminal_of(Screen(), color=color, environ=environ)

    assert (found.live, found.color) == (live, colored)


def test_a_pipe_is_no_terminal() -> None:
    found = terminal_of(io.StringIO(), color="auto", environ={"TERM": "xterm", "COLUMNS": "60"})

    assert found == Terminal(live=False, color=False, columns=60)


def test_writing_goes_on_in_silence_when_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        out = Out(stream)

        out.write("lost\n")
        out.write("lost as well\n")


def test_letters_that_a_stream_cannot_encode_are_written_out() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    Out(stream).write("0.05 → 0.1\n")

    assert stream.buffer.getvalue() == b"0.05 \\u2192 0.1\n"


# The summary


def test_the_last_line_counts_only_what_there_is() -> None:
    done = BuildFinished(("//a:b", "//a:c"), ("//d:e",) * 3, (), (), (), seconds=12.4)
    bad = BuildFinished((), ("//a:b",), (), ("//a:c",), ("//a:d",), seconds=0.02)
    dry = BuildFinished(("//a:b",), (), (), (), (), seconds=0.1, dry_run=True)

    assert summary_line(done) == "5 targets: 2 ran, 3 cached · 12.4s"
    assert summary_line(bad) == "3 targets: 1 cached, 1 failed, 1 skipped · 0.02s"
    assert summary_line(dry) == "1 target: 1 would run · 0.1s"
    assert summary_line(BuildFinished((), (), (), (), ())) == "0 targets · 0.00s"


def test_the_last_line_says_what_the_shared_cache_did() -> None:
    labels = ("//a:b", "//a:c", "//a:d")
    fetched = BuildFinished(
        *((), labels[:1], labels[1:], (), ()), down=3 << 20, saved=247.0, seconds=1.2
    )
    going = BuildFinished(labels[:1], (), (), (), (), up=10_000, uploads_left=2, uploads_go_on=True)
    left = BuildFinished(labels[:1], (), (), (), (), uploads_left=1)
    dry = BuildFinished((), (), labels, (), (), dry_run=True)

    moved = "3.0 MiB down · saved 4m 07s"
    assert summary_line(fetched) == f"3 targets: 1 cached, 2 fetched · {moved} · 1.2s"
    assert summary_line(going) == "1 target: 1 ran · 9.8 KiB up · 2 uploads go on · 0.00s"
    assert summary_line(left) == "1 target: 1 ran · 1 upload left for later · 0.00s"
    assert summary_line(dry) == "3 targets: 3 would be fetched · 0.00s"


def test_results_are_paths_from_here_and_metrics() -> None:
    build = BuildFinished(
        *((), ("//m:e", "//m:x"), (), (), ()),
        outputs={"//m:e": ("mlbuild-out/m/e/c.json",), "//m:x": ("mlbuild-out/m/x/\x1b[31mf",)},
        metrics={
            "//m:e": {"recall": {"0": 0.5, "1": 1.0}, "accuracy": 0.97349999, "n": 2000},
            "//other:dep": {"loss": 1.0},
        },
    )

    at_root = result_lines(build, root="/w", folder="/w")
    beside = result_lines(build, root="/w", folder="/w/models")

    assert at_root == [
        "mlbuild-out/m/e/c.json",
        "//m:e  accuracy 0.9735  n 2000  recall.0 0.5  recall.1 1",
        "mlbuild-out/m/x/\\x1b[31mf",
    ]
    assert beside[0] == "/w/mlbuild-out/m/e/c.json"


def test_many_files_are_not_listed_and_many_metrics_cut_short() -> None:
    build = BuildFinished(
        *((), ("//m:e",), (), (), ()),
        outputs={"//m:e": tuple(f"mlbuild-out/m/e/{n}" for n in range(21))},
        metrics={"//m:e": {f"m{n:02}": n for n in range(10)}},
    )

    (line,) = result_lines(build, root="/w", folder="/w")

    assert line.startswith("//m:e  m00 0  m01 1")
    assert line.endswith("m07 7  and 2 more")


def test_a_target_that_missed_its_gate_still_shows_what_it_measured() -> None:
    build = BuildFinished((), (), (), ("//m:e",), (), metrics={"//m:e": {"accuracy": 0.4}})

    assert result_lines(build, root="/w", folder="/w") == ["//m:e  accuracy 0.4"]


def test_the_json_object_has_its_seconds_last() -> None:
    build = BuildFinished(
        *(("//a:b",), (), (), (), ()),
        outputs={"//a:b": ("mlbuild-out/a/b/x",)},
        metrics={"//a:b": {"loss": 0.5}},
        seconds=1.23456,
        up=2048,
        saved_local=3.5,
        uploads_left=1,
    )

    text = json_text(build)

    assert text.endswith(', "seconds": 1.235}')
    assert json.loads(text) == {
        "ran": ["//a:b"],
        "cached": [],
        "fetched": [],
        "failed": [],
        "skipped": [],
        "outputs": {"//a:b": ["mlbuild-out/a/b/x"]},
        "metrics": {"//a:b": {"loss": 0.5}},
        "down": 0,
        "up": 2048,
        "saved": 0.0,
        "saved_local": 3.5,
        "uploads_left": 1,
        "seconds": 1.235,
    }


# Errors


def test_an_error_shows_its_place_with_carets_under_the_word(place: Place) -> None:
    Path(place.root, "models/BUILD.ml").write_text(
        'train(\n\tdata = {"mnist": "//data:mnits"},\n)\n'
    )
    error = InputError(
        "no target `mnits` in package `data`",
        span=Span("models/BUILD.ml", 2, 19, 14),
        hints=("did you mean `mnist`?",),
        notes=("the package has 2 targets",),
    )

    assert error_lines(error, place) == [
        "error: no target `mnits` in package `data`",
        " --> models/BUILD.ml:2:19",
        "  |",
        '2 |  data = {"mnist": "//data:mnits"},',
        "  |                   ^^^^^^^^^^^^^^",
        "hint: did you mean `mnist`?",
        "note: the package has 2 targets",
    ]


def test_carets_stand_under_the_word_after_wide_letters(place: Place) -> None:
    Path(place.root, "BUILD.ml").write_text('x("数据", oops)\n')

    lines = error_lines(InputError("x", span=Span("BUILD.ml", 1, 9, 4)), place)

    assert lines[-2:] == ['1 | x("数据", oops)', "  |           ^^^^"]


def test_a_long_line_is_cut_around_the_word(place: Place) -> None:
    Path(place.root, "BUILD.ml").write_text("a" * 500 + " oops " + "b" * 500)

    lines = error_lines(InputError("x", span=Span("BUILD.ml", 1, 502, 4)), place)

    assert max(map(len, lines)) <= 80
    shown, carets = lines[-2:]
    assert shown[carets.index("^") :].startswith("oops")


@pytest.mark.parametrize("line", [0, 9, 10**9])
def test_a_place_that_is_not_there_is_still_named(place: Place, line: int) -> None:
    Path(place.root, "BUILD.ml").write_text("one\n")

    lines = error_lines(InputError("x", span=Span("BUILD.ml", line, 1)), place)

    assert lines[-1].strip() == f"--> BUILD.ml:{line}:1"


def test_a_pipe_in_place_of_a_text_does_not_hang(place: Place) -> None:
    os.mkfifo(Path(place.root, "BUILD.ml"))

    lines = error_lines(InputError("x", span=Span("BUILD.ml", 1, 1)), place)

    assert len(lines) == 2


def test_nothing_hostile_in_an_error_reaches_the_terminal(place: Place) -> None:
    Path(place.root, "BUILD.ml").write_text(f"x = '{HOSTILE}'\n")
    error = InputError(HOSTILE, span=Span("BUILD.ml", 1, 5, 9), hints=(HOSTILE,), notes=(HOSTILE,))

    text = "\n".join(error_lines(error, place))

    assert not CONTROL.search(text)


def test_a_failure_shows_reason_log_and_how_to_go_on() -> None:
    event = failed(
        "//models:lenet",
        seconds=3.2,
        log="/store/runs/1/logs/lenet.log",
        tail=("epoch 1", "\x1b[31mValueError: bad\x1b[0m"),
        hints=("declare `x.csv`",),
    )

    assert failure_lines(event, PLAIN) == [
        "FAILED //models:lenet train: it ended with exit code 1 after 3.2s",
        "  | epoch 1",
        "  | ValueError: bad",
        "  hint: declare `x.csv`",
        "  log: /store/runs/1/logs/lenet.log",
        "  again: mlbuild //models:lenet",
    ]


def test_a_failure_shows_the_last_twenty_lines_and_quotes_what_a_shell_would_read() -> None:
    event = failed("//a:b c", kind="gate", tail=tuple(str(n) for n in range(100)))

    lines = failure_lines(event, PLAIN)

    assert lines[0].startswith("GATE MISSED //a:b c")
    assert [line for line in lines if line.startswith("  |")][0::19] == ["  | 80", "  | 99"]
    assert lines[-1] == "  again: mlbuild '//a:b c'"


# Readers


def test_what_ran_is_told_and_what_was_cached_is_not() -> None:
    narrator = Narrator(PLAIN)

    ran = narrator.lines(finished(metrics={"loss": 0.25}))
    cached = narrator.lines(finished(ran=False))

    assert ran == ["//a:b  train  ran in 12.4s  loss 0.25"]
    assert cached == []


def test_what_ran_elsewhere_is_told_with_the_executor_that_ran_it() -> None:
    narrator = Narrator(PLAIN)
    narrator.lines(BuildStarted("id", ("//...",), 2, "gpubox"))

    there = narrator.lines(finished(executor="gpubox"))
    here = narrator.lines(finished(executor="sandbox"))
    broken = narrator.lines(failed())

    assert there == ["//a:b  train  ran on gpubox in 12.4s"]
    assert here == ["//a:b  train  ran in 12.4s"]
    assert broken[-1] == "  again: mlbuild //a:b --executor gpubox"


def test_what_many_wait_for_in_a_queue_is_told_once() -> None:
    narrator = Narrator(PLAIN)

    queued = [
        narrator.lines(GpuAwaited(one, one, "Slurm: Priority", "")) for one in ("//:a", "//:b")
    ]
    lent = [narrator.lines(GpuAwaited(one, one, "1 GPU", "//:c")) for one in ("//:a", "//:b")]

    assert queued == [["//:a  waits for Slurm: Priority"], []]
    assert len([*lent[0], *lent[1]]) == 2


def test_warnings_are_told_once() -> None:
    narrator = Narrator(PLAIN)

    told = [narrator.lines(Warned("take care", ("so",))) for _ in range(2)]
    unsealed = [narrator.lines(finished(hermetic=False)) for _ in range(2)]

    assert told == [["warning: take care", "hint: so"], []]
    assert [len(lines) for lines in unsealed] == [2, 1]
    assert "hermetic: false" in unsealed[0][1]


def test_an_engine_that_warned_of_unsealed_results_is_not_repeated() -> None:
    narrator = Narrator(PLAIN)
    narrator.lines(Warned("no sandbox here: results are marked hermetic: false"))

    assert len(narrator.lines(finished(hermetic=False))) == 1


def test_what_was_written_besides_and_what_was_not_kept_is_told() -> None:
    event = ActionFinished(
        *("//a:b", "//a:b", "train", "k"),
        ran=True,
        result=result(undeclared=("w", "x", "y", "z")),
        shared=False,
        note="`train.py` changed while it ran",
    )

    lines = Narrator(PLAIN).lines(event)

    assert "w, x, y and 1 more" in lines[1]
    assert lines[2] == "warning: //a:b: `train.py` changed while it ran"


def test_the_verdicts_of_gates_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "gate.log"
    log.write_text("accuracy 0.9712 >= 0.95  pass\n")
    event = ActionFinished(
        "//a:b#gate", "//a:b", "gate", "k", ran=True, result=result(), log=str(log)
    )

    lines = Narrator(PLAIN).lines(event)

    assert lines[1] == "  accuracy 0.9712 >= 0.95  pass"


def test_plain_text_has_no_control_characters() -> None:
    stream = io.StringIO()
    reader = Plain(Out(stream), paint=PLAIN)

    for event in (*ALL_EVENTS, failed(HOSTILE, tail=(HOSTILE,)), Warned(HOSTILE)):
        reader(event)
    reader.close()

    assert not CONTROL.search(stream.getvalue())
    assert "\x1b" not in stream.getvalue()


def test_plain_text_tells_what_has_been_running_for_long() -> None:
    stream, clock = io.StringIO(), Clock()
    reader = Plain(Out(stream), paint=PLAIN, clock=clock)
    for name in "abcde":
        reader(ActionStarted(f"//:{name}", f"//:{name}", "train", "k", ""))
        clock.now += 8
    reader(finished("//:a"))

    clock.now = 58
    reader.tick()
    reader.close()

    assert stream.getvalue().splitlines()[-1] == (
        "still running: //:b (50.0s), //:c (42.0s), //:d (34.0s)"
    )


def test_plain_text_tells_of_long_hashing_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    reader = Plain(Out(stream), paint=PLAIN, clock=clock)

    for second in range(40):
        clock.now = second
        reader(Hashing(second + 1, 1 << 30))
    reader.close()

    assert stream.getvalue().splitlines() == [
        "hashing source files: 1 file, 1.0 GiB so far",
        "hashing source files: 31 files, 1.0 GiB so far",
    ]


def test_plain_text_does_not_load_the_drawing_library() -> None:
    code = (
        "import io, sys; from mlbuild.ui import open_reader; from mlbuild.ui.terminal import *;"
        "open_reader(Out(io.StringIO()), Terminal(False, False, 0)); import mlbuild.ui.diagnose,"
        "mlbuild.ui.summary, mlbuild.ui.jsonl, mlbuild.ui.live; sys.exit('rich' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_reader_suits_the_stream() -> None:
    lively = open_reader(Out(Screen()), Terminal(live=True, color=True, columns=0))
    plain = open_reader(Out(io.StringIO()), Terminal(live=False, color=False, columns=0))

    assert isinstance(lively, Live)
    assert isinstance(plain, Plain)


def test_every_event_is_one_line_of_json() -> None:
    stream, clock = io.StringIO(), Clock()
    reader = Jsonl(stream, clock=clock)

    for event in ALL_EVENTS:
        clock.now += 0.5
        reader(event)
    reader.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["type"] for line in lines] == [type(event).__name__ for event in ALL_EVENTS]
    assert [line["time"] for line in lines[:3]] == [0.5, 1.0, 1.5]
    ended = next(line for line in lines if line["type"] == "ActionFinished")
    assert ended["result"]["outputs"] == [["model.npz", f"f:{'ab' * 32}:5"]]
    assert ended["result"]["tree"] == f"{'cd' * 32}:7"
    assert lines[6]["failure"]["reason"] == "it ended with exit code 1"


def test_names_that_are_no_text_still_make_json() -> None:
    stream = io.StringIO()

    Jsonl(stream)(Warned("caf\udce9"))

    assert json.loads(stream.getvalue())["message"] == "caf\udce9"


def test_the_last_line_of_a_growing_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert last_line(str(log)) == ""

    log.write_bytes(b"x" * 10_000 + b"\nepoch 1\r\x1b[31mepoch 2\xff\n\n")

    assert last_line(str(log)) == "epoch 2\N{REPLACEMENT CHARACTER}"


def test_a_quick_build_is_written_without_drawing() -> None:
    stream = Screen()
    reader = Live(Out(stream), terminal=Terminal(live=True, color=False, columns=80), clock=Clock())

    reader(ActionStarted("//a:b", "//a:b", "train", "k", ""))
    reader(finished())
    reader.close()

    assert stream.getvalue() == "//a:b  train  ran in 12.4s\n"


def test_what_waits_says_for_what_and_what_runs_elsewhere_says_where() -> None:
    stream, clock = Screen(), Clock()
    reader = Live(Out(stream), terminal=Terminal(live=True, color=False, columns=80), clock=clock)
    reader(BuildStarted("id", ("//...",), 2, "gpubox"))
    reader(ActionStarted("//a:b", "//a:b", "train", "k", ""))
    reader(GpuAwaited("//a:c", "//a:c", "1 A100 GPU", "//a:d (process 7)"))

    clock.now = 2.0
    reader.draw()
    reader.close()

    assert "//a:b  train on gpubox  2.0s" in stream.getvalue()
    assert "//a:c  waits for 1 A100 GPU  2.0s" in stream.getvalue()


SHOW = """
import sys, time
sys.path.insert(0, {tests!r})
from mlbuild.core.event import *
from mlbuild.core.result import Result
from mlbuild.core.digest import Digest
from mlbuild.ui import open_reader
from mlbuild.ui.terminal import Out, terminal_of
out = Out(sys.stderr)
reader = open_reader(out, terminal_of(sys.stderr, color="auto", environ={{"TERM": "xterm"}}))
reader(PlanReady(3, 3))
for n in range(3):
    reader(ActionStarted(f"//:t{{n}}", f"//:t{{n}}", "train", "k", {log!r}))
print("started", flush=True)
sys.stdin.readline()
for n in range(3):
    found = Result((), Digest("", 0))
    reader(ActionFinished(f"//:t{{n}}", f"//:t{{n}}", "train", "k", True, found))
reader.close()
out.write("the end\\n")
"""


def read_until(descriptor: int, wanted: str, *, seconds: float = 20.0) -> str:
    """Return what a terminal shows up to the time that `wanted` came by."""
    shown, deadline = "", time.monotonic() + seconds
    while wanted not in shown and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            shown += os.read(descriptor, 65536).decode("utf-8", "replace")
    return shown


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_a_terminal_shows_what_runs_and_is_left_clean(
    tmp_path: Path, terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    log = tmp_path / "t.log"
    log.write_text(f"start\n{HOSTILE} epoch 7\n")
    code = SHOW.format(tests=str(tmp_path), log=str(log))

    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as child:
        running = read_until(ours, "0 of 3 actions")
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        after = read_until(ours, "the end")

    assert "//:t2" in running
    assert "epoch 7" in running
    assert "owned" not in running
    assert "\x1b[2J" not in running
    assert "\u202e" not in running
    assert "//:t0  train  ran in" in after
    assert after.rindex("\x1b[?25h") > after.rindex("actions")  # the cursor is shown again


HASH = """
import sys
from mlbuild.core.event import *
from mlbuild.ui import open_reader
from mlbuild.ui.terminal import Out, terminal_of
reader = open_reader(
    Out(sys.stderr), terminal_of(sys.stderr, color="auto", environ={"TERM": "xterm"})
)
reader(PlanReady(3, 3))
for files in (7, 12345):
    reader(Hashing(files, files << 20))
    sys.stdin.readline()
reader(ActionStarted("//:t", "//:t", "train", "k", ""))
sys.stdin.readline()
reader.close()
"""


def test_a_terminal_shows_how_far_hashing_has_come(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal

    with subprocess.Popen(
        [sys.executable, "-c", HASH], stdin=subprocess.PIPE, stderr=theirs, text=True, bufsize=1
    ) as child:
        assert child.stdin is not None
        first = read_until(ours, "hashing 7 files, 7.0 MiB")
        child.stdin.write("\n")
        second = read_until(ours, "hashing 12,345 files, 12.1 GiB")
        child.stdin.write("\n")
        third = read_until(ours, "//:t  train")
        third = third[third.rindex("//:t  train") :] + read_until(ours, "0 of 3 actions")
        child.stdin.write("\n")

    assert "hashing 7 files" in first
    assert "hashing 12,345 files" in second
    assert "hashing" not in third
