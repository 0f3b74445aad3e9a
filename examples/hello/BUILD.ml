genrule(
    name = "upper",
    srcs = ["names.txt"],
    outs = ["upper.txt"],
    cmd = "tr a-z A-Z < $< > $@",
)

genrule(
    name = "count",
    srcs = ["names.txt"],
    outs = ["count.txt"],
    cmd = "wc -l < $< > $@",
)

genrule(
    name = "report",
    srcs = [
        ":count",
        ":upper",
    ],
    outs = ["report.txt"],
    cmd = "{ echo Hello to; cat $(location :upper); echo who are; cat $(location :count); } > $@",
)
