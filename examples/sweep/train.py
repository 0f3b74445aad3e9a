"""Trains softmax regression by gradient descent, one digit at a time."""

import argparse
import json
from pathlib import Path

from softmax import DIGITS, accuracy, load, step


def main() -> None:
    """Write the weights, the last accuracy and the way there."""
    parser = argparse.ArgumentParser(description="Train on digits.")
    for name in ("train", "validation", "model", "metrics", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()

    examples, unseen = load(options.train), load(options.validation)
    model = [[0.0] * len(examples[0][0]) for _ in range(DIGITS)]
    lines = []
    for epoch in range(1, options.epochs + 1):
        losses = [step(model, image, digit, lr=options.lr / epoch) for image, digit in examples]
        found = {"loss": sum(losses) / len(losses), "accuracy": accuracy(model, unseen)}
        lines.append(json.dumps({"epoch": epoch, **found}))
        print(f"epoch {epoch}  loss {found['loss']:.3f}  accuracy {found['accuracy']:.3f}")
    options.model.write_text(json.dumps(model) + "\n")
    options.metrics.write_text(json.dumps(found) + "\n")
    options.curves.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
