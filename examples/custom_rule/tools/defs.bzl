"""A rule of our own: csv_split."""

def _csv_split(ctx):
    train, test = ctx.file("train.csv"), ctx.file("test.csv")
    words = [ctx.tool("python"), "-I", ctx.attr._split, ctx.files.table[0], train, test]
    ctx.run(argv = words + ["--share", str(ctx.attr.share)])
    return struct(files = [train, test])

csv_split = rule(
    implementation = _csv_split,
    doc = """Parts the rows of a table: the first for training, the rest for tests.""",
    attrs = {
        "table": attr.label(mandatory = True, doc = "A CSV file whose first line names the columns."),
        "share": attr.float(default = 0.8, doc = "How much of it is for training."),
        "_split": attr.label(default = "//tools:split.py"),
    },
)
