train(
    name = "NAME",
    script = "SCRIPT",
    ENVIRONMENT
    params = {
        "epochs": 5,
        "lr": 0.05,
    },
    seed = 0,
    outs = ["model.json"],
    metrics = "metrics.json",
)
