genrule(
    name = "NAME",
    outs = ["NAME.txt"],
    cmd = "echo hello > $@",
)
