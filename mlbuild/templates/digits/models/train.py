"""Trains the network on handwritten digits."""

import json
import os

import numpy as np
from digits import load
from network import fresh, gradients


def main() -> None:
    """Train, then write the model and its metrics."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    params, outputs = context["params"], context["outputs"]
    images, labels = load(context["inputs"]["digits"])
    rng = np.random.default_rng(context["seed"])
    weights = fresh(inputs=images.shape[1], hidden=params["hidden"], rng=rng)
    loss = 0.0
    for epoch in range(1, params["epochs"] + 1):
        batches = np.array_split(rng.permutation(len(images)), len(images) // params["batch"])
        losses = []
        for batch in batches:
            loss, steps = gradients(weights, images[batch], labels[batch])
            for name, step in steps.items():
                weights[name] -= np.float32(params["lr"]) * step
            losses.append(loss)
        loss = float(np.mean(losses))
        print(f"epoch {epoch}/{params['epochs']}  loss {loss:.4f}")
    np.savez(outputs["model.npz"], allow_pickle=False, **weights)
    with open(outputs["metrics.json"], "w", encoding="utf-8") as file:
        json.dump({"loss": round(loss, 6)}, file)


if __name__ == "__main__":
    main()
