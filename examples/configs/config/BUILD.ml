# What the flags of `--config NAME` and `--define KEY=VALUE` mean to `select`.
package(default_visibility = ["//visibility:public"])

config_setting(
    name = "all_rows",
    values = {"rows": "all"},
)

config_setting(
    name = "long",
    values = {
        "epochs": "20",
        "rows": "all",
    },
)
