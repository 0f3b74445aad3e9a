MODULES = [
    "digits.py",
    "network.py",
]

train(
    name = "cnn",
    script = "train.py",
    srcs = MODULES,
    environment = "//:env",
    data = {"digits": "//data:digits"},
    params = {
        "batch": 32,
        "epochs": 8,
        "lr": 0.05,
        "momentum": 0.9,
    },
    seed = 0,
    outs = ["model.pt"],
    metrics = "metrics.json",
)

evaluate(
    name = "cnn_eval",
    script = "evaluate.py",
    srcs = MODULES,
    environment = "//:env",
    model = ":cnn",
    data = {"test": "//data:digits_test"},
    metrics = "metrics.json",
    gates = {"accuracy": ">= 0.9"},
)
