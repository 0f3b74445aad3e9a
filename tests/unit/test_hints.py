"""The file that a failed command was looking for is found in what it printed."""

import pytest

from mlbuild.exec.hints import wanted_files

ROOT = "/home/ada/digits"
FILES = {
    "data/x.csv",
    "models/helper.py",
    "models/layers/__init__.py",
    "common/text.py",
    "include/x.h",
    "models/my file.txt",
}


@pytest.mark.parametrize(
    ("printed", "wanted"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: 'data/x.csv'", "data/x.csv"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'helper.py'", "models/helper.py"),
        ("No such file or directory: '/work/data/x.csv'", "data/x.csv"),
        ("No such file or directory: '/home/ada/digits/data/x.csv'", "data/x.csv"),
        ("No such file or directory: 'models/my file.txt'", "models/my file.txt"),
        ("FileNotFoundError: data/x.csv not found.", "data/x.csv"),
        ("ModuleNotFoundError: No module named 'helper'", "models/helper.py"),
        ("ModuleNotFoundError: No module named 'models.helper'", "models/helper.py"),
        ("ModuleNotFoundError: No module named 'layers'", "models/layers/__init__.py"),
        ("ModuleNotFoundError: No module named 'common'\n", None),
        (
            "ImportError: cannot import name 'text' from 'common' (unknown location)",
            "common/text.py",
        ),
        ("cat: data/x.csv: No such file or directory", "data/x.csv"),
        ("cat: ./data/x.csv: No such file or directory", "data/x.csv"),
        ("/bin/sh: 1: cannot open data/x.csv: No such file", "data/x.csv"),
        ("bash: line 1: data/x.csv: No such file or directory", "data/x.csv"),
        ("ls: cannot access 'data/x.csv': No such file or directory", "data/x.csv"),
        ("wc: data/x.csv: open: No such file or directory", None),
        ("main.c:1:10: fatal error: include/x.h: No such file or directory", "include/x.h"),
        ("Error: ENOENT: no such file or directory, open 'data/x.csv'", "data/x.csv"),
        ("panic: open data/x.csv: no such file or directory", "data/x.csv"),
        ("cannot open file 'data/x.csv': No such file or directory", "data/x.csv"),
        ("No such file or directory: '../../etc/passwd'", None),
        ("No such file or directory: '/etc/passwd'", None),
        ("No such file or directory: 'model.npz'", None),
        ("all is well", None),
        ("", None),
    ],
)
def test_the_wanted_file_is_found(printed: str, wanted: str | None) -> None:
    found = wanted_files(f"before\n{printed}\n", FILES.__contains__, root=ROOT, near="models")

    assert found == (() if wanted is None else (wanted,))


def test_a_long_log_takes_no_longer_than_its_end() -> None:
    log = "open " * 2_000_000 + "\ncat: data/x.csv: No such file or directory\n"

    assert wanted_files(log, FILES.__contains__, root=ROOT, near="") == ("data/x.csv",)


@pytest.mark.parametrize("line", ["a" * 70_000, "'" * 70_000, "a/" * 35_000, ": " * 35_000])
def test_odd_text_is_read_in_bounded_time(line: str) -> None:
    assert wanted_files(line, FILES.__contains__, root=ROOT, near="") == ()
