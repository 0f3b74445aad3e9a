# Points, a model that tells them apart, and how well it does: a chain whose last link is wanted.

process(
    name = "points",
    script = "points.py",
    args = [
        "--number",
        "$(param number)",
        "--out",
        "$(output points.csv)",
    ],
    params = {"number": 20000},
    seed = 0,
    outs = ["points.csv"],
)

train(
    name = "model",
    script = "train.py",
    srcs = ["clusters.py"],
    args = [
        "--points",
        "$(location points)",
        "--rounds",
        "$(param rounds)",
        "--out",
        "$(output model.json)",
    ],
    data = {"points": ":points"},
    params = {"rounds": 5},
    outs = ["model.json"],
)

evaluate(
    name = "quality",
    script = "evaluate.py",
    srcs = ["clusters.py"],
    args = [
        "--model",
        "$(location model)",
        "--points",
        "$(location points)",
        "--metrics",
        "$(output metrics.json)",
    ],
    data = {"points": ":points"},
    gates = {"accuracy": ">= 0.9"},
    model = ":model",
)
