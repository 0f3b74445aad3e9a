# One training, twice: as it runs on any machine, and as one that wants a large one.

PARAMS = {
    "steps": 200,
    "lr": 0.1,
}
ARGS = [
    "--data",
    "$(location points)",
    "--steps",
    "$(param steps)",
    "--lr",
    "$(param lr)",
    "--model",
    "$(output model.json)",
]

train(
    name = "net",
    script = "train.py",
    args = ARGS,
    data = {"points": "points.csv"},
    outs = ["model.json"],
    params = PARAMS,
    resources = {
        "cpus": 1,
        "memory": "512Mi",
        "disk": "100Mi",  # what it may write
        "spot": True,  # it saves checkpoints, so its machine may be taken away
    },
)

train(
    name = "net_on_gpus",
    script = "train.py",
    args = ARGS,
    data = {"points": "points.csv"},
    outs = ["model.json"],
    params = PARAMS | {"steps": 2000},
    resources = {
        "gpus": [
            "A100-80GB:2",
            "H100",
        ],  # the first of these that is free
        "memory": "2Gi",
        "spot": True,
    },
)
