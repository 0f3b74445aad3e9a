"""Files that would run for ever, or take all memory or stack, end with a clear error."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from mlbuild import lang
from mlbuild.errors import InputError
from mlbuild.lang import thread

DEEP = 10_000


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "[" * DEEP + "]" * DEEP + "\n",
        "x = " + "(" * DEEP + "1" + ")" * DEEP + "\n",
        "x = " + "{1: " * DEEP + "1" + "}" * DEEP + "\n",
        "x = " + "-" * DEEP + "1\n",
        "x = " + "not " * DEEP + "1\n",
        "x = " + "lambda: " * DEEP + "1\n",
        "x = " + "1 if 1 else " * DEEP + "1\n",
        "x = 1" + " + 1" * DEEP + "\n",
        "x = 1" + " and 1" * DEEP + "\n",
        "x = len" + ".a" * DEEP + "\n",
        "x = len" + "()" * DEEP + "\n",
        "x = len" + "[0]" * DEEP + "\n",
        "x = [1" + " for x in []" * DEEP + "]\n",
        "if 1:\n  pass\n" + "elif 1:\n  pass\n" * DEEP,
        "".join(" " * n + "if 1:\n" for n in range(DEEP // 10)) + " " * DEEP + "pass\n",
        "def f():\n"
        + "".join(" " * n + "for x in []:\n" for n in range(1, 60))
        + " " * 60
        + "pass\n",
        "for x in [1]:\n" + " x = [x]\n" * 2 + "y = x\n" + "y" + "[0]" * DEEP + "\n",
    ],
    ids=lambda source: source[:12].strip().replace("\n", " "),
)
def test_what_is_nested_too_deeply_is_an_error_of_the_file(source: str) -> None:
    with pytest.raises(InputError) as caught:
        lang.compile_file(source.encode(), "deep.star", dialect=lang.Dialect.PLAIN)

    assert "deep" in caught.value.message
    assert caught.value.span is not None


def test_long_files_and_chains_are_fine(run: Callable[..., lang.Module]) -> None:
    chain = " + ".join(["[1]"] * 500)
    source = f"x = {chain}\n" + "".join(f"y{n} = {n}\n" for n in range(2000))

    module = run(source)

    assert len(module.globals["x"]) == 500
    assert module.globals["y1999"] == 1999


@pytest.mark.parametrize(
    "source",
    [
        "for i in range(1 << 60):\n  pass\n",
        "x = [0 for i in range(1 << 20) for j in range(1 << 20)]\n",
        (
            "def f():\n  for i in range(100000):\n    for j in [1, 2, 3]:\n      g(i)\n"
            "def g(x):\n  return x\nf()\n"
        ),
        "x = (0,)\nfor i in range(60):\n  x = (x, x)\ny = {x: 1}\n",
        "x = 0\ny = 0\nfor i in range(60):\n  x = [x, x]\n  y = [y, y]\nz = x == y\n",
        "x = [0]\nfor i in range(60):\n  x = [x, x]\ny = str(x)\n",
        "x = 'a' * 1000000\nfor i in range(1 << 30):\n  y = x + 'b'\n",
        "x = 'a' * 1000000\nfor i in range(1 << 30):\n  y = x.count('b')\n",
        "x = 'a' * 1000000\ny = 'a' * 1000000\nfor i in range(1 << 30):\n  x == y\n",
        "x = 'a' * 1000000\nfor i in range(1 << 30):\n  'b' in x\n",
        "x = ()\nfor i in range(1 << 30):\n  x += (i,)\n",
        "x = 3\nfor i in range(16):\n  x *= x\nfor i in range(1 << 30):\n  y = x * x\n",
        "x = '7' * 30000\nfor i in range(1 << 30):\n  y = int(x)\n",
    ],
)
def test_a_runaway_file_runs_out_of_steps(source: str, run: Callable[..., lang.Module]) -> None:
    with pytest.raises(InputError) as caught:
        run(source, steps=200_000)

    assert caught.value.message == "this takes too many steps"
    assert caught.value.span is not None


@pytest.mark.parametrize(
    "source",
    [
        "x = 'a' * (1 << 40)\n",
        "x = [0] * (1 << 40)\n",
        "x = (0,) * (1 << 40)\n",
        "x = b'a' * (1 << 40)\n",
        "x = [0]\nfor i in range(64):\n  x = x + x\n",
        "x = [0]\nfor i in range(64):\n  x += x\n",
        "x = 'a'\nfor i in range(64):\n  x += x\n",
        "x = ('a' * 60000).replace('a', 'b' * 60000)\n",
        "x = ('b' * 60000).join(['a'] * 60000)\n",
        "x = ('%s' * 100) % tuple(['a' * 1000000] * 100)\n",
        "x = ('{0}' * 100).format('a' * 1000000)\n",
        "x = str([['a' * 1000000] * 100])\n",
        "x = list(range(1 << 40))\n",
        "x = sorted(range(1 << 40))\n",
        "x = 1 << (1 << 40)\n",
        "x = 3\nfor i in range(64):\n  x *= x\n",
        "x = ('\\n' * (1 << 25)).splitlines()\n",
        "x = ('a ' * (1 << 25)).split()\n",
    ],
)
def test_no_operation_makes_a_value_of_absurd_size(
    source: str, run: Callable[..., lang.Module]
) -> None:
    with pytest.raises(InputError) as caught:
        run(source)

    assert caught.value.span is not None


@pytest.mark.parametrize(
    "source",
    ["y = str(x)\n", "y = x == z\n", "y = x < z\n", "y = freeze(x)\nw = {y: 1}\n", "host(x)\n"],
)
def test_a_value_that_is_nested_too_deeply_is_an_error(
    source: str, run: Callable[..., lang.Module]
) -> None:
    names = {
        "freeze": lang.builtin("freeze", lang.freeze),
        "host": lang.builtin("host", lang.to_python),
    }
    nested = "x = []\nz = []\nfor i in range(20000):\n  x = [x]\n  z = [z]\n"

    with pytest.raises(InputError, match="nested too deeply"):
        run(nested + source, names=names)


def test_many_functions_that_call_each_other_are_an_error(run: Callable[..., lang.Module]) -> None:
    source = "def f0():\n  return 0\n"
    source += "".join(f"def f{n}():\n  return f{n - 1}()\n" for n in range(1, 3000))

    with pytest.raises(InputError, match="nested too deeply"):
        run(source + "x = f2999()\n")


def test_the_steps_of_a_call_are_those_of_its_evaluation(run: Callable[..., lang.Module]) -> None:
    names = {"apply": lang.builtin("apply", lambda f: lang.call(f, (), {}))}
    source = "def f():\n  for i in range(1000):\n    pass\nfor i in range(1000):\n  apply(f)\n"

    with pytest.raises(InputError, match="too many steps"):
        run(source, names=names, steps=10_000)


@pytest.mark.parametrize(
    "source",
    [
        "x = []\nfor i in range(1 << 40):\n  x.append(i)\n",
        "x = {}\nfor i in range(1 << 40):\n  x[i] = {'a': i}\n",
        "x = set()\nfor i in range(1 << 40):\n  x.add((i, i))\n",
        "x = [[0] * 1000 for i in range(1 << 40)]\n",
        "x = ['a%d' % i * 1000 for i in range(1 << 40)]\n",
        "x = ()\nfor i in range(1 << 40):\n  x = (x, i)\n",
    ],
)
def test_a_file_that_takes_ever_more_memory_is_ended(
    source: str, run: Callable[..., lang.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "MEMORY", 64 << 20)

    with pytest.raises(InputError) as caught:
        run(source)

    assert caught.value.message == "this takes more than 64 MiB of memory"
    assert caught.value.span is not None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 'x' * (1 << 40)\n", "the string would have a length of 1099511627776"),
        ("x = [0] * (1 << 40)\n", "the list would have a length of 1099511627776"),
        ("x = 1 << (1 << 40)\n", "the int would have more than 131072 bits"),
        ("x = " + "[" * DEEP + "]" * DEEP + "\n", "brackets are nested more than 200 deep"),
        ("x = " + "{1: " * DEEP + "1" + "}" * DEEP + "\n", "brackets are nested more than 200"),
        ("x = {}\nfor i in range(100000):\n  x = {'a': x}\nstr(x)\n", "nested too deeply"),
        ("x = ['a' * (1 << 26) + str(i) for i in range(99)]\n", "the string would have"),
        ("x = ['a' * (1 << 25) + str(i) for i in range(99)]\n", "more than 1024 MiB of memory"),
    ],
)
def test_the_command_ends_a_runaway_file_with_an_error(source: str, said: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "mlbuild", "starlark", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(source.encode())
    child.stdin.close()

    text = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)

    child.returncode = os.waitstatus_to_exitcode(status)
    child.stderr.close()
    assert child.returncode == 2, text
    assert said in text
    assert " --> <stdin>:" in text
    assert usage.ru_maxrss < 1500 << 10  # KiB
