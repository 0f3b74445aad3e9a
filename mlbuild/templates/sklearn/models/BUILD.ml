train(
    name = "logistic",
    script = "train.py",
    environment = "//:env",
    data = {"digits": "//data:digits/train.npz"},
    params = {
        "c": 1.0,
        "iterations": 500,
    },
    outs = ["model.npz"],
    metrics = "metrics.json",
)

evaluate(
    name = "logistic_eval",
    script = "evaluate.py",
    environment = "//:env",
    model = ":logistic",
    data = {"test": "//data:digits/test.npz"},
    metrics = "metrics.json",
    gates = {"accuracy": ">= 0.93"},
)
