# What mlbuild says of itself: rules, commands, functions of queries.
process(
    name = "reference",
    script = "reference.py",
    srcs = ["//:program"],
    args = [
        "$(output rules.md)",
        "$(output commands.md)",
        "$(output queries.md)",
    ],
    environment = "//:env",
    outs = [
        "commands.md",
        "queries.md",
        "rules.md",
    ],
)

# Fails where the page that is committed is not what the rules say.
genrule(
    name = "rules_are_current",
    srcs = [
        "rules.md",
        ":reference/rules.md",
    ],
    outs = ["rules_are_current.txt"],
    cmd = "cmp $(SRCS) || { echo 'run: mlbuild help --markdown > docs/rules.md'; exit 1; }; echo yes > $@",
)
