"""Measures a trained LeNet on digits that it has never seen.

By hand: python models/evaluate.py --model model.pt --data data/test-* --metrics metrics.json
"""

import argparse
import json
from pathlib import Path

import torch
from digits import load
from network import device, found, lenet

DIGITS = 10


def main() -> None:
    """Write the accuracy, and the recall of every digit."""
    options = parse_options()
    images, labels = (tensor.to(device()) for tensor in load(options.data))
    network = lenet().to(device())
    network.load_state_dict(torch.load(options.model, weights_only=True))
    right = (found(network, images) == labels).double()
    metrics = {
        "accuracy": right.mean().item(),
        "recall": {
            str(digit): round(right[labels == digit].mean().item(), 6) for digit in range(DIGITS)
        },
    }
    options.metrics.write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"accuracy {metrics['accuracy']:.4f} on {len(labels)} digits")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure a trained LeNet.")
    parser.add_argument("--model", type=Path, required=True, help="what train.py wrote")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="two IDX files")
    parser.add_argument("--metrics", type=Path, required=True, help="where to write the numbers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
