"""`mlbuild watch`: what is built is what is on the disk, however it came to be there."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.harness import Build
from tests.watching import Watching, watching

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
LIMIT = Path("/proc/sys/user/max_inotify_watches")


def pair(build: Build) -> Build:
    """Declare `//data:all`, all of `data/*.csv`, and `//models:m`, which adds `conf.txt` to it."""
    build.file("data/BUILD.ml", genrule("all", 'glob(["*.csv"])')).file("data/a.csv", "a\n")
    build.file("models/BUILD.ml", genrule("m", '["//data:all", "conf.txt"]'))
    return build.file("models/conf.txt", "conf\n")


def genrule(name: str, srcs: str, cmd: str = "cat $(SRCS) > $@") -> str:
    return f'genrule(name = "{name}", srcs = {srcs}, outs = ["{name}.txt"], cmd = """{cmd}""")\n'


def save(path: Path, text: str) -> None:
    """Save a file as most editors do: beside it, then in its place."""
    aside = path.with_name(f".{path.name}.swp")
    aside.write_text(text)
    aside.rename(path)


def git(build: Build, *words: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0", *words]
    subprocess.run(command, cwd=build.root, check=True, capture_output=True)


def paths(report: dict[str, list[dict[str, str]]]) -> set[tuple[str, str]]:
    return {(one["path"], one["how"]) for one in report["changed"]}


def test_a_saved_file_rebuilds_what_it_affects_and_is_named(build: Build) -> None:
    with watching(pair(build)) as watch:
        watch.built(1)

        save(build.root / "models/conf.txt", "other\n")
        report = watch.built(2)

    assert (report["ran"], report["cached"]) == (["//models:m"], ["//data:all"])
    assert paths(report) == {("models/conf.txt", "changed")}
    assert build.output("models/m/m.txt") == "a\nother\n"
    assert "models/conf.txt changed\n" in watch.said
    assert "watching 4 folders · waiting for changes\n" in watch.said


def test_a_file_that_is_truncated_and_written_bit_by_bit_is_built_as_a_whole(build: Build) -> None:
    with watching(pair(build)) as watch:
        watch.built(1)

        with (build.root / "data/a.csv").open("w") as file:
            for number in range(200):
                file.write(f"{number}\n")
                file.flush()
        watch.until(lambda: build.output("models/m/m.txt").endswith("199\nconf\n"), "complete")

    assert build.output("data/all/all.txt").startswith("0\n1\n")


def test_files_that_a_glob_matches_may_come_and_go(build: Build) -> None:
    with watching(pair(build)) as watch:
        watch.built(1)

        build.file("data/b.csv", "b\n")
        came = watch.built(2)
        (build.root / "data/a.csv").unlink()
        gone = watch.built(3)

    assert paths(came) == {("data/b.csv", "new")}
    assert paths(gone) == {("data/a.csv", "gone")}
    assert build.output("data/all/all.txt") == "b\n"


def test_build_files_loaded_files_settings_and_new_packages_count(build: Build) -> None:
    build.file("tools/BUILD.ml").file("tools/defs.bzl", 'WORD = "one"\n')
    load = 'load("//tools:defs.bzl", "WORD")\n'
    build.file("BUILD.ml", load + genrule("w", "[]", 'echo "%s" > $@').replace('"""', '"""', 1))
    build.edit("BUILD.ml", '> $@"""', '> $@""" % WORD')
    with watching(build) as watch:
        watch.built(1)

        save(build.root / "tools/defs.bzl", 'WORD = "two"\n')
        watch.built(2)
        loaded = build.output("w/w.txt")
        build.edit("BUILD.ml", "echo", "echo so")
        watch.built(3)
        edited = build.output("w/w.txt")
        build.file("mlbuild.local.toml", '[build]\nsalt = "x"\n')
        salted = watch.built(4)
        build.file("deep/down/BUILD.ml.new", genrule("new", "[]", "echo new > $@"))
        (build.root / "deep/down/BUILD.ml.new").rename(build.root / "deep/down/BUILD.ml")
        watch.until((build.root / "mlbuild-out/deep/down/new/new.txt").exists, "built")

    assert (loaded, edited, salted["ran"]) == ("two\n", "so two\n", ["//:w"])


def test_a_folder_that_moves_away_and_another_in_its_place_are_noticed(build: Build) -> None:
    pair(build).file("other/BUILD.ml", (build.root / "data/BUILD.ml").read_text())
    build.file("other/a.csv", "O\n")
    with watching(build, "//models:m") as watch:
        watch.built(1)

        (build.root / "data").rename(build.root / "was")
        missing = watch.built(2)
        (build.root / "other").rename(build.root / "data")
        watch.built(3)
        replaced = build.output("models/m/m.txt")
        build.file("data/a.csv", "P\n")  # in a folder that had another name when it was listened to
        watch.built(4)
        build.file("was/a.csv", "nobody asks\n")
        build.file("models/conf.txt", "last\n")
        watch.built(5)

    assert missing["error"] == "there is no package `//data`, which `//data:all` names"
    assert missing["place"] == "models/BUILD.ml:1:30"
    assert replaced == "O\nconf\n"
    assert build.output("models/m/m.txt") == "P\nlast\n"


def test_a_folder_that_is_deleted_and_made_again_is_listened_to_again(build: Build) -> None:
    text = (pair(build).root / "data/BUILD.ml").read_text()
    with watching(build) as watch:
        watch.built(1)

        shutil.rmtree(build.root / "data")
        build.file("data/BUILD.ml", text).file("data/a.csv", "again\n")
        watch.until(lambda: build.output("models/m/m.txt") == "again\nconf\n", "built again")
        build.file("data/a.csv", "and again\n")
        watch.until(lambda: build.output("models/m/m.txt") == "and again\nconf\n", "rung again")


def test_a_branch_with_thousands_of_other_files_is_built(build: Build) -> None:
    build.file("BUILD.ml", genrule("all", 'glob(["data/**/*.csv"])', "cat $(SRCS) | wc -c > $@"))
    build.file(".gitignore", "mlbuild-out\n.mlbuild\n")
    git(build, "init", "-q", "-b", "main")
    for name, text in (("main", "1\n"), ("other", "22\n")):
        if name != "main":
            git(build, "checkout", "-q", "-b", name)
        for number in range(1000):
            build.file(f"data/{number % 30}-{name}/{number}.csv", text)
        git(build, "add", ".")
        git(build, "commit", "-q", "-m", name)
    with watching(build) as watch:
        watch.built(1)
        both = build.output("all/all.txt").strip()

        git(build, "checkout", "-q", "main")
        watch.until(lambda: build.output("all/all.txt").strip() == "2000", "built main")
        git(build, "checkout", "-q", "other")
        watch.until(lambda: build.output("all/all.txt").strip() == both, "built other")

    assert both == "5000"


def test_events_that_the_kernel_drops_lose_nothing(build: Build) -> None:
    size = int(QUEUE.read_text())
    if size > 40_000:
        pytest.skip(f"the queue of inotify holds {size} events here: too many to fill it")
    with watching(pair(build)) as watch:
        watch.built(1)

        with watch.stopped():
            scratch = [build.root / "models" / name for name in ("one", "two")]
            for number in range(size):  # two events each, no two alike in a row: more than it holds
                os.close(os.open(scratch[number % 2], os.O_CREAT))
                scratch[number % 2].unlink()
            build.file("data/new/BUILD.ml", genrule("late", "[]", "echo late > $@"))
            save(build.root / "models/conf.txt", "late\n")
        watch.until(lambda: build.output("models/m/m.txt") == "a\nlate\n", "built")
        build.file("data/new/BUILD.ml", genrule("late", "[]", "echo later > $@"))
        late = build.root / "mlbuild-out/data/new/late/late.txt"
        watch.until(lambda: late.exists() and late.read_text() == "later\n", "built again")

    assert "overflow" not in watch.said


def test_an_edit_while_a_command_runs_is_built_afterwards_and_voids_its_result(
    build: Build,
) -> None:
    go, begun = build.root.parent / "go", build.root.parent / "begun"
    wait = f"cat $(SRCS) > $@; touch {begun}; while [ ! -e {go} ]; do sleep 0.02; done"
    build.file("BUILD.ml", genrule("slow", '["in.txt"]', wait)).file("in.txt", "old\n")
    build.flags = ["--executor", "process"]
    with watching(build) as watch:
        watch.until(begun.exists, "begun")

        save(build.root / "in.txt", "new\n")
        go.touch()
        watch.until(lambda: len(watch.reports) >= 2, "built twice")
        watch.until(lambda: build.output("slow/slow.txt") == "new\n", "built anew")
        save(build.root / "in.txt", "old\n")
        watch.until(lambda: build.output("slow/slow.txt") == "old\n", "built the first again")

    assert "`in.txt` changed while it ran, so the result is not kept" in watch.said
    assert watch.reports[-1]["ran"] == ["//:slow"]


def test_an_error_is_shown_once_and_goes_when_it_is_cured(build: Build) -> None:
    with watching(pair(build)) as watch:
        watch.built(1)

        build.edit("models/BUILD.ml", ")\n", "\n")
        broken = watch.built(2)
        build.file("models/.BUILD.ml.swp", "an editor's").file("data/notes.log", "somebody's log")
        build.edit("models/BUILD.ml", '"""\n', '""")\n')
        cured = watch.built(3)

    assert (broken["status"], broken["exit_code"], broken["place"]) == (
        *("failed", 2),
        "models/BUILD.ml:1:8",
    )
    assert watch.said.count("error: `(` is never closed") == 1
    assert (cured["status"], cured["cached"]) == ("passed", ["//data:all", "//models:m"])


def test_a_workspace_that_is_broken_at_first_is_watched_all_the_same(build: Build) -> None:
    build.file("BUILD.ml", genrule("it", '["sub/in.txt"]'))
    with watching(build) as watch:
        first = watch.built(1)

        (build.root / "sub").mkdir()  # changes nothing, but is to be listened to
        build.file("other.txt", "of no use\n")
        build.file("sub/in.txt", "found\n")
        watch.until(lambda: watch.reports[-1]["status"] == "passed", "cured")

    assert first["error"] == "no target or file `sub/in.txt` in package `//`"
    assert watch.said.count("error: ") == 1
    assert build.output("it/it.txt") == "found\n"


def test_a_failed_action_runs_again_only_for_what_it_reads(build: Build) -> None:
    build.file("BUILD.ml", genrule("it", '["in.txt"]', "grep good $(SRCS) > $@"))
    build.file("in.txt", "bad\n").file("README", "text\n")
    with watching(build) as watch:
        failed = watch.built(1)

        build.file("README", "other text\n").file("new.txt", "of no use\n")
        save(build.root / "in.txt", "good\n")
        passed = watch.built(2)

    assert (failed["status"], failed["failed"], failed["exit_code"]) == ("failed", ["//:it"], 1)
    assert (passed["status"], passed["ran"]) == ("passed", ["//:it"])


def test_a_switch_there_and_back_builds_nothing_again(build: Build) -> None:
    build.file("BUILD.ml", genrule("it", '["in.txt"]', "grep good $(SRCS) > $@"))
    build.file("in.txt", "bad\n")
    with watching(build) as watch:
        watch.built(1)

        with watch.stopped():
            save(build.root / "in.txt", "other\n")
            save(build.root / "in.txt", "bad\n")
        build.file("other.txt", "of no use\n")
        build.file("mlbuild.local.toml", "[build]\nkeep_going = true\n")
        report = watch.built(2)  # and not earlier

    assert ("mlbuild.local.toml", "new") in paths(report)


def test_what_a_build_writes_does_not_start_another(build: Build) -> None:
    with watching(pair(build)) as watch:
        watch.built(1)

        build.file("mlbuild-out/mine.txt", "mine").file(".mlbuild/mine", "mine")
        build.file("venv/pyvenv.cfg").file("README", "unread\n")
        save(build.root / "data/a.csv", "b\n")
        watch.built(2)

    assert watch.reports[1]["ran"] == ["//data:all", "//models:m"]


def test_what_a_link_leads_to_counts(build: Build) -> None:
    build.file("BUILD.ml", genrule("it", '["in.txt"]')).file("far/away/real.txt", "one\n")
    (build.root / "in.txt").symlink_to("far/link.txt")
    (build.root / "far/link.txt").symlink_to("away/real.txt")
    with watching(build, "//:it") as watch:
        watch.built(1)

        save(build.root / "far/away/real.txt", "two\n")
        watch.built(2)
        build.file("far/away/real.txt", "three\n")  # the same file, written again
        watch.built(3)

    assert build.output("it/it.txt") == "three\n"


def test_polling_notices_the_same(build: Build) -> None:
    build.flags = ["--poll"]
    with watching(pair(build)) as watch:
        watch.built(1)

        save(build.root / "models/conf.txt", "other\n")
        build.file("data/b.csv", "b\n")
        watch.until(lambda: build.output("models/m/m.txt") == "a\nb\nother\n", "built")
        (build.root / "data").rename(build.root / "was")
        watch.until(lambda: watch.reports[-1]["status"] == "failed", "failed")
        (build.root / "was").rename(build.root / "data")
        watch.until(lambda: watch.reports[-1]["status"] == "passed", "cured")

    assert "warning" not in watch.said


def test_where_inotify_has_a_limit_files_are_looked_at_instead(build: Build) -> None:
    if not LIMIT.exists() or shutil.which("unshare") is None:
        pytest.skip("no user namespace can be given a limit here")
    build.prefix = ["unshare", "-U", "-r", "sh", "-c", f'echo 2 > {LIMIT} && exec "$@"', "sh"]
    build.flags = ["--executor", "process"]
    with watching(pair(build)) as watch:
        watch.built(1)

        save(build.root / "models/conf.txt", "other\n")
        watch.built(2)

    assert build.output("models/m/m.txt") == "a\nother\n"
    told = "files are looked at every second: 4 folders are more watches of inotify than this user"
    assert watch.said.count(told) == 1
    assert "hint: for more, as root: `sysctl fs.inotify.max_user_watches=" in watch.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_it_waits_ends_it_well(build: Build, number: int) -> None:
    with watching(pair(build)) as watch:
        watch.built(1)

        code = watch.end(number)

    assert code == 0
    assert "Traceback" not in watch.said


def test_ctrl_c_during_a_build_ends_its_command(build: Build) -> None:
    alive = build.root.parent / "alive"
    build.file("BUILD.ml", genrule("long", "[]", f"echo $$$$ > {alive}; sleep 600"))
    build.flags = ["--executor", "process"]
    with watching(build) as watch:
        watch.until(lambda: alive.exists() and bool(alive.read_text().strip()), "begun")

        code = watch.end()

    assert code == 8
    assert not Path(f"/proc/{alive.read_text().strip()}").exists()


def test_once_ends_with_the_exit_code_of_what_the_first_change_gave(build: Build) -> None:
    build.file("BUILD.ml", genrule("it", '["in.txt"]', "grep good $(SRCS) > $@"))
    build.file("in.txt", "good\n")
    with watching(build, "--once", "//:it") as watch:
        watch.built(1)

        save(build.root / "in.txt", "bad\n")
        code = watch.join()

    assert (code, len(watch.reports)) == (1, 2)


def test_a_command_is_run_after_each_build(build: Build) -> None:
    told = build.root.parent / "told"
    command = f"echo $MLBUILD_WATCH_STATUS $MLBUILD_WATCH_LABELS, $MLBUILD_WATCH_FAILED >> {told}"
    build.file("BUILD.ml", genrule("it", '["in.txt"]', "grep good $(SRCS) > $@"))
    build.file("in.txt", "good\n")
    with watching(build, "--notify", f"{command}; echo printed; exit 3", "//:it") as watch:
        watch.until(told.exists, "told")

        save(build.root / "in.txt", "bad\n")
        watch.until(lambda: told.read_text().count("\n") == 2, "told again")
        watch.end()

    assert told.read_text() == "passed //:it,\nfailed //:it, //:it\n"
    assert "ended with exit code 3" in watch.said
    assert len(watch.reports) == 2  # nothing of it is on stdout


def test_events_of_all_builds_go_to_one_file(build: Build) -> None:
    with watching(pair(build), "--events", "../events", "//...") as watch:
        watch.built(1)

        build.file("models/conf.txt", "other\n")
        watch.built(2)

    assert (build.root.parent / "events").read_text().count('"type":"BuildFinished"') == 2


def test_the_settings_file_itself_may_come_and_go(build: Build) -> None:
    text = (pair(build).root / "mlbuild.toml").read_text()
    with watching(build) as watch:
        watch.built(1)

        (build.root / "mlbuild.toml").unlink()
        gone = watch.built(2)
        build.file("mlbuild.toml", text)
        back = watch.built(3)

    assert gone["error"] == f"`mlbuild.toml` is gone from `{build.root}`"
    assert back["status"] == "passed"


def test_results_are_printed_as_build_prints_them(build: Build) -> None:
    pair(build)
    process = build.start("watch", "--once", "//models:m")
    watch = Watching(process)
    watch.until(lambda: "waiting for changes" in watch.said, "waiting")

    build.file("models/conf.txt", "other\n")
    code = watch.join()

    assert code == 0
    assert "2 targets: 2 ran" in watch.said
    assert "2 targets: 1 ran, 1 cached" in watch.said


def test_words_that_make_no_sense_are_refused(build: Build) -> None:
    nothing = build.run("watch")
    dry = build.run("watch", "--dry-run", "//...")

    assert (nothing.code, dry.code) == (2, 2)
    assert "hint: `mlbuild watch //...` watches all targets" in nothing.stderr
    assert "has no option `--dry-run`" in dry.stderr
