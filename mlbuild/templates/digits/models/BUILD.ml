MODULES = [
    "digits.py",
    "network.py",
]

train(
    name = "mlp",
    script = "train.py",
    srcs = MODULES,
    environment = "//:env",
    data = {"digits": "//data:digits"},
    params = {
        "batch": 32,
        "epochs": 20,
        "hidden": 64,
        "lr": 0.1,
    },
    seed = 0,
    outs = ["model.npz"],
    metrics = "metrics.json",
)

evaluate(
    name = "mlp_eval",
    script = "evaluate.py",
    srcs = MODULES,
    environment = "//:env",
    model = ":mlp",
    data = {"test": "//data:digits_test"},
    metrics = "metrics.json",
    gates = {"accuracy": ">= 0.85"},
)
