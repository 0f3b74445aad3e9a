"""sweep and select_best: many trials of one target, and the best of them."""

load("//script.bzl", "train")

_PLAIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-"
_LONGEST = 200  # characters of a target's name: a file system takes 255 bytes

def sweep(name, grid = None, points = None, rule = train, params = {}, tags = [], visibility = None, **attributes):
    """Declares one target for each point of a grid of parameters, and a group of them all.

    A point's target is named after its values, `NAME-lr@0.1,batch@32`: a value that is added later
    renames no other trial, so only the new trials run. What else stands in a name: a float as it
    prints (`1e-05`), `True`, `None`, a list as `64x32`; in a string, `_` for all but letters, digits
    and `_ . + -`. The target `NAME` stands for all trials: give it to `select_best` or `report`.

    ```python
    sweep(
        name = "digits",
        grid = {
            "lr": [0.1, 0.5],
            "batch": [32, 64],
        },
        params = {"epochs": 5},
        script = "train.py",
        args = ["--lr", "$(param lr)", "--batch", "$(param batch)", "--epochs", "$(param epochs)"],
        outs = ["model.npz"],
        metrics = "metrics.json",
    )
    ```

    builds `:digits-lr@0.1,batch@32` and three more; `mlbuild :digits` builds all four.

    Args:
      name: The name of the group, and how the name of each trial begins.
      grid: A dict of parameters to lists of values; each combination is a trial. The order of the
        keys is their order in names. A dot reaches into a nested parameter: `"optimizer.lr"`.
      points: A list of dicts, one for each trial, instead of `grid`.
      rule: The rule of the trials: `train`, `evaluate`, or any other with the attribute `params`.
      params: The parameters that all trials share; a point's values come on top.
      tags: Tags of the group and of all trials.
      visibility: Which packages may name the group and the trials.
      **attributes: All else goes to the rule as it is.
    """
    if (grid == None) == (points == None):
        fail("sweep `%s` needs either `grid` or `points`" % name)
    chosen = _product(name, grid) if points == None else points
    if not chosen:
        fail("sweep `%s` has no point" % name)
    trials = {}
    for point in chosen:
        trial = name + "-" + ",".join([_key(name, key) + "@" + _shown(name, key, value) for key, value in point.items()])
        if trial in trials:
            fail("two points of sweep `%s` have the name `%s`: %r and %r" % (name, trial, trials[trial], point))
        if len(trial) > _LONGEST:
            fail("a name of sweep `%s` has %d characters, at most %d are possible: `%s`" % (name, len(trial), _LONGEST, trial))
        trials[trial] = point
    for trial, point in trials.items():
        rule(name = trial, params = _over(name, params, point), tags = tags, visibility = visibility, **attributes)
    trial_group(
        name = name,
        trials = [":" + trial for trial in trials],
        points = [dict(name = trial, params = point) for trial, point in trials.items()],
        tags = tags,
        visibility = visibility,
    )

def _product(name, grid):
    """Returns all combinations, the last key's values changing first."""
    found = [{}]
    for key, values in grid.items():
        if type(values) != "list" or not values:
            fail("`%s` in the grid of sweep `%s` is a list of values, not %r" % (key, name, values))
        found = [dict(point, **{key: value}) for point in found for value in values]
    return found if grid else []

def _key(name, key):
    if not key or [letter for letter in key.elems() if letter not in _PLAIN]:
        fail("%r in sweep `%s` cannot be part of a target's name" % (key, name))
    return key

def _shown(name, key, value):
    """Returns a value as it stands in the name of a trial."""
    parts = value if type(value) in ["list", "tuple"] else [value]
    if [part for part in parts if type(part) not in ["string", "int", "float", "bool", "NoneType"]]:
        fail("the value %r of `%s` in sweep `%s` cannot be part of a target's name: a name can hold numbers, strings, bools, None, and lists of them" % (value, key, name))
    text = "x".join(["".join([letter if letter in _PLAIN else "_" for letter in str(part).elems()]) for part in parts])
    if not text:
        fail("the value %r of `%s` in sweep `%s` cannot be part of a target's name: it is empty" % (value, key, name))
    return text

def _over(name, params, point):
    """Returns `params` with the values of a point on top. Dots reach into nested ones."""
    merged = dict(params)
    for key, value in point.items():
        steps = key.split(".")
        inner = merged
        for step in steps[:-1]:
            below = inner.get(step, {})
            if type(below) != "dict":
                fail("`%s` in sweep `%s` reaches into `%s`, which is %r" % (key, name, step, below))
            inner[step] = dict(below)
            inner = inner[step]
        inner[steps[-1]] = value
    return merged

def _trial_group(ctx):
    return struct(
        files = [file for trial in ctx.attr.trials for file in trial.files],
        trials = [
            struct(name = point["name"], params = point["params"], result = trial)
            for point, trial in zip(ctx.attr.points, ctx.attr.trials)
        ],
    )

trial_group = rule(
    implementation = _trial_group,
    doc = "Stands for all trials of a sweep.",
    attrs = {
        "trials": attr.label_list(doc = "The trials."),
        "points": attr.json(default = [], doc = "For each trial, its `name` and its `params`."),
    },
)

def _select_best(ctx):
    trials = _trials(ctx)
    first = trials[0].result
    files = _with_metrics(first)
    outs = {file.short_path: ctx.tree(file.short_path) if file.is_tree else ctx.file(file.short_path) for file in files}
    if "best.json" in outs:
        fail("the trials have an output `best.json`, which is where select_best writes its table")
    table = ctx.file("best.json")
    words = []
    for trial in trials:
        given = {file.short_path: file for file in _with_metrics(trial.result)}
        if sorted(given) != sorted(outs):
            fail("the trials have different outputs: `%s` has %s, `%s` has %s" % (
                trials[0].name,
                ", ".join(sorted(outs)),
                trial.name,
                ", ".join(sorted(given)),
            ))
        words += ["--trial", trial.result.metrics] + [given[path] for path in outs]
    ctx.run(
        argv = [ctx.tool("python"), "-I", ctx.attr._select, "--table", table] + words + ["--out"] + outs.values(),
        params = {
            "metric": ctx.attr.metric,
            "mode": ctx.attr.mode,
            "trials": [{"name": trial.name, "params": trial.params} for trial in trials],
        },
        metrics = outs[first.metrics.short_path],
    )
    fields = {name: outs[first.metrics.short_path] if name == "metrics" else [outs[file.short_path] for file in getattr(first, name)] for name in ["metrics", "model"] if hasattr(first, name)}
    return struct(files = outs.values() + [table], **fields)

def _trials(ctx):
    """Returns name, params and result of each trial; a sweep stands for all of its own."""
    found = []
    for given in ctx.attr.trials:
        if type(given) != "struct":
            fail("`%s` is a file, not a trial with metrics" % given.path)
        if hasattr(given, "trials"):
            found += given.trials
        else:
            found.append(struct(name = _place(given), params = {}, result = given))
    if not found:
        fail("select_best needs at least one trial")
    for trial in found:
        if getattr(trial.result, "metrics", None) == None:
            fail("the trial `%s` has no metrics: give its target the attribute `metrics`" % trial.name)
    return found

def _place(result):
    """Returns the folder of a target's outputs, `models/lenet`, which is as good as its name."""
    for file in result.files:
        return file.path.removeprefix("mlbuild-out/").removesuffix("/" + file.short_path)
    return "?"

def _with_metrics(result):
    return result.files + [file for file in [result.metrics] if file not in result.files]

select_best = rule(
    implementation = _select_best,
    doc = """The best of several trials: its outputs are those of the winner.

It can be given wherever a trial can, so `evaluate(model = ":best")` measures the winner. While the
same trial wins with the same bytes, nothing that depends on it runs again. The output `best.json`
tells which trial won, and the metric of each. Of equal trials, the one that is named first wins.

```python
select_best(
    name = "best",
    trials = [":digits"],
    metric = "accuracy",
)
```
""",
    attrs = {
        "trials": attr.label_list(mandatory = True, doc = "Targets with metrics, and sweeps, which stand for their trials. All have outputs of the same names."),
        "metric": attr.string(mandatory = True, doc = "The metric that decides; dots reach into nested ones."),
        "mode": attr.string(default = "max", values = ["max", "min"], doc = "Whether the largest or the smallest value is the best."),
        "_select": attr.label(default = "@rules//tools:select_best.py"),
    },
)
