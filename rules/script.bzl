"""Rules that run a Python script from data to data: process, train, evaluate."""

load("//container.bzl", "root_of")

def interpreter(ctx):
    """Returns the words that run a Python script in the environment of a target.

    Args:
      ctx: The target's, with the attributes of `SCRIPT`.
    """
    environment = ctx.attr.environment
    packages = environment.packages if hasattr(environment, "packages") else None
    if environment and not (packages or root_of(environment)):
        fail("the `environment` is a python_environment or a container_environment")
    if root_of(environment) and not packages:  # those of the image
        return [environment.python, "-s", "-B", ctx.attr._run, "+"]
    python = environment.python if environment else "python"
    if not root_of(environment):
        python = ctx.tool(python)

    # Not -I, which would ignore PYTHONHASHSEED; the environment is ours anyway.
    return [python, "-S", "-s", "-P", "-B", ctx.attr._run, packages or "-"]

def run_python(ctx, script, outputs, names, words, metrics = None):
    """Runs a Python program in the environment of a target.

    Args:
      ctx: The target's, with the attributes of `SCRIPT`.
      script: The program, an Artifact.
      outputs: The Artifacts that it writes.
      names: Its inputs by name, for the context file.
      words: Its command line.
      metrics: The Artifact among the outputs that holds its metrics.
    """
    ctx.run(
        argv = interpreter(ctx) + [script] + words,
        root = root_of(ctx.attr.environment),
        inputs = ctx.files.srcs,
        outputs = outputs,
        names = names,
        params = ctx.attr.params,
        env = ctx.attr.env,
        metrics = metrics,
        network = ctx.attr.network,
        resources = ctx.attr.resources,
        seed = ctx.attr.seed,
        determinism = ctx.attr.determinism,
        tolerance = ctx.attr.tolerance,
        timeout = ctx.attr.timeout,
        checkpoint = True,
    )

def declared_outputs(ctx):
    """Returns the Artifacts of the attributes `outs` and `out_trees`."""
    return [ctx.file(path) for path in ctx.attr.outs] + [ctx.tree(path) for path in ctx.attr.out_trees]

def _run_script(ctx, outputs, names, metrics):
    words = ctx.expand(ctx.attr.args, names = names, params = ctx.attr.params)
    run_python(ctx, ctx.files.script[0], outputs, names, words, metrics = metrics)

def _process(ctx):
    outs = declared_outputs(ctx)
    metrics = ctx.file(ctx.attr.metrics) if ctx.attr.metrics else None
    if not outs and not metrics:
        fail("a process needs at least one path in `outs` or `out_trees`")
    _run_script(ctx, outs, ctx.files.data, metrics)
    return struct(files = outs + ([metrics] if metrics else []), metrics = metrics)

def _train(ctx):
    outs = declared_outputs(ctx)
    if not outs:
        fail("a training needs at least one path in `outs`: the model")
    metrics = ctx.file(ctx.attr.metrics) if ctx.attr.metrics else None
    _run_script(ctx, outs, ctx.files.data, metrics)

    # What an evaluation reads is the model alone: metrics that differ do not repeat it.
    return struct(
        files = outs + ([metrics] if metrics else []),
        model = outs,
        metrics = metrics,
    )

def _evaluate(ctx):
    outs = declared_outputs(ctx)
    metrics = ctx.file(ctx.attr.metrics)
    names = dict(ctx.files.data)
    if ctx.attr.model:
        if "model" in names:
            fail("`model` is given twice: as an attribute and in `data`")
        given = ctx.attr.model
        names["model"] = given.model if type(given) == "struct" and hasattr(given, "model") else ctx.files.model
    _run_script(ctx, outs, names, metrics)
    files = outs + [metrics]
    if ctx.attr.gates:
        verdict = ctx.file("gates.json")
        ctx.run(
            mnemonic = "gate",
            argv = [ctx.tool("python"), "-I", ctx.attr._gate, metrics, verdict] +
                   [name + " " + bound for name, bound in ctx.attr.gates.items()],
            gate = True,
        )
        files = files + [verdict]
    return struct(files = files, metrics = metrics)

SCRIPT = {
    "script": attr.label(mandatory = True, doc = "The Python file to run. It imports nothing of mlbuild."),
    "srcs": attr.label_list(doc = "Further files of the workspace that the script imports or opens."),
    "args": attr.string_list(doc = "Command line: `$(location NAME)`, `$(locations NAME)`, `$(param NAME)`, `$(output PATH)` are filled in."),
    "environment": attr.label(doc = "A python_environment or a container_environment; without it, the bare interpreter."),
    "data": attr.label_dict(doc = "Inputs by name, for `$(location NAME)` and the context file."),
    "params": attr.json(default = {}, doc = "Parameters, part of the key. `1`, `1.0` and `True` differ."),
    "env": attr.string_dict(doc = "Environment variables."),
    "seed": attr.int(doc = "The seed that `random`, NumPy and PyTorch get, and the script as `MLBUILD_SEED`; part of the key."),
    "determinism": attr.string(values = ["", "bitwise", "metric", "none"], doc = "What repeating the script gives again, as `mlbuild verify` checks it: `bitwise` every bit, on machines that round alike (which is then part of the key); `metric` the metrics, within `tolerance`; `none` nothing. Unsaid: every bit on one machine."),
    "tolerance": attr.json(default = {}, doc = "With `metric`: by how much a metric may differ, such as `{\"accuracy\": 0.01}`; `*` stands for all others, which else must be equal."),
    "outs": attr.string_list(doc = "Files that the script writes below `$MLBUILD_OUT`."),
    "out_trees": attr.string_list(doc = "Folders that it writes there."),
    "network": attr.bool(doc = "Whether the script may use the network; part of the key."),
    "resources": attr.json(default = {}, doc = "`cpus` (also the number of threads, part of the key), `memory`, `gpus` (`1`, `\"A100\"`, `\"A100-80GB:2\"`, or a list of these: the order of preference), `disk` (`\"50Gi\"`: what must be free), `spot` (whether it may run on a machine that can be taken away)."),
    "timeout": attr.string(doc = "When to give up: `90s`, `10m`, `2h`."),
    "_run": attr.label(default = "@rules//tools:run_python.py"),
}

process = rule(
    implementation = _process,
    doc = """Runs a script from data to data: cleaning, splitting, features, figures.

The script gets its inputs by the names that `data` gives them, and writes what `outs` names.

```python
process(
    name = "split",
    script = "split.py",
    args = ["--data", "$(location raw)", "--share", "$(param share)", "--out", "$(output train.csv)"],
    data = {"raw": "//data:digits"},
    params = {"share": 0.8},
    outs = ["train.csv"],
)
```
""",
    attrs = dict(SCRIPT, metrics = attr.string(doc = "The output that holds a JSON object of numbers, nested allowed.")),
)

train = rule(
    implementation = _train,
    doc = """Trains a model.

As `process`, but `evaluate` and `select_best` know which of its outputs are the model: all of `outs`,
not the metrics. So metrics that differ do not repeat an evaluation.

```python
train(
    name = "lenet",
    script = "train.py",
    args = ["--data", "$(location digits)", "--lr", "$(param lr)", "--out", "$(output model.npz)"],
    environment = "//:env",
    data = {"digits": "//data:digits"},
    params = {"lr": 0.05},
    seed = 0,
    outs = ["model.npz"],
    metrics = "metrics.json",
    resources = {"cpus": 2, "memory": "2Gi"},
)
```
""",
    attrs = dict(SCRIPT, metrics = attr.string(doc = "The output that holds a JSON object of numbers, nested allowed.")),
)

evaluate = rule(
    implementation = _evaluate,
    doc = """Measures a model and holds it against gates.

The script finds the model as the input `model`. A gate that is missed ends the build with exit code 3,
after the metrics were shown; `gates.json` tells how each gate went.

```python
evaluate(
    name = "lenet_eval",
    script = "evaluate.py",
    args = ["--model", "$(location model)", "--data", "$(location test)"],
    environment = "//:env",
    model = ":lenet",
    data = {"test": "//data:digits_test"},
    gates = {"accuracy": ">= 0.95"},
)
```
""",
    attrs = dict(
        SCRIPT,
        model = attr.label(doc = "The trained model: the input `model`."),
        metrics = attr.string(default = "metrics.json", doc = "The output that holds a JSON object of numbers, nested allowed."),
        gates = attr.string_dict(doc = "Bounds on metrics, such as `{\"accuracy\": \">= 0.95\"}`. A missed one ends the build with exit code 3."),
        _gate = attr.label(default = "@rules//tools:gate.py"),
    ),
)
