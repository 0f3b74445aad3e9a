load("//tools:defs.bzl", "csv_split")

csv_split(
    name = "ink",
    share = 0.9,
    table = "ink.csv",
)

genrule(
    name = "count",
    srcs = [":ink/test.csv"],
    outs = ["count.txt"],
    cmd = "tail -n +2 $< | wc -l > $@",
)
