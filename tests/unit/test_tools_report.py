"""The program of `report`, as the rule runs it: a process with a context file."""

import base64
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "rules" / "tools"
Done = subprocess.CompletedProcess[str]


class Page(HTMLParser):
    """What a page holds: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def run(folder: Path, sections: list[dict[str, Any]], text: str = "", rows: int = 20) -> Done:
    """Write a report of `sections` into `folder`."""
    params = {"title": "Digits & <more>", "sections": sections, "rows": rows}
    (folder / "context.json").write_text(json.dumps({"params": params}))
    words = ["report.html", "report.md"]
    if text:
        (folder / "text.md").write_text(text)
        words.append("text.md")
    return subprocess.run(
        [
            *(sys.executable, "-S", "-s", "-P", "-B", str(TOOLS / "run_python.py"), "-"),
            *(str(TOOLS / "report" / "report.py"), *words),
        ],
        cwd=folder,
        env={"PATH": os.defpath, "MLBUILD_CONTEXT": "context.json"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def section(name: str, folder: Path, *files: str, metrics: str = "") -> dict[str, Any]:
    """Return what the rule says of a dependency with these files."""
    return {
        "name": name,
        "files": [
            {"path": str(folder / file), "name": file, "metrics": file == metrics} for file in files
        ],
    }


def page(folder: Path, *args: Any, **options: Any) -> tuple[Page, str]:
    """Return the page and the summary of a report that can be written."""
    done = run(folder, *args, **options)
    assert done.returncode == 0, done.stderr
    return Page((folder / "report.html").read_text()), (folder / "report.md").read_text()


def test_metrics_tables_curves_and_pictures_are_shown(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"accuracy": 0.97352, "recall": {"7": 1}}')
    (tmp_path / "t.csv").write_text("digit,ink\n1,8.1\n2,15.7\n")
    (tmp_path / "c.jsonl").write_text("".join(f'{{"step": {n}, "loss": {n}}}\n' for n in range(3)))
    (tmp_path / "p.png").write_bytes(b"not looked into")

    html, markdown = page(
        tmp_path,
        [section("LeNet", tmp_path, "m.json", "t.csv", "c.jsonl", "p.png", metrics="m.json")],
    )

    assert "LeNet" in html.text
    assert "0.97352" in html.text
    assert "recall.7" in html.text
    assert "15.7" in html.text
    (drawn,) = html.named("svg")
    assert drawn["aria-label"] == "loss over step: from 0 to 2"
    (image,) = html.named("img")
    content = base64.b64encode(b"not looked into").decode()
    assert image == {"alt": "p.png", "src": f"data:image/png;base64,{content}"}
    assert "| accuracy | 0.97352 |" in markdown
    assert "| loss | 0 | 2 | 0 | 2 |" in markdown


def test_nothing_of_the_data_becomes_markup(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script><img src=x onerror=y>'
    (tmp_path / "t.csv").write_text(f'"{evil.replace(chr(34), chr(34) * 2)}",b\n{evil},|pipe\n')
    (tmp_path / "n.md").write_text(
        f'# {evil}\n\n`{evil}` [{evil}](javascript:alert(1)) [a](http://b"onclick=c)\n\n> {evil}\n'
    )
    (tmp_path / "s.svg").write_text(f"<svg>{evil}</svg>")

    html, markdown = page(tmp_path, [section(evil, tmp_path, "t.csv", "n.md", "s.svg")])

    assert html.named("script") == []
    assert [image["alt"] for image in html.named("img")] == ["s.svg"]
    assert {name for _, attributes in html.tags for name in attributes if name[:2] == "on"} == set()
    assert all("javascript" not in str(link["href"]) for link in html.named("a"))
    assert "\\|pipe" in markdown


def test_the_page_needs_no_network_and_allows_no_script(tmp_path: Path) -> None:
    (tmp_path / "n.md").write_text("![a picture](https://example.org/p.png)")

    html, _ = page(tmp_path, [section("a", tmp_path, "n.md")])

    (policy,) = [meta["content"] for meta in html.named("meta") if "http-equiv" in meta]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not html.named("link")
    assert not html.named("img")


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(
        "".join(f'{{"loss": {1 / (n + 3)}, "b": {n}}}\n' for n in range(2000))
    )
    given = [section("a", tmp_path, "c.jsonl")]
    run(tmp_path, given)
    first = (tmp_path / "report.html").read_bytes(), (tmp_path / "report.md").read_bytes()

    run(tmp_path, given)

    assert first == ((tmp_path / "report.html").read_bytes(), (tmp_path / "report.md").read_bytes())


def test_a_text_says_what_stands_where(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"accuracy": 0.97352}')
    (tmp_path / "t.csv").write_text("digit\n7\n")
    text = (
        "We reach {{ LeNet 5 accuracy .1% }}, or {{ LeNet 5 accuracy }}.\n\n## Digits\n\n"
        "{{ LeNet 5 t.csv }}\n\n```\n{{ nothing }}\n```\n"
    )

    html, markdown = page(
        tmp_path,
        [section("LeNet 5", tmp_path, "m.json", "t.csv", metrics="m.json")],
        text=text,
    )

    assert "We reach 97.4%, or 0.97352." in html.text
    assert "{{ nothing }}" in html.text
    assert len(html.named("table")) == 1
    assert [tag for tag, _ in html.tags if tag[0] == "h" and tag[1:].isdigit()] == ["h1", "h2"]
    assert "## Digits" in markdown
    assert "| 7 |" in markdown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n{{ lenet accuracy }} b", "text.md:2: `{{ lenet accuracy }}` begins with no name"),
        ("is {{ LeNet acuracy }}", "`LeNet` has no `acuracy`; did you mean `accuracy`?"),
        ("is {{ LeNet }}", "`{{ LeNet }}` is more than a number: give it a line of its own"),
        ("{{ LeNet plot.svg }}", "`LeNet` has no `plot.svg`; there is: `accuracy`, `m.json`"),
    ],
)
def test_a_reference_to_nothing_is_named_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "m.json").write_text('{"accuracy": 1}')

    done = run(tmp_path, [section("LeNet", tmp_path, "m.json", metrics="m.json")], text=text)

    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.json", b"{", "`t.json` is not JSON"),
        ("t.jsonl", b'{"a": 1}\nx\n', "`t.jsonl`, line 2, is not JSON"),
        ("t.csv", b"\xff\xfe", "`t.csv` is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)

    done = run(tmp_path, [section("a", tmp_path, name)])

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_long_table_shows_its_first_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(1000)))

    html, markdown = page(tmp_path, [section("a", tmp_path, "t.csv")], rows=5)

    assert "… and 995 more rows" in html.text
    assert "| 4 |" in markdown
    assert "| 5 |" not in markdown


def test_a_wide_table_shows_its_first_columns(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps([list(range(100, 200))]))

    html, _ = page(tmp_path, [section("a", tmp_path, "t.json")])

    assert len(html.named("td")) == 24
    assert "121" in html.text
    assert "130" not in html.text


def test_a_summary_fits_into_a_comment(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n\n" + "".join(f"{'x' * 90}\n" for _ in range(300)))

    _, markdown = page(tmp_path, [section(f"s{n}", tmp_path, "t.csv") for n in range(4)], rows=1000)

    assert len(markdown) <= 65_536
    assert markdown.endswith("… the rest stands in `report.html`.\n")


@pytest.mark.parametrize(
    ("value", "cells"),
    [
        ([{"a": 1, "b": {"c": 2}}, {"a": 3}], ["a", "b.c", "1", "2", "3"]),
        ({"counts": [[1, 2], [3, 4]]}, ["1", "2", "3", "4"]),
        ({"passed": True, "x": {"y": [1, 2]}}, ["passed", "true", "x.y", "[1, 2]"]),
        (["a", None], ["a"]),
        (7, ["7"]),
        ([], []),
        ({}, []),
    ],
)
def test_json_becomes_tables(tmp_path: Path, value: Any, cells: list[str]) -> None:
    (tmp_path / "t.json").write_text(json.dumps(value))

    html, _ = page(tmp_path, [section("a", tmp_path, "t.json")])

    assert [cell for cell in cells if cell not in html.text] == []


def test_a_curve_without_range_or_with_one_point_is_shown(tmp_path: Path) -> None:
    (tmp_path / "flat.jsonl").write_text('{"a": 5}\n{"a": 5}\n')
    (tmp_path / "one.jsonl").write_text('{"a": 5}\n')
    (tmp_path / "none.jsonl").write_text("")

    html, _ = page(tmp_path, [section("a", tmp_path, "flat.jsonl", "one.jsonl", "none.jsonl")])

    assert len(html.named("svg")) == 1
    assert len(html.named("table")) == 1


def test_numbers_without_measure_leave_gaps(tmp_path: Path) -> None:
    values = ["1", "NaN", "Infinity", "-1e308", "1e308", "9" * 400, "1.0000000000000002", "5e-324"]
    (tmp_path / "c.jsonl").write_text("".join(f'{{"a": {one}}}\n' for one in values))
    (tmp_path / "near.jsonl").write_text('{"a": 1}\n{"a": 1.0000000000000002}\n{"a": 1}\n')

    html, _ = page(tmp_path, [section("a", tmp_path, "c.jsonl", "near.jsonl")])

    assert len(html.named("polyline")) == 2
    assert all("n" not in str(one["points"]) for one in html.named("polyline"))


def test_markdown_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "n.md").write_text(
        "# One\n\nA *b* **c** `d` [e](https://example.org/a_b_c)\nf_g_h\n\n- i\n  j\n- k\n\n"
        "1. l\n\n> m\n> > n\n\n| o | p |\n| --- | --- |\n| q | r |\n\n---\n\n"
        "```python\nx < 1\n```\n"
    )

    html, _ = page(tmp_path, [section("a", tmp_path, "n.md")])

    found = [tag for tag, _ in html.tags[html.tags.index(("h2", {})) + 1 :]]
    assert found == [
        *("h3", "p", "em", "strong", "code", "a", "ul", "li", "li", "ol", "li", "blockquote", "p"),
        *("table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td", "hr", "pre", "code"),
    ]  # fmt: skip
    assert html.named("a") == [{"href": "https://example.org/a_b_c"}]
    assert "f_g_h" in html.text
    assert "x < 1" in html.text


def test_files_of_a_folder_are_shown(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a.svg").write_text("<svg/>")
    (tmp_path / "plots" / "model.bin").write_text("x")

    html, _ = page(tmp_path, [section("a", tmp_path, "plots")])

    assert [image["alt"] for image in html.named("img")] == ["plots/a.svg"]
