process(
    name = "NAME",
    script = "SCRIPT",
    ENVIRONMENT
    # data = {"raw": "//data:raw"},
    params = {"rows": 10},
    outs = ["NAME.csv"],
)
