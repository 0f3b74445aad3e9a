# What the targets of this repository share.
python_environment(
    name = "env",
    lock = "requirements.lock",
    requirements = "requirements.in",
)

# All that mlbuild is made of, as it lies in a checkout.
filegroup(
    name = "program",
    srcs = glob([
        "mlbuild/**/*.json",
        "mlbuild/**/*.py",
        "mlbuild/**/*.lark",
        "rules/**/*.bzl",
        "rules/**/*.py",
    ]),
)
