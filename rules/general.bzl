"""Rules of every build system: genrule, filegroup, alias, test_suite."""

load("//container.bzl", "root_of")

def _genrule(ctx):
    if bool(ctx.attr.cmd) == bool(ctx.attr.cmd_bash):
        fail("a genrule has either `cmd` (run by sh) or `cmd_bash` (run by bash)")
    if not ctx.attr.outs:
        fail("a genrule needs at least one path in `outs`")
    outs = [ctx.file(path) for path in ctx.attr.outs]
    shell = ["/bin/sh", "-e"]
    if ctx.attr.cmd_bash:
        shell = ["/bin/bash", "-e", "-o", "pipefail"]
    ctx.run(
        argv = shell + ["-c", ctx.shell(ctx.attr.cmd or ctx.attr.cmd_bash, ctx.files.srcs, outs)],
        inputs = ctx.files.srcs + ctx.files.tools,
        outputs = outs,
        root = root_of(ctx.attr.container),
        env = ctx.attr.env,
        network = ctx.attr.network,
        resources = ctx.attr.resources,
        timeout = ctx.attr.timeout,
    )
    return struct(files = outs)

genrule = rule(
    implementation = _genrule,
    doc = """Makes files with a shell command, like Bazel's rule of this name.

```python
genrule(
    name = "count",
    srcs = ["names.txt"],
    outs = ["count.txt"],
    cmd = "wc -l < $< > $@",
)
```
""",
    attrs = {
        "srcs": attr.label_list(doc = "Files and targets that the command reads: `$(SRCS)`, `$<`, `$(location X)`."),
        "outs": attr.output_list(mandatory = True, doc = "Files that it makes: `$(OUTS)`, `$@`. Each is a label too."),
        "cmd": attr.string(doc = "The command, run by `/bin/sh -e`. `$$` is a dollar sign."),
        "cmd_bash": attr.string(doc = "The command, run by `/bin/bash -e -o pipefail`, instead of `cmd`."),
        "tools": attr.label_list(doc = "Files and targets that the command runs."),
        "container": attr.label(doc = "A container_environment that the command runs in; without it, this host's own programs."),
        "env": attr.string_dict(doc = "Environment variables."),
        "network": attr.bool(doc = "Whether the command may use the network; part of the key."),
        "resources": attr.json(default = {}, doc = "`cpus`, `memory`, `gpus`, `disk`, `spot`."),
        "timeout": attr.string(doc = "When to give up: `90s`, `10m`, `2h`."),
    },
)

def _filegroup(ctx):
    return struct(files = ctx.files.srcs)

filegroup = rule(
    implementation = _filegroup,
    doc = """Gives one name to several files and targets.

```python
filegroup(
    name = "tables",
    srcs = glob(["tables/*.csv"]),
)
```
""",
    attrs = {
        "srcs": attr.label_list(doc = "What the group holds."),
    },
)

def _alias(ctx):
    return ctx.attr.actual if type(ctx.attr.actual) == "struct" else struct(files = [ctx.attr.actual])

alias = rule(
    implementation = _alias,
    doc = """Another name for a target.

```python
alias(
    name = "current",
    actual = ":lenet",
)
```
""",
    attrs = {
        "actual": attr.label(mandatory = True, doc = "The target that is meant."),
    },
)

def _test_suite(ctx):
    if not ctx.attr.tests:
        fail("a test_suite needs at least one target in `tests`")
    return struct(files = ctx.files.tests)

test_suite = rule(
    implementation = _test_suite,
    doc = """Gives one name to several checks: building it builds them all.

A check is a target that fails when something is not as it should be, such as an `evaluate` with
gates. A missed gate ends the build with exit code 3; `-k` goes on to the other checks. All checks are
listed: unlike in Bazel, an empty list does not stand for all of the package.

```python
test_suite(
    name = "release",
    tests = [
        ":lenet_eval",
        "//robustness:noise",
    ],
)
```
""",
    attrs = {
        "tests": attr.label_list(mandatory = True, doc = "The checks, other test_suites among them."),
    },
)

def _config_setting(ctx):
    if not ctx.attr.values:
        fail("a config_setting needs at least one flag in `values`")
    return struct(files = [], condition = ctx.attr.values)

config_setting = rule(
    implementation = _config_setting,
    doc = """A condition for `select`: it holds where every flag has the value that is given.

Flags are set by `--config NAME` (a table `[config.NAME]` of `mlbuild.toml`) and
`--define KEY=VALUE`. `os` and `cpu` say what this host is; `config` is the name of a config in use.
A flag that is not set has no value. Where several conditions of a `select` hold, one that asks
for all flags of another, and for more, wins.

```python
config_setting(
    name = "gpu",
    values = {"device": "cuda"},
)
```
""",
    attrs = {
        "values": attr.string_dict(mandatory = True, doc = "Flags and their values, as text: `true`, `4`, `cuda`."),
    },
)
