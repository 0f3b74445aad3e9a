"""Measures a model."""

import json
import os


def main() -> None:
    """Read what the target declares; write its metrics."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    # The path of the model; a list where it has several files, None where the target names none.
    model = context["inputs"].get("model")

    # A stand-in for your evaluation: it measures how large the model is.
    files = model if isinstance(model, list) else [model] if model else []
    metrics = {"bytes": sum(os.path.getsize(path) for path in files)}

    with open(context["outputs"]["metrics.json"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
