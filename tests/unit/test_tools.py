"""The programs that rules run, as rules run them: processes with words, files and exit codes."""

import base64
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "rules" / "tools"
Done = subprocess.CompletedProcess[str]


def tool(
    name: str, *words: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Done:
    return subprocess.run(
        [sys.executable, "-I", TOOLS / name, *map(str, words)],
        cwd=cwd,
        env={"PATH": os.defpath, "PYTHONHASHSEED": "0", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def snapshot(root: Path) -> dict[str, tuple[str, bytes]]:
    """Return all that a Tree of `root` would tell: paths, executable bits, links, bytes."""
    found: dict[str, tuple[str, bytes]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path).encode())
        elif path.is_file():
            executable = path.stat().st_mode & stat.S_IXUSR
            found[name] = ("program" if executable else "file", path.read_bytes())
    return found


# ---------------------------------------------------------------------------------------------
# run_python.py


def run_script(
    folder: Path, text: str, *words: str, site: str = "-", env: dict[str, str] | None = None
) -> Done:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "script.py").write_text(text)
    return tool("run_python.py", site, "models/script.py", *words, cwd=folder, env=env)


def test_a_script_sees_its_own_words_and_name(tmp_path: Path) -> None:
    text = "import sys\nprint(sys.argv, __name__, __file__)"

    done = run_script(tmp_path, text, "--lr", "0.1")

    place = tmp_path / "models" / "script.py"
    assert done.stdout == f"['models/script.py', '--lr', '0.1'] __main__ {place}\n"
    assert done.returncode == 0


def test_a_script_imports_what_lies_beside_it_and_what_lies_in_the_workspace(
    tmp_path: Path,
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "beside.py").write_text("HERE = 'beside'")
    (tmp_path / "common.py").write_text("HERE = 'workspace'")

    done = run_script(tmp_path, "import beside, common\nprint(beside.HERE, common.HERE)")

    assert done.stdout == "beside workspace\n"


def test_a_script_does_not_see_packages_of_the_host_nor_our_programs(tmp_path: Path) -> None:
    text = """
import importlib.util
print([name for name in ("pytest", "pip", "gate", "unpack") if importlib.util.find_spec(name)])
"""

    done = run_script(tmp_path, text)

    assert done.stdout == "[]\n"


def test_a_script_sees_the_packages_of_its_environment_and_their_pth_files(tmp_path: Path) -> None:
    (tmp_path / "site" / "deep").mkdir(parents=True)
    (tmp_path / "site" / "package.py").write_text("NAME = 'package'")
    (tmp_path / "site" / "deep" / "below.py").write_text("NAME = 'below'")
    (tmp_path / "site" / "deep.pth").write_text("deep\n")

    done = run_script(
        tmp_path, "import package, below\nprint(package.NAME, below.NAME)", site="site"
    )

    assert done.stdout == "package below\n"


def test_children_of_a_script_find_its_packages_and_commands(tmp_path: Path) -> None:
    (tmp_path / "site" / "bin").mkdir(parents=True)
    (tmp_path / "site" / "package.py").write_text("NAME = 'package'")
    command = tmp_path / "site" / "bin" / "say"
    command.write_text("#!/usr/bin/env python3\nimport package\nprint(package.NAME)")
    command.chmod(0o755)

    done = run_script(
        tmp_path, "import subprocess\nsubprocess.run(['say'], check=True)", site="site"
    )

    assert (done.stdout, done.stderr) == ("package\n", "")


def test_a_script_can_use_worker_processes(tmp_path: Path) -> None:
    text = """
import multiprocessing

def double(number):
    return 2 * number

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [1, 2]))
"""

    done = run_script(tmp_path, text)

    assert (done.stdout, done.stderr) == ("[2, 4]\n", "")


def test_the_order_of_a_set_is_the_same_in_every_run(tmp_path: Path) -> None:
    text = "print({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})"

    orders = {run_script(tmp_path, text).stdout for _ in range(3)}

    assert len(orders) == 1


def test_a_traceback_begins_with_the_line_of_the_script(tmp_path: Path) -> None:
    done = run_script(tmp_path, "def train():\n    raise ValueError('too cold')\n\ntrain()\n")

    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == '  File "models/script.py", line 4, in <module>'
    assert lines[-1] == "ValueError: too cold"
    assert "run_python" not in done.stderr
    assert done.returncode == 1


def test_a_syntax_error_shows_nothing_but_its_place(tmp_path: Path) -> None:
    done = run_script(tmp_path, "x = = 1\n")

    assert done.stderr.startswith('  File "models/script.py", line 1\n')
    assert done.returncode == 1


@pytest.mark.parametrize(("ending", "code"), [("7", 7), ("'no data'", 1), ("None", 0)])
def test_the_exit_code_of_a_script_is_kept(tmp_path: Path, ending: str, code: int) -> None:
    assert run_script(tmp_path, f"import sys\nsys.exit({ending})").returncode == code


def test_a_script_leaves_no_bytecode_behind(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "beside.py").write_text("")

    run_script(tmp_path, "import beside")

    assert not (tmp_path / "models" / "__pycache__").exists()


def test_a_missing_script_is_one_sentence(tmp_path: Path) -> None:
    done = tool("run_python.py", "-", "gone.py", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (
        1,
        "cannot read `gone.py`: No such file or directory\n",
    )


# ---------------------------------------------------------------------------------------------
# fetch.py

CONTENT = b"one, two, three\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """Answers by path, and notes what it was asked."""

    asked: list[tuple[str, str | None]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        self.close_connection = True
        times = sum(path == self.path for path, _ in self.asked)
        match self.path.partition("?")[0]:
            case "/good":
                self.answer(200, CONTENT)
            case "/wrong":
                self.answer(200, b"something else")
            case "/later" if times > 1:
                self.answer(200, CONTENT)
            case "/cut" | "/later":
                self.answer(200, CONTENT[:100], length=len(CONTENT))
            case "/busy":
                self.answer(503, b"")
            case "/moved":
                self.answer(302, b"", location="/good")
            case "/to-file":
                self.answer(302, b"", location="file:///etc/passwd")
            case "/to-ftp":
                self.answer(302, b"", location="ftp://127.0.0.1/good")
            case _:
                self.answer(404, b"")

    def answer(self, code: int, body: bytes, *, length: int = -1, location: str = "") -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body) if length < 0 else length))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    """Serve on 127.0.0.1; yield the address."""
    Mirror.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def fetch(folder: Path, *urls: str, sha256: str = SHA256) -> Done:
    words = ("--sha256", sha256, "--out", folder / "out.bin")
    return tool("fetch.py", *words, env={"MLBUILD_URLS": "\n".join(urls)})


def test_a_file_is_downloaded_from_the_first_mirror_that_has_it(
    tmp_path: Path, mirror: str
) -> None:
    done = fetch(
        tmp_path, f"http://{mirror}/gone", f"http://{mirror}/good", f"http://{mirror}/wrong"
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.bin").read_bytes() == CONTENT
    assert [path for path, _ in Mirror.asked] == ["/gone", "/good"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_a_mirror_with_other_bytes_is_named_with_both_digests(tmp_path: Path, mirror: str) -> None:
    done = fetch(tmp_path, f"http://{mirror}/wrong")

    assert done.returncode == 1
    assert hashlib.sha256(b"something else").hexdigest() in done.stderr
    assert SHA256 in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert len(Mirror.asked) == 1  # it would not send anything else


def test_a_broken_connection_is_tried_again(tmp_path: Path, mirror: str) -> None:
    done = fetch(tmp_path, f"http://{mirror}/later")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "words"), [("cut", "(3 attempts)"), ("busy", "503 Service Unavailable (3 attempts)")]
)
def test_attempts_are_counted(tmp_path: Path, mirror: str, path: str, words: str) -> None:
    done = fetch(tmp_path, f"http://{mirror}/{path}")

    assert done.returncode == 1
    assert words in done.stderr
    assert len(Mirror.asked) == 3


def test_a_redirect_is_followed_without_the_credentials(tmp_path: Path, mirror: str) -> None:
    done = fetch(tmp_path, f"http://ada:s3cr3t@{mirror}/moved?token=t0k3n")

    token = base64.b64encode(b"ada:s3cr3t").decode()
    assert done.returncode == 0, done.stderr
    assert Mirror.asked == [("/moved?token=t0k3n", f"Basic {token}"), ("/good", None)]


@pytest.mark.parametrize("path", ["to-file", "to-ftp"])
def test_a_redirect_to_anything_but_http_is_refused(tmp_path: Path, mirror: str, path: str) -> None:
    done = fetch(tmp_path, f"http://{mirror}/{path}")

    assert done.returncode == 1
    assert "is not followed" in done.stderr or "not allowed" in done.stderr


def test_secrets_in_a_url_are_not_shown(tmp_path: Path, mirror: str) -> None:
    done = fetch(tmp_path, f"http://ada:s3cr3t@{mirror}/gone?token=t0k3n")

    assert "404" in done.stderr
    assert "s3cr3t" not in done.stderr
    assert "t0k3n" not in done.stderr


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "data:,x", "nonsense"])
def test_only_http_and_https_are_asked(tmp_path: Path, url: str) -> None:
    done = fetch(tmp_path, url)

    assert done.returncode == 1
    assert "only http and https are known" in done.stderr


# ---------------------------------------------------------------------------------------------
# unpack.py


def tar_of(*members: tarfile.TarInfo, content: bytes = b"content") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for member in members:
            if member.isreg():
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                tar.addfile(member)
    return packed.getvalue()


def entry(
    name: str, type_: bytes = tarfile.REGTYPE, *, link: str = "", mode: int = 0o640
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = type_, link, mode
    info.mtime, info.uid, info.uname = 1_700_000_000, 1234, "ada"
    return info


def unpack(folder: Path, name: str, content: bytes, *words: str) -> Done:
    (folder / name).write_bytes(content)
    return tool("unpack.py", name, "out", *words, cwd=folder)


ORDINARY = (
    entry("data/", tarfile.DIRTYPE),
    entry("data/a.txt"),
    entry("./data/deep/run", mode=0o750),
    entry("data/again", tarfile.LNKTYPE, link="data/a.txt"),
    entry("data/deep/link", tarfile.SYMTYPE, link="../a.txt"),
)
UNPACKED = {
    "data/a.txt": ("file", b"content"),
    "data/again": ("file", b"content"),
    "data/deep/link": ("link", b"../a.txt"),
    "data/deep/run": ("program", b"content"),
}


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.tar", bytes),
        ("a.tar.gz", gzip.compress),
        ("a.tar.bz2", bz2.compress),
        ("a.tar.xz", lzma.compress),
        ("download", gzip.compress),  # the name does not matter
    ],
)
def test_a_tar_is_unpacked_whatever_it_is_compressed_with(
    tmp_path: Path, name: str, pack: type[bytes]
) -> None:
    done = unpack(tmp_path, name, pack(tar_of(*ORDINARY)))

    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path / "out") == UNPACKED


def zip_of(*members: tuple[str, int, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return packed.getvalue()


def test_a_zip_is_unpacked_with_its_programs_and_links(tmp_path: Path) -> None:
    content = zip_of(
        ("data/", stat.S_IFDIR | 0o755, b""),
        ("data/a.txt", 0, b"content"),
        ("data/run", stat.S_IFREG | 0o755, b"content"),
        ("data/link", stat.S_IFLNK | 0o777, b"a.txt"),
    )

    done = unpack(tmp_path, "a.zip", content)

    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path / "out") == {
        "data/a.txt": ("file", b"content"),
        "data/link": ("link", b"a.txt"),
        "data/run": ("program", b"content"),
    }


@pytest.mark.parametrize(
    ("name", "pack"),
    [("x.csv.gz", gzip.compress), ("x.csv.bz2", bz2.compress), ("x.csv.xz", lzma.compress)],
)
def test_one_compressed_file_is_unpacked_under_its_name(
    tmp_path: Path, name: str, pack: type[bytes]
) -> None:
    done = unpack(tmp_path, name, pack(b"1,2,3\n"))

    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path / "out") == {"x.csv": ("file", b"1,2,3\n")}


def test_leading_folders_are_dropped_on_demand(tmp_path: Path) -> None:
    done = unpack(tmp_path, "a.tar", tar_of(*ORDINARY, entry("README")), "--strip", "1")

    assert done.returncode == 0, done.stderr
    assert set(snapshot(tmp_path / "out")) == {"a.txt", "again", "deep/link", "deep/run"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([entry("/etc/passwd")], "no relative path"),
        ([entry("a/../../b")], "leaves the folder"),
        ([entry("a", tarfile.SYMTYPE, link="/etc/passwd")], "the link `a` leaves the folder"),
        ([entry("a", tarfile.SYMTYPE, link="../b")], "the link `a` leaves the folder"),
        (
            # Each link looks harmless; one through the other leaves.
            [
                entry("d/e/up", tarfile.SYMTYPE, link="../.."),
                entry("out", tarfile.SYMTYPE, link="d/e/up/../x"),
            ],
            "the link `out` leaves the folder",
        ),
        ([entry("a", tarfile.SYMTYPE, link="b"), entry("a/c")], "both a file and a folder"),
        ([entry("a"), entry("a/c")], "both a file and a folder"),
        ([entry("a/c"), entry("a")], "both a file and a folder"),
        ([entry("a", tarfile.LNKTYPE, link="../b")], "leaves the folder"),
        ([entry("a", tarfile.LNKTYPE, link="b")], "no earlier file"),
        ([entry("a", tarfile.CHRTYPE)], "is a device or a pipe"),
        ([entry("a", tarfile.BLKTYPE)], "is a device or a pipe"),
        ([entry("a", tarfile.FIFOTYPE)], "is a device or a pipe"),
        ([entry("a"), entry("./a")], "it holds `a` twice"),
    ],
)
def test_what_no_honest_archive_holds_is_refused(
    tmp_path: Path, members: list[tarfile.TarInfo], words: str
) -> None:
    done = unpack(tmp_path, "a.tar", tar_of(*members))

    assert done.returncode == 1
    assert done.stderr.startswith("`a.tar` cannot be unpacked: ")
    assert words in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"a.tar", "out"}


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (("../a", 0, b""), "leaves the folder"),
        (("/a", 0, b""), "no relative path"),
        (("..\\a", 0, b""), "backslash"),
        (("a", stat.S_IFLNK | 0o777, b"../b"), "leaves the folder"),
        (("a", stat.S_IFLNK | 0o777, b""), "link to nothing"),
        (("a", stat.S_IFIFO | 0o644, b""), "is a device or a pipe"),
    ],
)
def test_what_no_honest_zip_holds_is_refused(
    tmp_path: Path, member: tuple[str, int, bytes], words: str
) -> None:
    done = unpack(tmp_path, "a.zip", zip_of(member))

    assert done.returncode == 1
    assert words in done.stderr


def test_a_zip_bomb_is_stopped(tmp_path: Path) -> None:
    zeros = bytes(64 << 20)
    once = bz2.compress(zeros)  # 64 MiB in about 50 bytes

    done = unpack(tmp_path, "a.bz2", once * 5)

    assert done.returncode == 1
    assert "it unpacks to more than 256 MiB" in done.stderr


def test_a_header_that_wants_gigabytes_is_refused(tmp_path: Path) -> None:
    header = entry("x", tarfile.GNUTYPE_LONGNAME)
    header.size = 3 << 30

    done = unpack(
        tmp_path, "a.tar.gz", gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    )

    assert done.returncode == 1
    assert "absurdly large" in done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar.gz", gzip.compress(tar_of(*ORDINARY))[:-30]),
        ("a.tar", tar_of(entry("a"), content=bytes(20_000))[:8000]),
        ("a.zip", zip_of(("a", 0, b"x" * 1000))[:-10]),
        ("a.xz", lzma.compress(bytes(1000))[:-10]),
    ],
)
def test_a_broken_archive_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    done = unpack(tmp_path, name, content)

    assert done.returncode == 1
    assert done.stderr.startswith(f"`{name}` is broken: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"just text", bytes(2048)])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    done = unpack(tmp_path, "a.tar", content)

    assert done.returncode == 1
    assert "no archive of a known kind" in done.stderr


# ---------------------------------------------------------------------------------------------
# gate.py


def gate(folder: Path, metrics: object, *gates: str) -> Done:
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return tool("gate.py", "metrics.json", "gates.json", *gates, cwd=folder)


def test_gates_that_hold_are_shown_and_written(tmp_path: Path) -> None:
    metrics = {"accuracy": 0.9712, "recall": {"4": 0.9}, "errors": 3}

    done = gate(tmp_path, metrics, "accuracy >= 0.95", "recall.4 > 0.5", "errors < 4")

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "accuracy 0.9712 >= 0.95  pass",
        "recall.4 0.9 > 0.5  pass",
        "errors 3 < 4  pass",
    ]
    verdict = json.loads((tmp_path / "gates.json").read_text())
    assert verdict["passed"] is True
    assert verdict["gates"][0] == {
        "metric": "accuracy",
        "value": 0.9712,
        "bound": ">= 0.95",
        "passed": True,
    }


def test_one_missed_gate_is_a_verdict_of_three(tmp_path: Path) -> None:
    done = gate(tmp_path, {"accuracy": 0.93, "loss": 0.1}, "loss < 1", "accuracy >= 0.95")

    assert done.returncode == 3
    assert done.stdout.splitlines() == ["loss 0.1 < 1  pass", "accuracy 0.93 >= 0.95  MISSED"]
    assert json.loads((tmp_path / "gates.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("x >= 1", 0),
        ("x <= 1", 0),
        ("x == 1", 0),
        ("x != 1", 3),
        ("x > 1", 3),
        ("x < 1", 3),
        ("x<=1e3", 0),
    ],
)
def test_every_comparison_has_its_usual_meaning(tmp_path: Path, word: str, code: int) -> None:
    assert gate(tmp_path, {"x": 1}, word).returncode == code


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acuracy", "did you mean accuracy?"),
        ("f1", "did you mean scores.f1?"),
        ("zzz", "there is: accuracy, scores.f1"),
    ],
)
def test_a_missing_metric_is_missed_and_named_with_those_alike(
    tmp_path: Path, name: str, words: str
) -> None:
    done = gate(tmp_path, {"accuracy": 1, "scores": {"f1": 1}, "note": "x"}, f"{name} > 0")

    assert done.returncode == 3
    assert done.stdout == f"{name} is no metric ({words}), wanted > 0  MISSED\n"


@pytest.mark.parametrize("word", ["x < 1", "x > 1", "x != 1"])
def test_a_metric_that_is_not_a_number_passes_no_gate(tmp_path: Path, word: str) -> None:
    assert gate(tmp_path, {"x": float("nan")}, word).returncode == 3


@pytest.mark.parametrize("word", ["accuracy", "accuracy >= high", ">= 1", "accuracy => 1"])
def test_a_gate_that_cannot_be_read_is_a_wrong_word(tmp_path: Path, word: str) -> None:
    done = gate(tmp_path, {"accuracy": 1}, word)

    assert done.returncode == 2
    assert done.stderr == f"`{word}` is no gate: write a metric, one of >= <= > < == !=, a number\n"
