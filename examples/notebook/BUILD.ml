python_environment(
    name = "env",
    lock = "requirements.lock",
)

notebook(
    name = "ink",
    environment = ":env",
    data = {"ink": "ink.csv"},
    metrics = "metrics.json",
    notebook = "ink.ipynb",
    params = {"bins": 8},
    paths = {
        "HISTOGRAM": "$(output histogram.csv)",
        "INK": "$(location ink)",
        "METRICS": "$(output metrics.json)",
    },
    outs = ["histogram.csv"],
)

report(
    name = "report",
    title = "Ink",
    data = {"How much ink digits take": ":ink"},
)
