"""Real git repositories for tests: one that is written to, and one that grows at random."""

import os
import random
import subprocess
from pathlib import Path

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
}


class Repository:
    """A repository whose branch is `main`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        """Run git in it; return what it printed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", *words],
            cwd=self.root,
            env=kept | ENVIRONMENT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return os.fsdecode(done.stdout).strip()

    def file(self, path: str, text: str | bytes = "") -> "Repository":
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def edit(self, path: str, old: str, new: str) -> "Repository":
        text = (self.root / path).read_text()
        assert old in text, f"{old!r} does not stand in {path}"
        return self.file(path, text.replace(old, new, 1))

    def commit(self, message: str = "a commit") -> str:
        """Commit everything; return the id."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def clone(self, place: Path, *words: str, commit: str = "", url: bool = False) -> Path:
        """Clone it into an empty folder, at `commit`; with `url` as if from a server."""
        source = f"file://{self.root}" if url else str(self.root)
        self.git("clone", "-q", *(words or ("--shared",)), source, str(place))
        if commit:
            subprocess.run(["git", "checkout", "-q", commit], cwd=place, check=True)
        return place


DEFS = """load(":more.bzl", "GREETING")

def _shout(ctx):
    out = ctx.file("shout.txt")
    ctx.run(argv = ["/bin/sh", "-c", "cat $1 > $2 # 1", "sh", ctx.files.src[0], out])
    return struct(files = [out])

shout = rule(implementation = _shout, attrs = {"src": attr.label(mandatory = True)})

def greeting(name, srcs):
    native_cmd = "echo " + GREETING + " $(SRCS) > $@"
    genrule(name = name, srcs = srcs, outs = [name + ".out"], cmd = native_cmd)
"""
SETTINGS = """[workspace]
name = "grown"

[build]
salt = ""
config = []

[config.gpu]
device = "gpu"
"""
ROOT = """config_setting(name = "on_gpu", values = {"device": "gpu"})

python_environment(name = "env", lock = "requirements.lock")

filegroup(name = "links", srcs = ["link.txt", "shared"])

dataset(name = "pictures", srcs = ["images"])

alias(name = "same", actual = "//p0:joined")

test_suite(name = "all", tests = ["//p0:joined", "//p1:shout", ":links"])
"""
PACKAGE = """load("//tools:defs.bzl", "greeting", "shout")

# 0
genrule(
    name = "joined",
    srcs = glob(["data/*.txt", "*.sh"]) + [{above}],
    outs = ["joined.txt"],
    cmd = "cat $(SRCS) > $@ # 0",
)

genrule(
    name = "chosen",
    srcs = [":joined"] + select({{"//:on_gpu": ["gpu.txt"], "//conditions:default": ["cpu.txt"]}}),
    outs = ["chosen.txt"],
    cmd = "cat $(SRCS) > $@",
)

shout(name = "shout", src = "tool.sh")

greeting("hello", ["tool.sh", ":shout"])

train(
    name = "model",
    script = "train.py",
    environment = "//:env",
    data = {{"joined": ":joined", "images": "//:pictures"}},
    params = {{"lr": 0.5, "epochs": 1}},
    outs = ["model.bin"],
)
"""


LINKED = 'genrule(name = "linked", srcs = ["a.txt"], outs = ["o"], cmd = "cat $< > $@ # {}")\n'


class Grown(Repository):
    """A workspace of some packages; `grow` commits one random change that leaves it readable."""

    def __init__(self, root: Path, *, seed: int, packages: int = 5) -> None:
        super().__init__(root)
        self.random = random.Random(seed)  # noqa: S311 - the same edits each time
        self.packages = [f"p{number}" for number in range(packages)]
        self.count = 0
        self.file("mlbuild.toml", SETTINGS).file("BUILD.ml", ROOT).file("README.md", "read me\n")
        self.file("requirements.lock", "# nothing\n").file("shared/one.txt", "1")
        self.file("images/a/1.png", "1").file("images/line\nend.png", "2")
        self.file(os.fsdecode(b"images/\xff\xfe.png"), "3").file("target-a.txt", "a")
        self.file("target-b.txt", "b").file("tools/BUILD.ml").file("tools/defs.bzl", DEFS)
        self.file("tools/more.bzl", 'GREETING = "hi"\n')
        (self.root / "link.txt").symlink_to("target-a.txt")
        for number, package in enumerate(self.packages):
            self._package(package, self.packages[number - 1] if number else "")
        self.file("linked.txt", LINKED.format(0)).file("linked/a.txt", "a")
        (root / "linked/BUILD.ml").symlink_to("../linked.txt")
        self.commits = [self.commit()]

    def _package(self, package: str, before: str) -> None:
        above = f'"//{before}:joined"' if before else ""
        self.file(f"{package}/BUILD.ml", PACKAGE.format(above=above))
        for name in ("data/a.txt", "data/b.txt", "gpu.txt", "cpu.txt", "tool.sh"):
            self.file(f"{package}/{name}", f"{package} {name}\n")
        self.file(f"{package}/train.py", "print('train')\n")

    def grow(self) -> str:
        """Commit one to three random changes; return the id."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            self.count += 1
            self.random.choice(self.CHANGES)(self)
        self.commits.append(self.commit(f"change {self.count}"))
        return self.commits[-1]

    def _some(self) -> str:
        return self.random.choice(self.packages)

    def _source(self) -> None:
        name = self.random.choice(("data/a.txt", "gpu.txt", "cpu.txt", "tool.sh", "train.py"))
        self.file(f"{self._some()}/{name}", f"# {self.count}\n")

    def _build_file(self) -> None:
        path = f"{self._some()}/BUILD.ml"
        old = self.random.choice(("# 0\n", "> $@ # 0", '"lr": 0.5', '"epochs": 1'))
        text = (self.root / path).read_text()
        new = {"# 0\n": "# 0\n# 1\n", "> $@ # 0": "> $@ # 0 1", '"lr": 0.5': '"lr": 0.51'}
        self.file(path, text.replace(old, new.get(old, '"epochs": 1'), 1))

    def _loaded(self) -> None:
        if self.random.random() < 0.5:
            self.file("tools/more.bzl", f'GREETING = "hi {self.random.randrange(3)}"\n')
        else:
            text = (self.root / "tools/defs.bzl").read_text()
            place = self.random.choice(('"sh", ctx', 'load(":more'))
            new = {'"sh", ctx': '"sh" , ctx', 'load(":more': f'# {self.count}\nload(":more'}
            changed = text.replace(place, new[place], 1)
            self.file("tools/defs.bzl", changed.replace("# 1", f"# 1{self.count}", 1))

    def _glob(self) -> None:
        folder = self.root / self._some() / "data"
        names = sorted(one.name for one in folder.iterdir() if one.name != "a.txt")
        if names and self.random.random() < 0.5:
            (folder / self.random.choice(names)).unlink()
        else:
            (folder / f"n{self.count}.txt").write_text("new")

    def _rename(self) -> None:
        folder = self.root / self._some() / "data"
        found = self.random.choice(
            sorted(one for one in folder.iterdir() if one.name != "a.txt") or [folder / "a.txt"]
        )
        if found.name != "a.txt":
            found.rename(folder / f"renamed{self.count}.txt")

    def _lock(self) -> None:
        self.file("requirements.lock", f"# {self.count}\n")

    def _mode(self) -> None:
        place = self.root / self._some() / self.random.choice(("tool.sh", "data/a.txt"))
        place.chmod(place.stat().st_mode ^ 0o111)

    def _link(self) -> None:
        link = self.root / "link.txt"
        link.unlink()
        link.symlink_to(self.random.choice(("target-a.txt", "target-b.txt", "p0/cpu.txt")))

    def _linked(self) -> None:
        self.file(self.random.choice(("target-a.txt", "target-b.txt")), str(self.count))

    def _folder(self) -> None:
        name = self.random.choice((b"images/\xff\xfe.png", b"images/line\nend.png", b"images/x/y"))
        place = self.root / os.fsdecode(name)
        if place.exists() and self.random.random() < 0.4:
            place.unlink()
        else:
            self.file(os.fsdecode(name), str(self.count))

    def _shared(self) -> None:
        """Replace a folder by a link to another, or the other way round."""
        place = self.root / "shared"
        if place.is_symlink():
            place.unlink()
            self.file("shared/one.txt", str(self.count))
        else:
            for one in place.iterdir():
                one.unlink()
            place.rmdir()
            place.symlink_to("images")

    def _settings(self) -> None:
        salt, config = self.random.choice(("", "", "a")), self.random.choice(("", '"gpu"'))
        text = SETTINGS.replace('salt = ""', f'salt = "{salt}"')
        text = text.replace("config = []", f"config = [{config}]")
        self.file("mlbuild.toml", text + self.random.choice(("", "# a remark\n")))

    def _target(self) -> None:
        """Add a target, or remove one that was added."""
        path = f"{self._some()}/BUILD.ml"
        text = (self.root / path).read_text()
        head, mark, _ = text.partition("\n# added\n")
        rule = 'genrule(name = "n{}", srcs = [":joined"], outs = ["n.txt"], cmd = "cp $< $@")\n'
        self.file(path, head if mark else f"{text}\n# added\n{rule.format(self.count)}")

    def _nested(self) -> None:
        """Make a folder that a glob enters a package of its own, or no longer."""
        place = self.root / self._some() / "data" / "BUILD.ml"
        if place.exists():
            place.unlink()
        else:
            place.write_text('exports_files(["a.txt"])\n')

    def _linked_build(self) -> None:
        self.file("linked.txt", LINKED.format(self.random.randrange(3)))

    def _readme(self) -> None:
        self.file("README.md", f"{self.count}\n")

    CHANGES = (
        _source,
        _source,
        _source,
        _build_file,
        _build_file,
        _loaded,
        _glob,
        _glob,
        _rename,
        _lock,
        _mode,
        _link,
        _linked,
        _folder,
        _shared,
        _settings,
        _target,
        _nested,
        _linked_build,
        _readme,
    )
