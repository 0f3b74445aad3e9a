"""Fits a logistic regression to handwritten digits."""

import json
import os

import numpy as np
from sklearn.linear_model import LogisticRegression


def main() -> None:
    """Fit, then write the model and its metrics."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    params, outputs = context["params"], context["outputs"]
    with np.load(context["inputs"]["digits"]) as digits:
        images, labels = digits["images"], digits["labels"]
    model = LogisticRegression(C=params["c"], max_iter=params["iterations"])
    model.fit(images, labels)
    # Arrays and no pickle: the same model is the same bytes, and any NumPy can read it.
    np.savez(
        outputs["model.npz"],
        classes=model.classes_,
        coefficients=model.coef_,
        intercepts=model.intercept_,
    )
    accuracy = float(model.score(images, labels))
    print(f"{model.n_iter_[0]} iterations, accuracy {accuracy:.4f} on what was learned")
    with open(outputs["metrics.json"], "w", encoding="utf-8") as file:
        json.dump({"train_accuracy": round(accuracy, 6)}, file)


if __name__ == "__main__":
    main()
