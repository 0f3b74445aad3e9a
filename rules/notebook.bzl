"""notebook: a Jupyter notebook, run from its first cell to its last."""

load("//script.bzl", "SCRIPT", "declared_outputs", "run_python")

def _notebook(ctx):
    if not hasattr(ctx.attr.environment, "packages"):
        fail("the `environment` of a notebook is a python_environment")
    source = ctx.file("source.ipynb")
    ctx.run(
        mnemonic = "strip",
        argv = [ctx.tool("python"), "-I", ctx.attr._strip, ctx.files.notebook[0], source],
    )
    outs = declared_outputs(ctx)
    metrics = ctx.file(ctx.attr.metrics) if ctx.attr.metrics else None
    executed = ctx.file(ctx.label.name + ".ipynb")
    original = ctx.files.notebook[0]
    folder = original.path.removesuffix(original.basename).removesuffix("/")
    words = ["--packages", ctx.attr.environment.packages, "--folder", folder or "."]
    words += ["--notebook", source, "--out", executed]
    words += ctx.expand(
        ["--path=%s=%s" % (name, text) for name, text in ctx.attr.paths.items()],
        names = ctx.files.data,
        params = ctx.attr.params,
    )
    run_python(
        ctx,
        ctx.attr._execute,
        outs + [executed],
        ctx.files.data,
        words,
        metrics = metrics,
    )
    return struct(
        files = [executed] + outs + ([metrics] if metrics else []),
        metrics = metrics,
    )

notebook = rule(
    implementation = _notebook,
    doc = """Runs a Jupyter notebook, with parameters, from its first cell to its last.

The environment needs the packages `nbclient` and `ipykernel`. Parameters are assigned in a cell of
their own, right after the cell with the tag `parameters`, which holds the values to use by hand;
where no cell has that tag, before all others. `$MLBUILD_CONTEXT` and the working directory are those
of any script; modules beside the notebook can be imported.

Outputs, execution counts and other traces of a run in the file do not count: saving the notebook
after running it by hand runs nothing. The output `NAME.ipynb` is the executed notebook.

```python
notebook(
    name = "explore",
    notebook = "explore.ipynb",
    environment = "//:env",
    data = {"digits": "//data:digits"},
    params = {"bins": 20},
    paths = {
        "DATA": "$(location digits)",
        "FIGURE": "$(output histogram.svg)",
    },
    outs = ["histogram.svg"],
)
```
""",
    attrs = dict(
        {name: attribute for name, attribute in SCRIPT.items() if name not in ["script", "args"]},
        notebook = attr.label(mandatory = True, doc = "The `.ipynb` file, of a Python kernel."),
        environment = attr.label(mandatory = True, doc = "A python_environment with `nbclient` and `ipykernel`."),
        params = attr.json(default = {}, doc = "Variables to assign: the parameters, part of the key. `1`, `1.0` and `True` differ."),
        paths = attr.string_dict(doc = "Variables that hold paths: `$(location NAME)` and `$(output PATH)` are filled in."),
        outs = attr.string_list(doc = "Files that the notebook writes below `$MLBUILD_OUT`."),
        metrics = attr.string(doc = "The output that holds a JSON object of numbers, nested allowed."),
        _strip = attr.label(default = "@rules//tools:strip_notebook.py"),
        _execute = attr.label(default = "@rules//tools:run_notebook.py"),
    ),
)
