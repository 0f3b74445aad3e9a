# Is a digit a one? Its width and height tell.

train(
    name = "ones",
    script = "train.py",
    args = [
        "--data",
        "$(location train)",
        "--steps",
        "$(param steps)",
        "--model",
        "$(output model.json)",
    ],
    data = {"train": "train.csv"},
    params = {"steps": 200},
    outs = ["model.json"],
)

evaluate(
    name = "ones_eval",
    script = "evaluate.py",
    srcs = ["train.py"],
    args = [
        "--model",
        "$(location model)",
        "--data",
        "$(location test)",
        "--metrics",
        "$(output metrics.json)",
    ],
    model = ":ones/model.json",
    data = {"test": "test.csv"},
    gates = {"accuracy": ">= 0.9"},
)
