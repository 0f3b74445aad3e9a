"""Measures the network on digits that it has not seen."""

import json
import os

import torch
from digits import load
from network import make_repeatable, network


def main() -> None:
    """Write the share of digits that the network finds, over all and for each."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    make_repeatable(0)
    images, labels = load(context["inputs"]["test"])
    model = network()
    model.load_state_dict(torch.load(context["inputs"]["model"], weights_only=True))
    model.eval()
    with torch.inference_mode():
        right = (model(images).argmax(dim=1) == labels).float()
    metrics = {
        "accuracy": round(right.mean().item(), 6),
        "recall": {str(one): round(right[labels == one].mean().item(), 6) for one in range(10)},
    }
    print(f"{int(right.sum())} of {len(labels)} digits found")
    with open(context["outputs"]["metrics.json"], "w", encoding="utf-8") as file:
        json.dump(metrics, file)


if __name__ == "__main__":
    main()
