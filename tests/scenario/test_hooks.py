"""Hooks of real repositories: what real pushes, commits and merges build, and what they leave."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlbuild.git import background
from mlbuild.git.clone import Clone
from mlbuild.git.jobs import OPEN, WORKING, Job, Jobs, Work
from tests.harness import REPOSITORY, Finished
from tests.repositories import ENVIRONMENT

PATIENCE = 60.0  # seconds; only a fault takes so long
SETTINGS = '[workspace]\nname = "hooked"\n\n[hooks]\ntargets = ["//..."]\n'
RULE = 'genrule(name = "{0}", srcs = ["{0}.in"], outs = ["{0}.out"], cmd = "{1}")\n'
COPY = "cp $< $@"


class Hooked:
    """A repository that is a workspace, with a server that it pushes to, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "work"
        self.server = folder / "server.git"
        self.cache = folder / "cache"
        self.env: dict[str, str] = {}
        self.root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("init", "-q", "--bare", "-b", "main", str(self.server))
        self.git("remote", "add", "origin", str(self.server))

    def environment(self) -> dict[str, str]:
        dropped = ("GIT_", "MLBUILD_")
        kept = {name: one for name, one in os.environ.items() if not name.startswith(dropped)}
        home = {"HOME": str(self.folder), "MLBUILD_CACHE_DIR": str(self.cache), "NO_COLOR": "1"}
        return kept | ENVIRONMENT | home | self.env

    def run(self, *words: str, cwd: Path | None = None) -> Finished:
        done = subprocess.run(
            words,
            cwd=cwd or self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def git(self, *words: str, cwd: Path | None = None, code: int = 0) -> str:
        done = self.run("git", *words, cwd=cwd)
        assert done.code == code, done.stderr
        return done.stdout.strip()

    def mlbuild(self, *words: str, cwd: Path | None = None, code: int = 0) -> Finished:
        done = self.run(sys.executable, "-m", "mlbuild", *words, cwd=cwd)
        assert done.code == code, f"exit code {done.code}:\n{done.stderr}\n{done.stdout}"
        return done

    def file(self, path: str, text: str) -> "Hooked":
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return self

    def commit(self, message: str = "a commit") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def push(self, *words: str, code: int = 0) -> str:
        """Push; return what stands on stderr."""
        done = self.run("git", "push", "-q", *(words or ("origin", "main")))
        assert done.code == code, done.stderr
        return done.stderr

    def jobs(self, place: Path | None = None) -> Jobs:
        clone = Clone.at(str(place or self.root), environ=self.environment())
        return Jobs.of(clone, cache=str(self.cache))

    def job(self, number: int, *, place: Path | None = None, until: str = "") -> Job:
        """Return a job once it has ended, or is in the state `until`."""
        jobs, deadline = self.jobs(place), time.monotonic() + PATIENCE
        while True:
            found = next((one for one in jobs.all() if one.number == number), None)
            state = found.state if found is not None else ""
            if found is not None and (state == until or (not until and state not in OPEN)):
                return found
            if time.monotonic() > deadline:
                log = Path(jobs.log(number))
                pytest.fail(f"{found}\n{log.read_text() if log.exists() else ''}")
            time.sleep(0.02)

    def wait_for(self, place: str) -> None:
        """Wait until there is such a file."""
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(place):
            assert time.monotonic() < deadline, place
            time.sleep(0.02)

    def log(self, number: int, *, place: Path | None = None) -> str:
        return Path(self.jobs(place).log(number)).read_text()

    def status(self, *, cwd: Path | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.mlbuild("hooks", "status", "--json", cwd=cwd).stdout
        )
        return found

    def hook(self, name: str, text: str, *, folder: Path | None = None) -> Path:
        place = (folder or self.root / ".git/hooks") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
        return place

    def end_all(self) -> None:
        """Kill what still works on a job."""
        for record in (self.cache / "hooks").glob("*/*.json"):
            jobs = Jobs(str(record.parent))
            for job in jobs.all():
                if job.state in WORKING and job.process:
                    with suppress(ProcessLookupError):
                        os.kill(job.process, signal.SIGKILL)


@pytest.fixture
def hooked(tmp_path: Path) -> Iterator[Hooked]:
    """Return a repository with two targets, pushed to its server before any hook was there."""
    found = Hooked(tmp_path)
    found.file("mlbuild.toml", SETTINGS).file("a.in", "a\n").file("b.in", "b\n")
    found.file("BUILD.ml", RULE.format("a", COPY) + "\n" + RULE.format("b", COPY))
    found.file("README.md", "read me\n").commit()
    found.push()
    yield found
    found.end_all()


class Gate:
    """A target `slow` that ends when `open` is called. It runs outside of the sandbox."""

    def __init__(self, hooked: Hooked) -> None:
        self._pipe = hooked.folder / "pipe"
        os.mkfifo(self._pipe)
        hooked.env["MLBUILD_EXECUTOR"] = "process"
        text = (hooked.root / "BUILD.ml").read_text()
        hooked.file("BUILD.ml", text + "\n" + RULE.format("slow", f"cat {self._pipe} $< > $@"))
        hooked.file("slow.in", "slow\n")

    def open(self) -> None:
        self._pipe.write_text("")  # which waits for the reader


# The example


def test_a_push_that_edits_the_script_retrains_and_one_that_edits_the_readme_does_not(
    tmp_path: Path,
) -> None:
    hooked = Hooked(tmp_path)
    ignored = shutil.ignore_patterns("mlbuild-out", ".mlbuild", ".ruff_cache")
    shutil.copytree(
        REPOSITORY / "examples/git_hooks", hooked.root, ignore=ignored, dirs_exist_ok=True
    )
    hooked.commit()
    hooked.push()
    hooked.mlbuild("hooks", "install")

    hooked.file(
        "train.py", (hooked.root / "train.py").read_text().replace("RATE = 0.5", "RATE = 0.6")
    )
    hooked.commit("another rate")
    said = hooked.push()
    trained = hooked.job(1)
    hooked.file("README.md", (hooked.root / "README.md").read_text() + "\nMore.\n")
    hooked.commit("more words")
    hooked.push()
    hooked.job(2)

    assert "mlbuild: job 1 " in said
    assert trained.labels == ("//:ones_eval",)
    assert trained.state == "done"
    assert "//:ones_eval  file train.py" in hooked.log(1)
    assert "//:ones  train  ran in" in hooked.log(1)
    assert "accuracy" in hooked.log(1)
    assert "nothing to build: no target of `//:ones_eval` is affected" in hooked.log(2)
    assert "ran in" not in hooked.log(2)
    assert [job["state"] for job in hooked.status()["jobs"]] == ["nothing", "done"]
    built = json.loads(hooked.mlbuild("--json", "//...").stdout)
    assert built["ran"] == []  # the results are there


# In the background


def test_a_push_does_not_wait_for_what_it_builds(hooked: Hooked) -> None:
    gate = Gate(hooked)
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.commit()

    hooked.push()

    job = hooked.job(1, until="running")
    assert os.getsid(job.process) == job.process
    assert os.getpriority(os.PRIO_PROCESS, job.process) == min(os.nice(0) + 10, 19)
    assert hooked.git("ls-remote", "origin", "main").startswith(hooked.git("rev-parse", "HEAD"))
    gate.open()
    assert hooked.job(1).state == "done"


def test_the_commit_is_built_and_not_what_lies_in_the_folder(hooked: Hooked) -> None:
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.file("a.in", "pushed\n").commit()
    hooked.file("a.in", "not committed\n").file("BUILD.ml", "not even readable(")

    hooked.push()

    assert hooked.job(1).labels == ("//:a",)
    assert hooked.job(1).state == "done"
    hooked.git("checkout", "-q", ".")
    assert json.loads(hooked.mlbuild("--json", "//:a").stdout)["cached"] == ["//:a"]
    assert hooked.git("worktree", "list").count("\n") == 0
    assert (
        os.listdir(hooked.cache / "hooks" / os.path.basename(hooked.jobs().folder) / "trees") == []
    )


def test_the_newest_job_takes_over_from_those_in_line(hooked: Hooked) -> None:
    gate = Gate(hooked)
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.commit()
    hooked.push()
    hooked.job(1, until="running")

    hooked.file("a.in", "a2\n").commit()
    hooked.push()
    hooked.job(2, until="queued")
    hooked.file("README.md", "words\n").commit()
    hooked.push()
    hooked.job(3)
    hooked.file("b.in", "b2\n")
    newest = hooked.commit()
    hooked.push()
    hooked.job(4, until="queued")
    queued = hooked.status()["jobs"]
    gate.open()

    assert [job["state"] for job in queued] == ["queued", "nothing", "superseded", "running"]
    assert hooked.job(4).state == "done"
    assert hooked.job(4).labels == ("//:a", "//:b")  # nothing of the second push is lost
    assert hooked.job(4).works[0].head == newest
    assert hooked.job(2).message == "job 4 builds what it was to build"


def test_a_job_that_was_killed_is_noticed_and_the_line_goes_on(hooked: Hooked) -> None:
    Gate(hooked)
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.commit()
    hooked.push()
    running = hooked.job(1, until="running")
    hooked.wait_for(hooked.jobs().tree(1) + "/BUILD.ml")
    hooked.file("a.in", "a2\n").commit()
    hooked.push("origin", "main:other")
    hooked.job(2, until="queued")

    os.kill(running.process, signal.SIGKILL)

    lost, waiting = hooked.job(1), hooked.job(2, until="queued")
    assert lost.state == "lost"
    assert "its process is gone" in hooked.mlbuild("hooks", "status").stdout
    assert waiting.message == "nobody builds now: it begins with the next job"
    assert hooked.git("worktree", "list").count("\n") == 1
    hooked.file("b.in", "b2\n").file("BUILD.ml", RULE.format("a", COPY) + RULE.format("b", COPY))
    hooked.commit()
    hooked.push("origin", "main:third")
    assert hooked.job(3).state == "done"
    assert hooked.git("worktree", "list").count("\n") == 0


def test_a_job_goes_on_when_git_does_not_wait_for_what_it_says(hooked: Hooked) -> None:
    base = hooked.git("rev-parse", "HEAD")
    head = hooked.file("a.in", "a2\n").commit()
    work = Work(".", "refs/heads/main", base, head, "origin", ("//...",))
    job, held = hooked.jobs().create("pre-push", [work], folder=str(hooked.root), gate=False)

    process = background.start(hooked.jobs(), job, held=held, environ=hooked.environment())
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait(PATIENCE) == 0
    assert hooked.job(1).state == "done"


def test_a_stopped_job_says_so(hooked: Hooked) -> None:
    Gate(hooked)
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.commit()
    hooked.push()
    running = hooked.job(1, until="running")
    hooked.wait_for(hooked.jobs().tree(1) + "/BUILD.ml")

    os.kill(running.process, signal.SIGTERM)

    assert hooked.job(1).state == "stopped"
    assert hooked.git("worktree", "list").count("\n") == 0


def test_data_that_git_ignores_is_there_when_the_commit_is_built(hooked: Hooked) -> None:
    hooked.file(".gitignore", "*.csv\nbig/\n").file("some.csv", "1\n").file("big/x/y.bin", "2\n")
    text = 'genrule(name = "c", srcs = ["some.csv", "big"], outs = ["c.out"], cmd = "{}")\n'
    hooked.file("c/BUILD.ml", "").file(
        "BUILD.ml", text.format("cat $(location some.csv) $(location big)/x/y.bin > $@")
    )
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.commit()

    hooked.push()

    assert hooked.job(1).state == "done", hooked.log(1)
    assert (hooked.root / "big/x/y.bin").read_text() == "2\n"
    assert (hooked.root / "big/x/y.bin").stat().st_nlink == 1


def test_a_commit_that_cannot_be_read_is_pushed_and_its_job_fails(hooked: Hooked) -> None:
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.file("BUILD.ml", 'genrule(nam = "a")\n').commit()

    hooked.push()

    assert hooked.job(1).state == "failed"
    assert "BUILD.ml:1:" in hooked.log(1)


def test_what_is_pushed_decides_what_a_branch_is_compared_with(hooked: Hooked) -> None:
    hooked.mlbuild("hooks", "install", "pre-push")

    hooked.git("checkout", "-q", "-b", "topic/ü")
    hooked.push("origin", "topic/ü")
    hooked.file("a.in", "a2\n").commit()
    hooked.push("origin", "HEAD:another", "--tags")
    hooked.git("tag", "v1")
    tag = hooked.push("origin", "v1")
    gone = hooked.push("origin", ":another")

    assert hooked.job(1).state == "nothing"
    assert hooked.job(2).labels == ("//:a",)
    assert tag == ""
    assert gone == ""
    assert hooked.job(2).works[0].base == hooked.git("rev-parse", "main")


def test_a_push_over_commits_that_are_not_here_is_compared_with_what_both_have(
    hooked: Hooked, tmp_path: Path
) -> None:
    hooked.git("clone", "-q", str(hooked.server), str(tmp_path / "other"))
    other = tmp_path / "other"
    hooked.git("commit", "-q", "--allow-empty", "-m", "of somebody else", cwd=other)
    hooked.git("push", "-q", "origin", "main", cwd=other)
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.file("b.in", "b2\n").commit()

    hooked.push("--force", "origin", "main")

    assert hooked.job(1).labels == ("//:b",)


def test_without_declared_targets_a_push_says_what_to_write(hooked: Hooked) -> None:
    advice = hooked.file("mlbuild.toml", "[workspace]\n").mlbuild("hooks", "install").stderr
    hooked.file("a.in", "2").commit()

    said = hooked.push()

    assert '`targets = ["//..."]`' in advice
    assert "no `targets` below `[hooks]` in mlbuild.toml" in said
    assert hooked.job(1).state == "nothing"


# Gates

GATED = SETTINGS + "gate = true\n"


def test_a_gate_stops_a_push_until_the_targets_build(hooked: Hooked) -> None:
    hooked.file("mlbuild.toml", GATED).mlbuild("hooks", "install", "pre-push")
    hooked.file("BUILD.ml", RULE.format("a", "false")).commit()
    before = hooked.git("ls-remote", "origin", "main")

    stopped = hooked.push(code=1)
    hooked.file("BUILD.ml", RULE.format("a", "tr a b < $< > $@")).commit()
    passed = hooked.push()

    assert "FAILED //:a" in stopped
    assert "mlbuild: the push is stopped" in stopped
    assert "`git push --no-verify` pushes all the same" in stopped
    assert hooked.job(1).state == "failed"
    assert "mlbuild: 1 target built" in passed
    assert hooked.git("ls-remote", "origin", "main") != before
    assert "//:a" in hooked.log(2)


def test_a_gate_stops_what_cannot_be_read_and_lets_words_pass(hooked: Hooked) -> None:
    hooked.file("mlbuild.toml", GATED).commit()
    hooked.push()
    hooked.mlbuild("hooks", "install", "pre-push")
    hooked.file("README.md", "words\n").commit()

    words = hooked.push()
    hooked.file("BUILD.ml", "genrule(").commit()
    broken = hooked.push(code=1)

    assert "nothing to build" in words
    assert "the push is stopped" in broken
    assert "BUILD.ml:1:" in broken


# Other hooks


def test_commits_and_merges_are_built(hooked: Hooked) -> None:
    hooked.mlbuild("hooks", "install", "post-commit", "post-merge")
    hooked.git("checkout", "-q", "-b", "topic")

    hooked.file("a.in", "a2\n").commit()
    hooked.git("checkout", "-q", "main")
    hooked.git("merge", "-q", "topic")

    assert hooked.job(1).hook == "post-commit"
    assert hooked.job(1).labels == ("//:a",)
    assert hooked.job(2).hook == "post-merge"
    assert hooked.job(2).labels == ("//:a",)
    assert hooked.job(2).state == "done"


def test_a_server_builds_what_it_receives_in_a_workspace_below_the_top(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    hooked.file("ml/mlbuild.toml", SETTINGS).file("ml/BUILD.ml", RULE.format("a", COPY))
    hooked.file("ml/a.in", "a\n").commit()
    words = ("hooks", "install", "--workspace", "ml")
    hooked.mlbuild(*words, cwd=hooked.server)

    said = hooked.push()
    first = hooked.job(1, place=hooked.server)
    hooked.file("README.md", "words\n").commit()
    hooked.push()
    words_only = hooked.job(2, place=hooked.server)
    hooked.git("checkout", "-q", "-b", "topic")
    hooked.push("origin", "topic")
    branch = hooked.job(3, place=hooked.server)

    assert "remote: mlbuild: job 1 " in said
    assert first.state == "done", hooked.log(1, place=hooked.server)
    assert first.hook == "post-receive"
    assert (words_only.state, branch.state) == ("nothing", "nothing")
    assert [job["state"] for job in hooked.status(cwd=hooked.server)["jobs"]][-1] == "done"
    hooked.mlbuild("hooks", "uninstall", cwd=hooked.server)
    assert not (hooked.server / "hooks/post-receive").exists()


def test_a_commit_is_stopped_by_what_is_staged(hooked: Hooked) -> None:
    hooked.mlbuild("hooks", "install", "pre-commit")
    text = (hooked.root / "BUILD.ml").read_text()
    hooked.mlbuild("fmt")
    formatted = (hooked.root / "BUILD.ml").read_text()
    hooked.file("BUILD.ml", text.replace("\n\n", "\n"))
    hooked.git("add", "BUILD.ml")
    hooked.file("BUILD.ml", formatted)  # what is staged counts

    layout = hooked.run("git", "commit", "-m", "layout")
    hooked.file("BUILD.ml", formatted.replace("a.in", "no.in")).git("add", "BUILD.ml")
    missing = hooked.run("git", "commit", "-m", "a file is missing")
    hooked.file("BUILD.ml", formatted).git("add", "BUILD.ml")
    right = hooked.run("git", "commit", "-m", "right")

    assert layout.code == 1
    assert "`mlbuild fmt BUILD.ml` does it" in layout.stderr
    assert missing.code == 1
    assert "no.in" in missing.stderr
    assert "`git commit --no-verify` commits all the same" in missing.stderr
    assert right.code == 0, right.stderr


def test_the_tool_pre_commit_may_call_us_with_names_of_files(hooked: Hooked) -> None:
    offered = {
        one["id"]: one
        for one in yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())
    }
    hooked.file("models/BUILD.ml", 'filegroup(name="x",srcs=["no.txt"])\n')

    def called(name: str, *files: str) -> Finished:
        program, *words = shlex.split(offered[name]["entry"])
        assert program == "mlbuild"
        return hooked.run(sys.executable, "-m", "mlbuild", *words, *files)

    wrong = called("mlbuild-check", "models/BUILD.ml", "README.md")
    elsewhere = called("mlbuild-check", "BUILD.ml")
    laid_out = called("mlbuild-fmt", "models/BUILD.ml", "BUILD.ml")

    assert set(offered) == {"mlbuild-fmt", "mlbuild-check"}
    assert wrong.code == 2
    assert "no.txt" in wrong.stderr
    assert elsewhere.code == 0
    assert "1 error in other files" in elsewhere.stderr
    assert laid_out.code == 0
    assert 'name = "x"' in (hooked.root / "models/BUILD.ml").read_text()


# Installing

OLD = '#!/bin/sh\ncat > told.txt\necho "$0 $*" > called.txt\ntest ! -e stop\n'


def test_a_hook_that_exists_runs_first_and_gets_its_place_back(hooked: Hooked) -> None:
    old = hooked.hook("pre-push", OLD)
    old.chmod(0o751)
    settings = (hooked.root / ".git/config").read_bytes()
    hooked.mlbuild("hooks", "install", "pre-push")
    once = old.read_bytes()
    hooked.mlbuild("hooks", "install", "pre-push")
    again = old.read_bytes()
    hooked.file("a.in", "a2\n").commit()

    (hooked.root / "stop").touch()
    stopped = hooked.push(code=1)
    (hooked.root / "stop").unlink()
    said = hooked.push()
    hooked.job(1)
    hooked.mlbuild("hooks", "uninstall", "pre-push")

    assert once == again
    assert "mlbuild" not in stopped
    assert "mlbuild: job 1 " in said
    assert f"origin {hooked.server}" in (hooked.root / "called.txt").read_text()
    told = (hooked.root / "told.txt").read_text()
    assert told.startswith(f"refs/heads/main {hooked.git('rev-parse', 'HEAD')} refs/heads/main ")
    assert told.endswith("\n")
    assert old.read_text() == OLD
    assert old.stat().st_mode & 0o777 == 0o751
    assert not [one for one in os.listdir(old.parent) if "mlbuild" in one]
    assert (hooked.root / ".git/config").read_bytes() == settings


def test_a_hook_that_is_a_link_stays_one(hooked: Hooked) -> None:
    hooked.file("scripts/push.sh", OLD)
    (hooked.root / "scripts/push.sh").chmod(0o755)
    link = hooked.root / ".git/hooks/pre-push"
    link.symlink_to("../../scripts/push.sh")

    hooked.mlbuild("hooks", "install")
    hooked.file("a.in", "a2\n").commit()
    hooked.push()
    hooked.job(1)
    hooked.mlbuild("hooks", "uninstall")

    assert (hooked.root / "called.txt").exists()
    assert os.readlink(link) == "../../scripts/push.sh"
    assert (hooked.root / "scripts/push.sh").read_text() == OLD


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("gone", ["program", "module"])
def test_a_push_passes_where_mlbuild_is_gone(hooked: Hooked, shell: str, gone: str) -> None:
    hooked.file("mlbuild.toml", GATED).mlbuild("hooks", "install")
    place = hooked.root / ".git/hooks/pre-push"
    found = shutil.which(shell) or pytest.skip(f"there is no {shell}")
    there = "/nowhere/python" if gone == "program" else "/bin/false"
    text = place.read_text().replace(f"python={sys.executable}", f"python={there}")
    place.write_text(text.replace("#!/bin/sh", f"#!{found}"))
    hooked.env["PATH"] = "/usr/bin:/bin"
    hooked.file("a.in", "a2\n").commit()

    said = hooked.push()

    assert there in text
    assert said == "mlbuild is not to be found, so this pre-push hook builds nothing\n"


def test_a_hook_finds_mlbuild_when_it_is_not_on_the_path(hooked: Hooked) -> None:
    hooked.mlbuild("hooks", "install")
    hooked.env["PATH"] = "/usr/bin:/bin"
    hooked.file("a.in", "a2\n").commit()

    said = hooked.push()

    assert "mlbuild: job 1 " in said
    assert hooked.job(1).state == "done"


@pytest.mark.parametrize("how", ["setting", "link"])
def test_the_folder_of_hooks_may_be_elsewhere(hooked: Hooked, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "team"
    if how == "link":  # to a folder that is not there yet
        shutil.rmtree(hooked.root / ".git/hooks")
        (hooked.root / ".git/hooks").symlink_to(folder)
    else:
        hooked.git("config", "core.hooksPath", "../team")
    below = hooked.root / "below"
    below.mkdir()
    hooked.mlbuild("hooks", "install", cwd=below)
    hooked.file("a.in", "a2\n").commit()

    said = hooked.push()

    assert (folder / "pre-push").is_file()
    assert "mlbuild: job 1 " in said
    hooked.job(1)
    hooked.mlbuild("hooks", "uninstall")
    assert list(folder.iterdir()) == []
    assert (hooked.root / ".git/hooks").is_symlink() == (how == "link")


def test_a_folder_that_all_repositories_share_is_only_written_when_told(
    hooked: Hooked, tmp_path: Path
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(f"[core]\n\thooksPath = {tmp_path}/all\n")
    hooked.env["GIT_CONFIG_GLOBAL"] = str(settings)

    refused = hooked.mlbuild("hooks", "install", code=2)
    hooked.mlbuild("hooks", "install", "--shared")
    hooked.file("a.in", "a2\n").commit()
    here = hooked.push()
    hooked.git("config", "--unset", "mlbuild.pre-push")  # as in another repository
    hooked.file("a.in", "a3\n").commit()
    there = hooked.push()

    assert "which all your repositories share" in refused.stderr
    assert "--shared" in refused.stderr
    assert "mlbuild: job 1 " in here
    assert there == ""


def test_working_trees_share_hooks_and_jobs(hooked: Hooked, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    hooked.git("worktree", "add", "-q", "-b", "topic", str(tree))
    hooked.mlbuild("hooks", "install", cwd=tree)
    (tree / "b.in").write_text("b2\n")
    hooked.git("commit", "-qam", "b", cwd=tree)

    said = hooked.run("git", "push", "-q", "origin", "topic", cwd=tree).stderr

    assert "mlbuild: job 1 " in said
    assert hooked.job(1).state == "done", hooked.log(1)
    assert hooked.status()["hooks"][0]["state"] == "on"


def test_husky_keeps_its_own_files(hooked: Hooked) -> None:
    caller = '#!/usr/bin/env sh\ns=$(dirname "$(dirname "$0")")/$(basename "$0")\n'
    hooked.hook("h", caller + '[ ! -f "$s" ] || sh -e "$s" "$@"\n', folder=hooked.root / ".husky/_")
    hooked.hook(
        "pre-push", '#!/usr/bin/env sh\n. "$(dirname "$0")/h"\n', folder=hooked.root / ".husky/_"
    )
    hooked.file(".husky/pre-push", "echo ours >&2\n")
    hooked.git("config", "core.hooksPath", ".husky/_")

    hooked.mlbuild("hooks", "install")
    hooked.file("a.in", "a2\n").commit()
    said = hooked.push()
    hooked.job(1)
    hooked.mlbuild("hooks", "uninstall")

    assert said.startswith("ours\n")
    assert "mlbuild: job 1 " in said
    assert (hooked.root / ".husky/pre-push").read_text() == "echo ours >&2\n"
    assert "dirname" in (hooked.root / ".husky/_/pre-push").read_text()


def test_a_tool_that_renames_our_hook_and_runs_it_is_understood(hooked: Hooked) -> None:
    hooks = hooked.root / ".git/hooks"
    hooked.mlbuild("hooks", "install")
    (hooks / "pre-push").rename(hooks / "pre-push.legacy")
    other = '#!/bin/sh\nexec "$(dirname "$0")/pre-push.legacy" "$@"\n'
    hooked.hook("pre-push", other)
    hooked.mlbuild("hooks", "install")
    hooked.file("a.in", "a2\n").commit()

    said = hooked.push()

    assert said.count("mlbuild: job ") == 1
    hooked.job(1)
    hooked.mlbuild("hooks", "uninstall")
    assert (hooks / "pre-push").read_text() == other
    assert not (hooks / "pre-push.legacy").exists()


def test_a_hook_that_was_replaced_or_edited_is_told(hooked: Hooked) -> None:
    hooked.mlbuild("hooks", "install", "pre-push", "post-commit")
    with (hooked.root / ".git/hooks/post-commit").open("a") as file:
        file.write("echo mine\n")
    hooked.hook("pre-push", "#!/bin/sh\n")

    states = {one["name"]: one["state"] for one in hooked.status()["hooks"]}
    refused = hooked.mlbuild("hooks", "uninstall", "post-commit", code=2)
    hooked.mlbuild("hooks", "install", "pre-push")

    assert states["pre-push"] == "replaced"
    assert states["post-commit"] == "edited"
    assert states["post-merge"] == "off"
    assert "was edited since mlbuild wrote it" in refused.stderr
    assert (hooked.root / ".git/hooks/pre-push.before-mlbuild").read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["install", "pre-psh"], "mlbuild has no hook `pre-psh`"),
        (["instal"], "`mlbuild hooks` has no `instal`"),
        ([], "nothing is asked of the hooks"),
        (["status", "x"], "`mlbuild hooks status` does not take `x`"),
        (["run", "update"], "mlbuild has no hook `update`"),
        (["work", "x"], "`mlbuild hooks work` is for installed hooks only"),
        (["install", "--workspace", "x"], "`--workspace` is for bare repositories"),
    ],
)
def test_words_that_mean_nothing_are_explained(
    hooked: Hooked, words: list[str], message: str
) -> None:
    refused = hooked.mlbuild("hooks", *words, code=2)

    assert message in refused.stderr


def test_a_folder_without_a_repository_or_a_workspace_is_told(tmp_path: Path) -> None:
    hooked = Hooked(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()

    no_repository = hooked.mlbuild("hooks", "install", cwd=outside, code=2)
    no_workspace = hooked.mlbuild("hooks", "install", code=2)

    assert "is not in a git repository" in no_repository.stderr
    assert "no `mlbuild.toml`" in no_workspace.stderr
