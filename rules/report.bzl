"""report: one page that shows what targets measured, tabulated and drew."""

_SHOWN = (".csv", ".gif", ".jpeg", ".jpg", ".json", ".jsonl", ".md", ".png", ".svg", ".tsv", ".webp")
_FOLDERS = ["figures", "plots", "tables"]

def _report(ctx):
    sections = []
    inputs = []
    for name, files in ctx.files.data.items():
        section, read = _section(name, ctx.attr.data[name], files)
        sections.append(section)
        inputs += [file for file in read if file not in inputs]
    page, summary = ctx.file("report.html"), ctx.file("report.md")
    ctx.run(
        argv = [ctx.tool("python"), "-S", "-s", "-P", "-B", ctx.attr._run, "-", ctx.attr._main] +
               [page, summary] + ctx.files.text,
        inputs = inputs + [
            ctx.attr._chart,
            ctx.attr._contents,
            ctx.attr._page,
            ctx.attr._prose,
            ctx.attr._summary,
        ],
        params = {
            "rows": ctx.attr.rows,
            "sections": sections,
            "title": ctx.attr.title or ctx.label.name,
        },
    )
    return struct(files = [page, summary])

def _section(name, given, files):
    """Returns what the page is told of a dependency, and the files that it reads."""
    if hasattr(given, "trials"):
        trials = [trial for trial in given.trials if getattr(trial.result, "metrics", None) != None]
        if not trials:
            fail("the trials of `%s` have no metrics that a report could show" % name)
        return {
            "name": name,
            "trials": [
                {"name": trial.name, "params": trial.params, "path": trial.result.metrics.path}
                for trial in trials
            ],
            "files": [],
        }, [trial.result.metrics for trial in trials]
    metrics = getattr(given, "metrics", None)

    # A model may be JSON too, which nobody wants to read.
    models = getattr(given, "model", None) or []
    shown = [
        file
        for file in files
        if _is_shown(file) and not (file in models and file.basename.endswith(".json"))
    ]
    if metrics != None and metrics not in shown:
        shown.append(metrics)
    if not shown:
        fail("`%s` has nothing that a report shows: metrics, %s, and folders named %s" % (name, " ".join(_SHOWN), ", ".join(_FOLDERS)))
    return {
        "name": name,
        "files": [
            {"path": file.path, "name": file.short_path, "metrics": file == metrics}
            for file in shown
        ],
    }, shown

def _is_shown(file):
    return file.basename in _FOLDERS if file.is_tree else file.basename.lower().endswith(_SHOWN)

report = rule(
    implementation = _report,
    doc = """One page with what its dependencies measured, tabulated and drew.

`report.html` is one file that needs no network and runs no script; `report.md` says the same without
the pictures, short enough for a comment on a pull request. A section for each name in `data` shows:

- metrics (of a sweep: a row for each trial);
- tables: `.csv`, `.tsv`, and `.json` that is no model;
- curves: the numbers of `.jsonl` lines, drawn over `step`;
- pictures: `.svg`, `.png`, `.jpg`, `.gif`, `.webp`;
- text: `.md`;
- such files in output folders named `plots`, `figures` or `tables`.

Other files, such as models, are no input of the page. With `text`, a Markdown file, the page is that
text. In it, `{{ NAME }}` on a line of its own becomes the section of that name, `{{ NAME PATH }}` one
file of it, and `{{ NAME METRIC }}` within a line a number; a format may follow: `{{ NAME METRIC .1% }}`.

```python
report(
    name = "paper",
    title = "Reading digits",
    data = {
        "LeNet": ":lenet_eval",
        "learning rates": ":digits",
    },
    text = "paper.md",
)
```
""",
    attrs = {
        "title": attr.string(doc = "The title of the page; by default the name of the target."),
        "data": attr.label_dict(mandatory = True, doc = "What to show, by the heading of its section."),
        "text": attr.label(doc = "A Markdown file that says what stands where; without it, all sections in their order."),
        "rows": attr.int(default = 20, doc = "How many rows of a table are shown."),
        "_run": attr.label(default = "@rules//tools:run_python.py"),
        "_main": attr.label(default = "@rules//tools:report/report.py"),
        "_chart": attr.label(default = "@rules//tools:report/chart.py"),
        "_contents": attr.label(default = "@rules//tools:report/contents.py"),
        "_page": attr.label(default = "@rules//tools:report/page.py"),
        "_prose": attr.label(default = "@rules//tools:report/prose.py"),
        "_summary": attr.label(default = "@rules//tools:report/summary.py"),
    },
)
