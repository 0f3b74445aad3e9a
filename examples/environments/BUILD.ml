# Two environments that share a package, and one target that takes either of them.
# `mlbuild lock` writes both locks from small.in and full.in; `mlbuild describe //:env` lists the packages.
config_setting(
    name = "full",
    values = {"packages": "full"},
)

python_environment(
    name = "env",
    lock = select({
        ":full": "full.lock",
        "//conditions:default": "small.lock",
    }),
    requirements = select({
        ":full": "full.in",
        "//conditions:default": "small.in",
    }),
)

process(
    name = "packages",
    script = "packages.py",
    args = [
        "--out",
        "$(output packages.json)",
    ],
    environment = ":env",
    outs = ["packages.json"],
)
