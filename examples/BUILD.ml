# The reports of the examples that have one. Each example is a workspace of its own, with labels that
# start at its own root: those of one package can be named from here too.
filegroup(
    name = "reports",
    srcs = [
        "//examples/notebook:report",
        "//examples/paper",
        "//examples/sweep:report",
    ],
)
