MODULES = [
    "digits.py",
    "network.py",
]

SEED = 0

train(
    name = "lenet",
    script = "train.py",
    srcs = MODULES,
    args = [
        "--data",
        "$(locations mnist)",
        "--epochs",
        "$(param epochs)",
        "--lr",
        "$(param lr)",
        "--momentum",
        "$(param momentum)",
        "--batch",
        "$(param batch)",
        "--seed",
        str(SEED),
        "--out",
        "$(output model.pt)",
        "--metrics",
        "$(output metrics.json)",
    ],
    environment = "//:env",
    data = {"mnist": "//data:mnist"},
    determinism = "bitwise",
    params = {
        "batch": 32,
        "epochs": 8,
        "lr": 0.05,
        "momentum": 0.9,
    },
    seed = SEED,
    outs = ["model.pt"],
    metrics = "metrics.json",
    resources = {
        "cpus": 1,
        "memory": "2Gi",
    },
)

evaluate(
    name = "lenet_eval",
    script = "evaluate.py",
    srcs = MODULES,
    args = [
        "--model",
        "$(location model)",
        "--data",
        "$(locations test)",
        "--metrics",
        "$(output metrics.json)",
    ],
    environment = "//:env",
    model = ":lenet",
    data = {"test": "//data:mnist_test"},
    metrics = "metrics.json",
    gates = {"accuracy": ">= 0.95"},
    resources = {
        "cpus": 1,
        "memory": "2Gi",
    },
)
