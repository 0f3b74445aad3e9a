"""The programs behind python_environment: locks of all kinds, wheels, sources."""

import struct
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.unit.test_tools import TOOLS, Done, run_script, snapshot, tool
from tests.wheels import fingerprint
from tests.wheels import wheel as packed_wheel

# ---------------------------------------------------------------------------------------------
# lock.py

A, B = "a" * 64, "b" * 64


def lock(folder: Path, text: str) -> Done:
    (folder / "requirements.lock").write_text(text)
    return tool("lock.py", "requirements.lock", "out.txt", cwd=folder)


def test_comments_order_and_spelling_do_not_reach_the_canonical_lock(tmp_path: Path) -> None:
    first = f"""\
# made by hand
scipy==1.0 \\
    --hash=sha256:{B} \\
    --hash=sha256:{A}
    # via something
NumPy_Extra[B,a] == 2.0 ; python_version < "3.99"  --hash=sha256:{A}  # why not
"""
    second = (
        f'\ufeffnumpy.extra[a,b]==2.0;python_version < "3.99" \\\r\n --hash=sha256:{A}\r\n'
        f"scipy==1.0 --hash=sha256:{A} --hash sha256:{B.upper()}\r\n"
    )

    results = [
        (lock(tmp_path, text), (tmp_path / "out.txt").read_text()) for text in (first, second)
    ]

    assert [done.returncode for done, _ in results] == [0, 0]
    assert results[0][1] == results[1][1]
    assert results[0][1] == (
        f"numpy-extra[a,b]==2.0 --hash=sha256:{A}\nscipy==1.0 --hash=sha256:{A} --hash=sha256:{B}\n"
    )


def test_a_canonical_lock_stays_as_it_is(tmp_path: Path) -> None:
    lock(tmp_path, f"b==1 --hash=sha256:{B}\na==2 --hash=sha256:{A}\n")
    once = (tmp_path / "out.txt").read_text()

    lock(tmp_path, once)

    assert (tmp_path / "out.txt").read_text() == once


def test_one_package_may_have_several_versions_under_different_markers(tmp_path: Path) -> None:
    text = (
        f"a==2 ; python_version >= '3.12' --hash=sha256:{A}\n"
        f"a==1 ; python_version < '3.12' --hash=sha256:{B}\n"
    )

    assert lock(tmp_path, text).returncode == 0


def test_an_empty_lock_is_an_environment_without_packages(tmp_path: Path) -> None:
    assert lock(tmp_path, "# nothing yet\n").returncode == 0
    assert (tmp_path / "out.txt").read_text() == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("numpy==2.0", "`numpy==2.0` has no hash"),
        (f"numpy --hash=sha256:{A}", "`numpy` names no exact version"),
        (f"numpy==2.* --hash=sha256:{A}", "names no exact version"),
        (f"numpy>=2.0 --hash=sha256:{A}", "allows several versions"),
        (f"numpy==2.0,!=2.1 --hash=sha256:{A}", "allows several versions"),
        (f"numpy==2.0 --hash=md5:{'0' * 32}", "is no hash"),
        (f"numpy==2.0 --hash=sha256:{A[:-1]}", "is no hash"),
        (f"numpy==2.0 --config-settings=x --hash=sha256:{A}", "`--config-settings` cannot stand"),
        (f"numpy @ https://host/numpy.whl --hash=sha256:{A}", "is a URL"),
        ("https://host/numpy.whl", "is a URL"),
        ("./wheels/numpy.whl", "is no requirement"),
        ("-e ./mine", "`-e`: a folder that changes cannot be locked"),
        ("-r other.txt", "`-r`: a lock is one file"),
        ("--requirement=other.txt", "`--requirement`: a lock is one file"),
        ("-i https://host/simple", "`-i`: where packages come from"),
        ("--extra-index-url https://host/simple", "`--extra-index-url`: where packages come from"),
        ("--find-links=wheels", "`--find-links`: where packages come from"),
        ("--pre", "`--pre` cannot stand in a lock"),
        (f"ok-1==1 --hash=sha256:{B}", "`ok-1` stands in line 2 already"),
    ],
)
def test_what_does_not_pin_is_refused_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    done = lock(tmp_path, f"# first\nok_1==1 \\\n  --hash=sha256:{A}\n{line}\n")

    assert done.returncode == 1
    assert done.stderr.startswith("requirements.lock:4: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.txt").exists()


# ---------------------------------------------------------------------------------------------
# install.py


def wheel(folder: Path, name: str, files: dict[str, str], *, tag: str = "py3-none-any") -> str:
    """Write a wheel into `folder`; return its line in a list."""
    return packed_wheel(folder, name, files, tag=tag).line


GREETER = {
    "greeter/__init__.py": (
        "def say():\n    print('hello', sorted(WORDS))\n\n"
        "WORDS = frozenset({'a', 'b', 'c'})\n\n"
        "def is_known(word):\n    return word in {'one', 'two', 'three', 'four', 'five'}\n"
    ),
    "greeter/broken.py": "this is = no Python\n",
    "greeter-1.0.data/scripts/greet": "#!python\nimport greeter\ngreeter.say()\n",
}


def install(folder: Path, requirements: str, *, out: Path, wheels: Path, **env: str) -> Done:
    folder.mkdir(exist_ok=True)
    (folder / "requirements.txt").write_text(requirements)
    return tool(
        "install.py",
        *("--uv", find_uv_bin(), "--python", sys.executable),
        *("--list", folder / "requirements.txt", "--out", out),
        env={
            "HOME": str(folder),
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(wheels),
            **env,
        },
    )


def test_two_installations_at_different_places_are_equal_byte_by_byte(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    requirements = wheel(wheels, "greeter", GREETER) + wheel(
        wheels, "other", {"other.py": "X = 1\n"}
    )

    first = install(tmp_path / "one", requirements, out=tmp_path / "one" / "out", wheels=wheels)
    second = install(
        tmp_path / "two", requirements, out=tmp_path / "two" / "far" / "away", wheels=wheels
    )

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert snapshot(tmp_path / "one" / "out") == snapshot(tmp_path / "two" / "far" / "away")


def test_an_installation_tells_nothing_of_where_and_when_it_was_made(tmp_path: Path) -> None:
    wheels, out = tmp_path / "wheels", tmp_path / "out"
    requirements = wheel(wheels, "greeter", GREETER)

    install(tmp_path / "work", requirements, out=out, wheels=wheels)

    files = snapshot(out / "0")
    told = [name for name, (_, content) in files.items() if str(tmp_path).encode() in content]
    told += [name for name, (_, content) in files.items() if sys.prefix.encode() in content]
    assert told == []
    assert not {Path(name).name for name in files} & {
        "INSTALLER",
        "REQUESTED",
        ".lock",
        "uv_cache.json",
    }
    for name in ("bin/greet", "bin/greeter-say"):
        kind, content = files[name]
        assert kind == "program"
        assert content.startswith(b"#!/usr/bin/env python3\n")


def test_the_record_of_a_package_is_true_and_sorted(tmp_path: Path) -> None:
    wheels, out = tmp_path / "wheels", tmp_path / "out"

    install(tmp_path / "work", wheel(wheels, "greeter", GREETER), out=out, wheels=wheels)

    out /= "0"
    rows = (out / "greeter-1.0.dist-info" / "RECORD").read_text().splitlines()
    assert rows == sorted(rows)
    for path, _, rest in (row.partition(",") for row in rows):
        is_itself = path == "greeter-1.0.dist-info/RECORD"
        assert rest == ("," if is_itself else fingerprint((out / path).read_bytes()))


def test_bytecode_is_used_and_never_checked_against_times(tmp_path: Path) -> None:
    wheels, out = tmp_path / "wheels", tmp_path / "out"

    install(tmp_path / "work", wheel(wheels, "greeter", GREETER), out=out, wheels=wheels)

    out /= "0"
    (compiled,) = (out / "greeter" / "__pycache__").iterdir()  # broken.py has none
    assert struct.unpack("<I", compiled.read_bytes()[4:8]) == (
        0b01,
    )  # by hash, unchecked (PEP 552)
    (out / "greeter" / "__init__.py").write_text("raise SystemExit('compiled again')")
    done = run_script(
        tmp_path, "import greeter\ngreeter.say()\nprint(greeter.__file__)", site="out/0"
    )
    assert done.stdout == f"hello ['a', 'b', 'c']\n{out}/greeter/__init__.py\n"


def test_a_lock_without_packages_is_an_empty_tree(tmp_path: Path) -> None:
    out = tmp_path / "out"

    done = install(tmp_path / "work", "", out=out, wheels=tmp_path)

    assert (done.returncode, list(out.iterdir())) == (0, [])


def test_a_setting_of_the_caller_cannot_change_what_is_installed(tmp_path: Path) -> None:
    wheels, out = tmp_path / "wheels", tmp_path / "out"
    requirements = wheel(wheels, "greeter", GREETER)
    (tmp_path / "other.txt").write_text("greeter==9.9\n")

    done = install(
        tmp_path / "work", requirements, out=out, wheels=wheels, UV_TARGET=str(tmp_path / "x"),
        UV_OVERRIDE=str(tmp_path / "other.txt"), UV_COMPILE_BYTECODE="1",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert (out / "0" / "greeter-1.0.dist-info").is_dir()


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheel(wheels, "greeter", GREETER)

    done = install(
        tmp_path / "work", f"greeter==1.0 --hash=sha256:{A}\n", out=tmp_path / "out", wheels=wheels
    )

    assert done.returncode == 1
    assert done.stderr.startswith(
        "what was downloaded for `greeter==1.0` is not what the lock names\n"
    )
    assert "greeter" in done.stderr


def test_a_package_without_a_wheel_for_this_platform_is_named(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    requirements = wheel(wheels, "greeter", GREETER, tag="cp39-cp39-win_amd64")

    done = install(tmp_path / "work", requirements, out=tmp_path / "out", wheels=wheels)

    assert done.returncode == 1
    assert done.stderr.startswith("`greeter==1.0` has no wheel for this platform and Python\n")
    assert "greeter" in done.stderr


def test_an_index_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    done = install(
        tmp_path / "work", f"greeter==1.0 --hash=sha256:{A}\n", out=tmp_path / "out",
        wheels=tmp_path, UV_OFFLINE="0", UV_DEFAULT_INDEX="http://127.0.0.1:9/simple",
        UV_HTTP_RETRIES="0",
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith("the package index of `greeter==1.0` cannot be reached\n")


# ---------------------------------------------------------------------------------------------
# markers, versions, tags

sys.path.insert(0, str(TOOLS))
import lock_markers  # noqa: E402 - a program's module, no package's
import lock_toml  # noqa: E402
import probe  # noqa: E402
from lock_pins import LockError  # noqa: E402

HERE = lock_markers.Platform(
    {
        "python_version": "3.11",
        "python_full_version": "3.11.7",
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_release": "",
    },
    ("cp311-cp311-manylinux_2_36_x86_64", "cp311-cp311-linux_x86_64", "py3-none-any"),
    frozenset({"extra-4-proj-cpu", "fast"}),
    frozenset({"test"}),
)


@pytest.mark.parametrize(
    ("marker", "truth"),
    [
        ("", True),
        ("python_version < '3.12'", True),
        ("python_version < '3.9'", False),
        ("'3.9' <= python_version", True),
        ("python_full_version >= '3.11.7rc1' and python_full_version < '3.11.8.dev0'", True),
        ("python_version == '3.*'", True),
        ("python_version != '3.11.*'", False),
        ("python_version ~= '3.10'", True),
        ("python_version in '3.10 3.11'", True),
        ("sys_platform == 'win32' or (os_name == 'posix' and platform_machine != 'arm64')", True),
        ("sys_platform not in 'linux darwin'", False),
        ('implementation_name == "pypy" and python_version > "nonsense"', None),
        ("extra == 'extra-4-proj-cpu'", True),
        ("extra != 'extra-4-proj-cpu' or extra == 'extra-4-proj-gpu'", False),
        ("'fast' in extras and 'test' in dependency_groups", True),
        ("'docs' not in dependency_groups", True),
        ("colour == 'red'", None),
        ("python_version <", None),
        ("(os_name == 'posix'", None),
        ("os_name == 'posix' os_name", None),
    ],
)
def test_markers_hold_or_not_or_are_refused(marker: str, truth: bool | None) -> None:  # noqa: FBT001
    if truth is None:
        with pytest.raises(lock_markers.MarkerError):
            lock_markers.holds(marker, HERE)
    else:
        assert lock_markers.holds(marker, HERE) is truth


def test_versions_are_in_order() -> None:
    ordered = [
        *("1.dev0", "1a1.dev2", "1a1", "1a2", "1b1", "1rc1", "1", "1+local", "1.post1.dev3"),
        *("1.post1", "1.0.1", "1.1", "2", "10", "1!0.1"),
    ]

    keys = [lock_markers.version_key(one) for one in ordered]

    assert keys == sorted(keys)
    assert lock_markers.version_key("1.0.0-ALPHA.1") == lock_markers.version_key("1a1")


def test_the_best_wheel_of_several_is_chosen() -> None:
    files = [
        *("a-1-py3-none-any.whl", "a-1-cp311-cp311-manylinux_2_36_x86_64.whl"),
        *("a-1-2-cp311-cp311-manylinux_2_36_x86_64.whl", "a-1-cp312-cp312-linux_x86_64.whl"),
    ]

    ranks = {file: lock_toml.rank(file, HERE.tags) for file in files}

    assert max((one for one in files if ranks[one]), key=lambda one: ranks[one]) == files[2]
    assert ranks[files[3]] is None


def test_the_tags_of_this_interpreter_are_those_that_pip_knows() -> None:
    tags = pytest.importorskip("packaging.tags")

    assert probe.tags() == [str(one) for one in tags.sys_tags()]


PROJECT = """\
version = 1
requires-python = ">=3.9"
conflicts = [[{ package = "proj", extra = "cpu" }, { package = "proj", extra = "gpu" }]]
[[package]]
name = "proj"
version = "0"
source = { editable = "." }
dependencies = [
    { name = "base", extra = ["more"] },
    { name = "old", marker = "python_version < '3'" },
]
[package.optional-dependencies]
cpu = [{ name = "back", version = "1" }]
gpu = [{ name = "back", version = "2" }]
[package.dev-dependencies]
test = [{ name = "checks" }]
"""


def toml_package(name: str, version: str = "1", more: str = "", extras: str = "") -> str:
    return (
        f'[[package]]\nname = "{name}"\nversion = "{version}"\n'
        f'source = {{ registry = "x" }}\n{more}wheels = [{{ '
        f'url = "x/{name}-{version}-py3-none-any.whl", hash = "sha256:{A}" }}]\n{extras}'
    )


FULL = (
    PROJECT
    + toml_package(
        "base",
        extras='[package.optional-dependencies]\nmore = [{ name = "extra" }]\n',
        more='dependencies = [{ name = "back", version = "2", marker = "extra == '
        '\'extra-4-proj-gpu\'" }, { name = "base" }]\n',
    )
    + "".join(map(toml_package, ("extra", "back", "old", "checks")))
    + toml_package("back", "2")
)


def names(text: str, **chosen: tuple[str, ...]) -> list[str]:
    choice = lock_toml.Choice(**chosen)
    platform = lock_markers.Platform(HERE.variables, HERE.tags)
    return sorted(pin.name + pin.version for pin in lock_toml.pins_of(text, platform, choice))


def test_a_uv_lock_is_followed_through_extras_groups_forks_and_conflicts() -> None:
    assert names(FULL) == ["base==1", "extra==1"]
    assert names(FULL, extras=("cpu",)) == ["back==1", "base==1", "extra==1"]
    assert names(FULL, extras=("gpu",), groups=("test",)) == [
        *("back==2", "base==1", "checks==1", "extra==1")
    ]


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("sha256:" + A, "sha256:no"), 18, "`base` has no sha256"),
        (('source = { registry = "x" }', 'source = { git = "x" }'), 18, "is locked from a git"),
        (("py3-none-any.whl", "py2-none-any.whl"), 18, "has no wheel for this platform"),
        (('name = "extra" }]', 'name = "gone" }]'), 1, "the lock lacks `gone`"),
        (("version = 1\n", "version = 2\n"), 1, "a lock of version 2"),
        (("version = 1\n", "version = \n"), 1, "this is no TOML"),
        ((">=3.9", ">=3.12"), 2, "the lock is for Python >=3.12"),
    ],
)
def test_what_is_wrong_in_a_uv_lock_is_said_with_its_line(
    change: tuple[str, str], line: int, words: str
) -> None:
    with pytest.raises(LockError, match=words) as error:
        names(FULL.replace(*change))

    assert error.value.line == line


def test_a_group_that_a_lock_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(LockError, match="no group `docs`; there is `test`"):
        names(FULL, groups=("docs",))
