"""Random expressions and programs in the part of the language that all implementations share.

Programs end: every loop goes over a few items, texts are cut and numbers grow by steps, so that no
run of one takes long. They may fail, and then they have to fail everywhere.
"""

import re
from typing import Any

from hypothesis import strategies as st

from mlbuild import lang

NUMBERS = st.one_of(
    st.integers(-9, 9),
    # Nothing between: repeated so often, a list is neither small nor refused.
    st.integers(1 << 33, 1 << 70).flatmap(lambda x: st.sampled_from([x, -x])),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3)),
).map(lambda x: f"({x})")
STRINGS = st.text("ab %-\\\"'\n{}", max_size=4).map(lang.repr_of)
CONSTANTS = st.sampled_from(["None", "True", "False", "()", "[]", "{}", '""', "0", "1", "range(3)"])
BINARY = ["+", "-", "*", "//", "%", "/", "&", "|", "^", "<<", ">>"]
BINARY += ["==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or"]
FUNCTIONS = ["abs", "all", "any", "bool", "enumerate", "int", "len", "list", "max", "min"]
FUNCTIONS += ["repr", "reversed", "sorted", "str", "tuple", "type", "zip", "dict", "float"]
NO_ARGUMENTS = ["capitalize", "isalnum", "isalpha", "isdigit", "islower", "isspace"]
NO_ARGUMENTS += ["istitle", "isupper", "lower", "lstrip", "split", "splitlines", "strip", "title"]
NO_ARGUMENTS += ["upper", "items", "keys", "values", "pop", "popitem", "clear", "format", "rstrip"]
ONE_ARGUMENT = ["count", "endswith", "find", "format", "index", "join", "partition", "append"]
ONE_ARGUMENT += ["removeprefix", "removesuffix", "rfind", "rindex", "rpartition", "rsplit"]
ONE_ARGUMENT += ["split", "startswith", "get", "pop", "setdefault", "extend", "remove", "update"]
ONE_ARGUMENT += ["strip", "lstrip", "rstrip"]


def _larger(smaller: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(smaller, smaller), max_size=3)
    return st.one_of(
        st.tuples(smaller, st.sampled_from(BINARY), smaller).map(lambda t: f"({' '.join(t)})"),
        st.tuples(st.sampled_from(["-", "+", "~", "not "]), smaller).map(
            lambda t: f"({t[0]}{t[1]})"
        ),
        st.lists(smaller, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(smaller, max_size=3).map(lambda items: f"({''.join(f'{i}, ' for i in items)})"),
        pairs.map(lambda items: "{" + ", ".join(f"{k}: {v}" for k, v in items) + "}"),
        st.tuples(smaller, smaller).map(lambda t: f"{t[0]}[{t[1]}]"),
        st.tuples(smaller, smaller, smaller).map(lambda t: f"{t[0]}[{t[1]}:{t[2]}]"),
        st.tuples(smaller, st.sampled_from(["1", "-1", "2", "-2"])).map(
            lambda t: f"{t[0]}[::{t[1]}]"
        ),
        st.tuples(st.sampled_from(FUNCTIONS), smaller).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(smaller, st.sampled_from(NO_ARGUMENTS)).map(lambda t: f"{t[0]}.{t[1]}()"),
        st.tuples(smaller, st.sampled_from(ONE_ARGUMENT), smaller).map(
            lambda t: f"{t[0]}.{t[1]}({t[2]})"
        ),
        st.tuples(smaller, smaller, smaller).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(smaller, smaller).map(lambda t: f"[({t[0]}, x) for x in {t[1]} or ()]"),
        st.tuples(smaller, smaller).map(lambda t: f"{{x: {t[0]} for x in {t[1]} or () if x}}"),
        st.tuples(smaller, smaller).map(lambda t: f"(lambda x, *y: (y, x, {t[0]}))({t[1]}, 1)"),
    )


EXPRESSIONS = st.recursive(st.one_of(NUMBERS, STRINGS, CONSTANTS), _larger, max_leaves=8)


def _templates(text: str) -> list[str]:
    """Return the templates of a text: two spaces or a new line stand between them."""
    return re.split(r"\s*\n\s*|  +", text.strip())


# What stands for `{i}`, an int, `{s}` string, `{c}` condition, `{l}` list, `{o}` anything.
PLAIN = {
    "i": _templates(
        """
        n  m  0  1  -3  7  len(x)  len(s)  x[0]  d['a']
        """
    ),
    "s": _templates(
        """
        s  t  ''  'a'  'b c'  'a-b'
        """
    ),
    "c": _templates(
        """
        True  False  n  s  x  d  (n == m)  (x == y)
        """
    ),
    "l": _templates(
        """
        x  y  []  [1, 'a']  [3, 1, 2]  d.keys()  list(range(4))
        """
    ),
    "o": _templates(
        """
        None  n  s  x  d  (n, s)  ()
        """
    ),
}
LARGER = {
    "i": _templates(
        """
        ({i} + {i})  ({i} - {i})  ({i} // {i})  ({i} % {i})  ({i} & {i})  ({i} | {i})  ({i} ^ {i})
        ~{i}  -{i}  ({i} * 3)  ({i} << 2)  ({i} >> 1)  min({i}, {i})  max({i}, 2)  abs({i})
        int({c} == {c})  x[{i}]  y[{i}]  ({i} if {c} else {i})  d.get({s}, {i})  {s}.find({s})
        {s}.count('a')  f({i})  f({i}, q = {i})  (lambda v: v + {i})({i})  len({l})  x.index({i})
        {o}  x.pop()  d.pop({s}, {i})  d.setdefault({s}, {i})
        """
    ),
    "s": _templates(
        """
        ({s} + 'x')  {s}[{i} % 5:]  {s}[:{i} % 5]  {s}[{i}]  {s}[::-1]  str({i})  {s}.upper()
        {s}.title()  {s}.strip('a ')  {s}.replace('a', 'bb')  repr({o})  ('%s-%r' % ({i}, {s}))
        '{{}}/{{}}'.format({s}, {i})  ('ab' * ({i} % 5))  ','.join([str(v) for v in {l}])
        type({o})  ({s} if {c} else {s})  {o}
        """
    ),
    "c": _templates(
        """
        ({i} < {i})  ({i} >= {i})  ({s} == {s})  ({s} < {s})  ({i} in x)  ({s} in d)  ({s} in {s})
        (not {c})  ({c} and {c})  ({c} or {c})  ({l} != y)  ({l} < {l})  bool({o})  all({l})
        any({l})  {s}.startswith({s})  ({o} == {o})
        """
    ),
    "l": _templates(
        """
        [{i}, {s}]  [{i}, {i}, {i}]  x[{i} % 4:]  x[:{i} % 4]  x[::-1]  (x[:3] + [{i}])
        [v for v in {l}[:4] if v != {i}]  [(v, {s}) for v in range(3)]  sorted({l})
        [v + w for v in range(2) for w in x[:2]]  reversed({l}[:4])  list(d.items()[:3])
        zip({l}, range(3))  enumerate({s}.split('-'))  {s}.split()  {s}.split(' ')
        sorted(x, key = lambda v: -v)  sorted({l}, reverse = True)  [k for k in d][:3]
        """
    ),
    "o": _templates(
        """
        {i}  {s}  {c}  {l}  ({i}, {s})  {{{s}: {i}}}  {{v: {i} for v in {l}[:3]}}  f(*{l}[:3])
        f({i}, z = {s})  f(p = {i}, **{{'q': {i}}})  max({l})  dict(a = {i})  [{i}, [{s}]]
        tuple({l})  d.items()  d.values()  hasattr({o}, 'pop')
        """
    ),
}
SIMPLE = _templates(
    """
    n = {i}  m = {i}  n += {i}  m -= {i}  n //= {i}  m %= {i}  n &= {i}  w = {i}  s = {s}[:20]
    t = {s}[:20]  s += 'y'  t = s  n, m = {i}, {i}  m, s = ({i}, 'q')  x = {l}[:5]  y = x
    y = list(x)[:5]  x += [{i}]  x.append({i})  x.append({s}[:9])  x[{i}] = {i}  x[0] += {i}
    y[-1] = {s}[:9]  x.insert({i} % 4, {i})  x.remove({i})  x.extend({l}[:3])  x.pop({i} % 3)
    x.clear()  [n, m] = {l}[:2]  (n, [m, s]) = (1, (2, 'z'))  d[{s}[:9]] = {i}  d[{i}] = {s}[:9]
    d['a'] += 1  d.update(a = {i})  d |= {{{s}[:9]: 1}}  d.pop({s})  d = dict(d)
    x[{i} % 3], n = {i}, {i}  pass  {o}  n = w  d.update([({s}[:9], {i})])
    """
)
LOOPS = _templates(
    """
    for a in range(3):  for n in x[:3]:  for k, v in d.items()[:3]:  for a in ({i}, {i}):
    for n, x[0] in [(1, 2), (3, 4)]:  for a in {l}[:3]:  for (a, [n, b]) in [({i}, (1, 2))]:
    """
)
BRANCHES = ["if {c}:", "if {i} < {i}:", "if {s} in d:"]
HEAD = _templates(
    """
    n, m, s, t = 5, -2, 'a b', 'x-y-'  x = [3, 1, 2]  y = x  d = {'a': 1, 'b': [2]}
    """
)
HOLE = re.compile(r"\{\{|\}\}|\{([iscol])\}")


@st.composite
def _programs(draw: st.DrawFn) -> str:
    lines = [
        "def main():",
        *(f"    {line}" for line in HEAD),
        "    def f(p, q = 2, *r, **z):",
        f"        return {_expanded(draw, draw(st.sampled_from(['[p, q, r, z]', '{i}', 'p'])), 1)}",
        *_block(draw, 1, depth=2, looping=False),
        "    return [n, m, s, t, x, y, d]",
    ]
    return "\n".join(lines) + "\n"


def _block(draw: Any, indent: int, *, depth: int, looping: bool) -> list[str]:
    """Return one to four statements, indented."""
    found: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        found += _statement(draw, indent, depth=depth, looping=looping)
    return found


def _statement(draw: Any, indent: int, *, depth: int, looping: bool) -> list[str]:
    before = "    " * indent
    kind = draw(st.integers(0, 9))
    if kind >= 8 and depth:
        head = _expanded(draw, draw(st.sampled_from(LOOPS)), 1)
        return [before + head, *_block(draw, indent + 1, depth=depth - 1, looping=True)]
    if kind == 7 and depth:
        head = _expanded(draw, draw(st.sampled_from(BRANCHES)), 1)
        then = _block(draw, indent + 1, depth=depth - 1, looping=looping)
        if draw(st.booleans()):
            return [before + head, *then]
        otherwise = _block(draw, indent + 1, depth=depth - 1, looping=looping)
        return [before + head, *then, before + "else:", *otherwise]
    if kind == 6 and looping:
        return [before + draw(st.sampled_from(["break", "continue"]))]
    return [before + _expanded(draw, draw(st.sampled_from(SIMPLE)), 2)]


def _expanded(draw: Any, template: str, depth: int) -> str:
    """Return `template` with its holes filled, by ever smaller parts."""

    def part(found: re.Match[str]) -> str:
        kind = found[1]
        if not kind:
            return found[0][0]
        if depth and draw(st.booleans()):
            return _expanded(draw, draw(st.sampled_from(LARGER[kind])), depth - 1)
        return str(draw(st.sampled_from(PLAIN[kind])))

    return HOLE.sub(part, template)


PROGRAMS = _programs()
