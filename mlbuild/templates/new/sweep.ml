sweep(
    name = "NAME",
    grid = {"lr": [0.02, 0.05]},
    params = {"epochs": 5},
    script = "SCRIPT",
    ENVIRONMENT
    seed = 0,
    outs = ["model.json"],
    metrics = "metrics.json",
)
