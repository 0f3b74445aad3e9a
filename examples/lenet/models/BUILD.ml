MODULES = [
    "digits.py",
    "layers.py",
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
        "$(output model.npz)",
        "--metrics",
        "$(output metrics.json)",
        "--curves",
        "$(output metrics.jsonl)",
    ],
    environment = "//:env",
    data = {"mnist": "//data:mnist"},
    params = {
        "batch": 64,
        "epochs": 5,
        "lr": 0.05,
        "momentum": 0.9,
    },
    seed = SEED,
    outs = [
        "metrics.jsonl",
        "model.npz",
    ],
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
        "--confusion",
        "$(output confusion.json)",
    ],
    environment = "//:env",
    # The file alone: curves that differ do not repeat the evaluation.
    model = ":lenet/model.npz",
    data = {"test": "//data:mnist_test"},
    outs = ["confusion.json"],
    metrics = "metrics.json",
    gates = {"accuracy": ">= 0.95"},
    resources = {
        "cpus": 1,
        "memory": "2Gi",
    },
)
