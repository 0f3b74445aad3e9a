evaluate(
    name = "NAME",
    script = "SCRIPT",
    ENVIRONMENT
    MODEL
    metrics = "metrics.json",
    # gates = {"accuracy": ">= 0.9"},
)
