"""Rules of every build system: genrule, filegroup, alias."""

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
        env = ctx.attr.env,
        network = ctx.attr.network,
        resources = ctx.attr.resources,
        timeout = ctx.attr.timeout,
    )
    return struct(files = outs)

genrule = rule(
    implementation = _genrule,
    doc = "Makes files with a shell command, like Bazel's rule of this name.",
    attrs = {
        "srcs": attr.label_list(doc = "Files and targets that the command reads: `$(SRCS)`, `$<`, `$(location X)`."),
        "outs": attr.output_list(mandatory = True, doc = "Files that it makes: `$(OUTS)`, `$@`. Each is a label too."),
        "cmd": attr.string(doc = "The command, run by `/bin/sh -e`. `$$` is a dollar sign."),
        "cmd_bash": attr.string(doc = "The command, run by `/bin/bash -e -o pipefail`, instead of `cmd`."),
        "tools": attr.label_list(doc = "Files and targets that the command runs."),
        "env": attr.string_dict(doc = "Environment variables."),
        "network": attr.bool(doc = "Whether the command may use the network; part of the key."),
        "resources": attr.json(default = {}, doc = "`cpus`, `memory`."),
        "timeout": attr.string(doc = "When to give up: `90s`, `10m`, `2h`."),
    },
)

def _filegroup(ctx):
    return struct(files = ctx.files.srcs)

filegroup = rule(
    implementation = _filegroup,
    doc = "Gives one name to several files and targets.",
    attrs = {
        "srcs": attr.label_list(doc = "What the group holds."),
    },
)

def _alias(ctx):
    return ctx.attr.actual if type(ctx.attr.actual) == "struct" else struct(files = [ctx.attr.actual])

alias = rule(
    implementation = _alias,
    doc = "Another name for a target.",
    attrs = {
        "actual": attr.label(mandatory = True, doc = "The target that is meant."),
    },
)
