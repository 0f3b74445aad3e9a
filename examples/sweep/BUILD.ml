# Four trainings, the best of them, and how good it is on digits that none of them has seen.

sweep(
    name = "digits",
    grid = {
        "lr": [0.5, 2.0],
        "epochs": [4, 12],
    },
    script = "train.py",
    srcs = ["softmax.py"],
    args = [
        "--train",
        "$(location train)",
        "--validation",
        "$(location validation)",
        "--lr",
        "$(param lr)",
        "--epochs",
        "$(param epochs)",
        "--model",
        "$(output model.json)",
        "--metrics",
        "$(output metrics.json)",
        "--curves",
        "$(output metrics.jsonl)",
    ],
    data = {
        "train": "data/train.csv",
        "validation": "data/validation.csv",
    },
    seed = 0,
    outs = [
        "metrics.jsonl",
        "model.json",
    ],
    metrics = "metrics.json",
)

select_best(
    name = "best",
    trials = [":digits"],
    metric = "accuracy",
)

evaluate(
    name = "best_eval",
    script = "evaluate.py",
    srcs = ["softmax.py"],
    args = [
        "--model",
        "$(location model)",
        "--data",
        "$(location test)",
        "--metrics",
        "$(output metrics.json)",
        "--confusion",
        "$(output confusion.json)",
    ],
    # The file alone: curves that differ do not repeat the evaluation.
    model = ":best/model.json",
    data = {"test": "data/test.csv"},
    outs = ["confusion.json"],
    gates = {"accuracy": ">= 0.75"},
)

test_suite(
    name = "release",
    tests = [":best_eval"],
)

report(
    name = "report",
    title = "Which learning rate?",
    data = {
        "All trials": ":digits",
        "The best one": ":best",
        "On new digits": ":best_eval",
    },
)
