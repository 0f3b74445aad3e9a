"""What the rest of mlbuild sees of the language: modules, values, calls and places."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mlbuild import lang
from mlbuild.errors import InputError, Span

Run = Callable[..., lang.Module]
BUILD, BZL = lang.Dialect.BUILD, lang.Dialect.BZL


class Point(lang.Value):
    type_name = "point"

    def __init__(self, x: int) -> None:
        self.x = x

    def attribute(self, name: str) -> Any:
        if name == "x":
            return self.x
        return super().attribute(name)

    def attributes(self) -> list[str]:
        return ["x"]

    def truth(self) -> bool:
        return self.x != 0


def test_a_module_has_the_globals_of_its_file_frozen(run: Run) -> None:
    module = run('"""What it is."""\nx = [1]\n_y = {"a": x}\n', dialect=BZL)

    assert module.path == "file.star"
    assert module.doc == "What it is."
    assert list(module.globals) == ["x", "_y"]
    with pytest.raises(InputError, match="frozen"):
        run("def f():\n  x.append(2)\nf()\n", names=module.globals)


def test_load_binds_names_for_one_file(run: Run) -> None:
    library = run("x = [1]\ndef f(v):\n  return [v] + x\n", dialect=BZL, path="lib.bzl")
    asked: list[tuple[str, str]] = []

    def load(text: str, span: Span) -> lang.Module:
        asked.append((text, str(span)))
        return library

    module = run('load("//:lib.bzl", "x", g = "f")\ny = g(2)\n', dialect=BUILD, load=load)

    assert asked == [("//:lib.bzl", "file.star:1:6")]
    assert list(module.globals) == ["y"]
    assert list(module.globals["y"]) == [2, 1]


def test_a_name_that_the_loaded_file_lacks_is_told_at_its_place(run: Run) -> None:
    library = run("train_model = 1\n", dialect=BZL, path="lib.bzl")

    with pytest.raises(InputError) as caught:
        run('load("lib.bzl",\n  "train_mode")\n', dialect=BUILD, load=lambda *_: library)

    assert caught.value.message == "`lib.bzl` defines no `train_mode`"
    assert str(caught.value.span) == "file.star:2:3"
    assert caught.value.hints == ("did you mean `train_model`?",)


def test_an_error_in_a_loaded_file_is_told_there_and_notes_who_loads_it(run: Run) -> None:
    def load(text: str, _: Span) -> lang.Module:
        return run("def f():\n  return 1 // 0\nx = f()\n", dialect=BZL, path=text)

    with pytest.raises(InputError) as caught:
        run('load("lib.bzl", "x")\n', dialect=BUILD, load=load, path="BUILD.ml")

    assert str(caught.value.span) == "lib.bzl:2:10"
    assert caught.value.notes == ("called at lib.bzl:3:5", "loaded at BUILD.ml:1:6")


def test_what_a_file_does_to_a_loaded_value_fails(run: Run) -> None:
    library = run("def f(into = []):\n  into.append(1)\n  return into\nx = f()\n", dialect=BZL)

    with pytest.raises(InputError, match="the list is frozen"):
        run('load("l", "f")\ny = f()\n', dialect=BUILD, load=lambda *_: library)


def test_a_build_file_may_assign_a_name_again(run: Run) -> None:
    module = run("x = [1]\nx = x + [2]\nx += [3]\ny = [z for z in x if z > 1]\n", dialect=BUILD)

    assert list(module.globals["y"]) == [2, 3]


def test_a_builtin_is_given_values_as_they_are(run: Run) -> None:
    seen: list[Any] = []

    def take(first: Any, *rest: Any, named: Any = None, **others: Any) -> None:
        seen.extend([first, rest, named, others])

    run(
        "take([1], 2, named = {'a': (1,)}, self = 3)\n",
        dialect=BUILD,
        names={"take": lang.builtin("take", take)},
    )

    assert [lang.to_python(one) for one in seen[:3]] == [[1], (2,), {"a": (1,)}]
    assert seen[3] == {"self": 3}


def test_an_error_of_a_builtin_is_told_at_its_call(run: Run) -> None:
    def refuse(name: str) -> None:
        raise InputError(f"no {name}", hints=("ask again",))

    with pytest.raises(InputError) as caught:
        run(
            "def macro(name):\n  rule(\n    name = name,\n  )\nmacro('x')\n",
            names={"rule": lang.builtin("rule", refuse)},
        )

    assert caught.value.message == "no x"
    assert caught.value.hints == ("ask again",)
    assert str(caught.value.span) == "file.star:2:3"
    assert caught.value.notes == ("called at file.star:5:1",)


def test_a_fault_of_the_host_stays_one_and_notes_the_place(run: Run) -> None:
    def broken() -> int:
        return len(5)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="has no len") as caught:
        run("\nbroken()\n", names={"broken": lang.builtin("broken", broken)})

    assert caught.value.__notes__ == ["while evaluating file.star:2:1"]


def test_arguments_that_do_not_fit_a_builtin_are_an_error_of_the_file(run: Run) -> None:
    def glob(include: Any, exclude: Any = ()) -> None: ...

    class Host:
        def method(self, path: str) -> None: ...

    names = {"glob": lang.builtin("glob", glob), "file": lang.builtin("file", Host().method)}
    for source, message in [
        ("glob()\n", "`glob` needs `include`"),
        ("glob([], exclud = [])\n", "`glob` has no parameter `exclud`"),
        ("glob([], [], [])\n", "`glob` takes at most 2 positional arguments, not 3"),
        ("file()\n", "`file` needs `path`"),
        ("file(1, 2)\n", "`file` takes 1 positional argument, not 2"),
        ("file(self = 1)\n", "`file` has no parameter `self`"),
    ]:
        with pytest.raises(InputError) as caught:
            run(source, dialect=BUILD, names=names)
        assert caught.value.message == message


def test_a_builtin_can_ask_where_it_is_called(run: Run) -> None:
    spans: list[Span | None] = []
    stacks: list[Any] = []

    def rule(**_: Any) -> None:
        spans.append(lang.call_span())
        stacks.append(lang.call_stack())

    run(
        "def inner(n):\n  return [rule(name = m) for m in [n]]\n"
        "def outer():\n  inner('x')\n\nouter()\nrule(\n  name = 'y',\n)\n",
        names={"rule": lang.builtin("rule", rule)},
    )

    assert spans == [Span("file.star", 2, 11, 14), Span("file.star", 7, 1, 4)]
    assert [(name, str(span)) for name, span in stacks[0]] == [
        ("inner", "file.star:2:11"),
        ("outer", "file.star:4:3"),
        ("the file", "file.star:6:1"),
    ]
    assert lang.call_span() is None
    assert lang.call_stack() == ()


def test_the_stack_ends_where_a_file_begins(run: Run) -> None:
    stacks: list[Any] = []
    names = {"note": lang.builtin("note", lambda: stacks.append(lang.call_stack()))}

    def load(text: str, _: Span) -> lang.Module:
        return run("x = note()\n", dialect=BZL, path=text, names=names)

    run('load("lib.bzl", "x")\n', dialect=BUILD, load=load)

    assert [(name, str(span)) for name, span in stacks[0]] == [("the file", "lib.bzl:1:5")]


def test_python_calls_a_function_and_is_given_its_result_frozen(run: Run) -> None:
    module = run("def f(a, *, b):\n  return [a, b]\n", dialect=BZL)

    result = lang.call(module.globals["f"], (1,), {"b": lang.from_python([2])})

    assert lang.to_python(result) == [1, [2]]
    with pytest.raises(InputError, match="the list is frozen"):
        run("def g():\n  x.append(1)\ng()\n", names={"x": result})


def test_an_error_in_a_called_function_is_told_with_the_calls_that_led_there(run: Run) -> None:
    module = run(
        "def f(x):\n  return g(x)\ndef g(x):\n  return x.nope\n", dialect=BZL, path="rules.bzl"
    )

    with pytest.raises(InputError) as caught:
        lang.call(module.globals["f"], (Point(1),), {})

    assert caught.value.message == "a point has no `nope`"
    assert str(caught.value.span) == "rules.bzl:4:12"
    assert caught.value.notes == ("called at rules.bzl:2:10 in `f`",)


def test_a_call_that_does_not_fit_is_an_error_without_a_place(run: Run) -> None:
    module = run("def f(a):\n  return a\n", dialect=BZL)

    with pytest.raises(InputError, match="`f` needs `a`") as caught:
        lang.call(module.globals["f"], (), {})

    assert caught.value.span is None


def test_after_an_error_the_function_can_be_called_again(run: Run) -> None:
    module = run("def f(x):\n  return 1 // x\n", dialect=BZL)
    with pytest.raises(InputError, match="zero"):
        lang.call(module.globals["f"], (0,), {})

    assert lang.call(module.globals["f"], (1,), {}) == 1


def test_print_reaches_who_asked_for_it(run: Run, printed: list[str]) -> None:
    module = run("print('a', [1, 'b'], None, sep = '|')\nprint()\ndef f():\n  print('later')\n")
    lang.call(module.globals["f"], (), {})

    assert printed == ['a|[1, "b"]|None', "", "later"]


def test_a_value_of_the_host_takes_part(run: Run) -> None:
    point = Point(3)
    module = run(
        "a = [p.x, type(p), bool(p), bool(zero), dir(p), hasattr(p, 'y'), getattr(p, 'y', 0),"
        " p == p, p == zero, {p: 1}[p], str([p])]\n",
        names={"p": point, "zero": Point(0)},
    )

    found = lang.to_python(module.globals["a"])
    assert found == [3, "point", True, False, ["x"], False, 0, True, False, 1, "[<point>]"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("p.z\n", "a point has no `z`"),
        ("p()\n", "a point cannot be called"),
        ("p[0]\n", "a point has no `[…]`"),
        ("p + 1\n", "`+` cannot take a point and an int"),
        ("p < p\n", "`<` cannot compare a point with a point"),
        ("1 in p\n", "`in` cannot look into a point"),
        ("len(p)\n", "a point has no length"),
        ("[x for x in p]\n", "a point cannot be iterated over"),
        ("p.x = 1\n", "field `x` of a point cannot be assigned to"),
    ],
)
def test_a_value_of_the_host_can_do_no_more_than_it_says(
    source: str, message: str, run: Run
) -> None:
    with pytest.raises(InputError) as caught:
        run(source, names={"p": Point(1)})

    assert caught.value.message == message


def test_values_come_from_python_and_go_back() -> None:
    plain = {"a": [1, 2.5, None, True], "b": {"c": ("x", b"y")}}

    value = lang.from_python(plain)

    assert lang.to_python(value) == plain
    assert lang.repr_of(value) == '{"a": [1, 2.5, None, True], "b": {"c": ("x", b"y")}}'
    assert lang.type_name(value) == "dict"
    assert lang.to_python(lang.Struct({"a": value})) == {"a": plain}


def test_what_python_cannot_tell_apart_is_not_converted(run: Run) -> None:
    module = run("x = {1: 'int', True: 'bool'}\n")

    with pytest.raises(InputError, match="differ in their type only"):
        lang.to_python(module.globals["x"])


def test_a_set_keeps_its_order_in_python(run: Run) -> None:
    names = [f"name{n}" for n in range(20)]

    module = run(f"x = set({lang.repr_of(lang.from_python(names))})\n")

    assert lang.to_python(module.globals["x"]) == names


def test_a_file_may_hide_what_the_host_provides(run: Run) -> None:
    module = run("glob = 1\nx = glob\n", names={"glob": lang.builtin("glob", lambda: None)})

    assert module.globals["x"] == 1


def test_a_compiled_file_survives_being_kept() -> None:
    source = b'load("//:a.bzl", "x", y = "z")\nw = x + y\n'
    program = lang.compile_file(source, "pkg/BUILD.ml", dialect=BUILD)

    kept = lang.program_from(lang.program_bytes(program))

    assert kept == program
    assert kept.loads[0].module == "//:a.bzl"
    assert kept.loads[0].names[1] == ("y", "z", Span("pkg/BUILD.ml", 1, 27, 3))


def test_a_compiled_file_that_is_damaged_is_refused() -> None:
    kept = lang.program_bytes(lang.compile_file(b"x = 1\n", "a", dialect=BUILD))

    for damaged in (b"", kept[:10], kept[:-1], kept[:-1] + b"?", b"?" + kept[1:]):
        with pytest.raises(ValueError, match="damaged"):
            lang.program_from(damaged)


def test_compiling_is_a_function_of_the_source() -> None:
    source = b"def f(a, b = {'x': [1]}):\n  return [c for c in a if c in b]\n"

    kept = [lang.program_bytes(lang.compile_file(source, "a.bzl", dialect=BZL)) for _ in range(2)]

    assert kept[0] == kept[1]


def test_running_a_compiled_file_needs_no_parser() -> None:
    script = (
        "import sys; from mlbuild import lang; "
        "heavy = {'lark', 'subprocess', 'logging', 'tempfile', 'pathlib'}; "
        "print(*heavy & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert done.stdout.strip() == b""


def test_evaluation_does_not_touch_the_names_of_python(run: Run) -> None:
    for name in ("__builtins__", "__import__", "exec", "globals", "$add", "object"):
        with pytest.raises(InputError):
            run(f"x = {name}\n", dialect=BUILD)
    for source in ("''.__class__", "[].elements", "len.function", "(1).__class__", "len.__self__"):
        with pytest.raises(InputError, match="has no"):
            run(f"x = {source}\n", dialect=BUILD)
