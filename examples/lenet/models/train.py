"""Trains LeNet on handwritten digits.

By hand: python models/train.py --data data/train-* --out model.npz --metrics metrics.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from digits import Images, Labels, load
from layers import Array, cross_entropy
from network import LeNet

HELD_OUT = 1000  # of the training digits, to watch how training goes


class Momentum:
    """Stochastic gradient descent that remembers its direction."""

    def __init__(self, network: LeNet, *, momentum: float) -> None:
        self.network = network
        self.momentum = np.float32(momentum)
        self.velocity = {name: np.zeros_like(value) for name, value in network.weights()}

    def step(self, lr: float) -> None:
        """Move every weight against its gradient."""
        for name, weight, gradient in self.network.gradients():
            velocity = self.velocity[name]
            velocity *= self.momentum
            velocity -= np.float32(lr) * gradient
            np.add(weight, velocity, out=weight)


def train_epoch(
    network: LeNet,
    optimizer: Momentum,
    images: Images,
    labels: Labels,
    *,
    lr: float,
    batch: int,
    rng: np.random.Generator,
) -> float:
    """Show the network every image once, in a random order; return the mean loss."""
    losses = []
    for chosen in np.array_split(rng.permutation(len(images)), max(1, len(images) // batch)):
        loss, gradient = cross_entropy(network.forward(images[chosen]), labels[chosen])
        network.backward(gradient)
        optimizer.step(lr)
        losses.append(loss)
    return float(np.mean(losses))


def accuracy(network: LeNet, images: Array, labels: Labels) -> float:
    """Return the share of images whose digit the network finds."""
    return float(np.mean(network.predict(images) == labels))


def main() -> None:
    """Train, then write the model, its metrics and its curves."""
    options = parse_options()
    images, labels = load(options.data)
    rng = np.random.default_rng(options.seed)
    network = LeNet(rng=rng)
    optimizer = Momentum(network, momentum=options.momentum)
    seen = slice(HELD_OUT, None)
    curves = []
    for step in range(1, options.epochs + 1):
        # A falling rate ends closer to the minimum than a constant one.
        lr = options.lr * (1 - (step - 1) / options.epochs)
        loss = train_epoch(
            network, optimizer, images[seen], labels[seen], lr=lr, batch=options.batch, rng=rng
        )
        found = accuracy(network, images[:HELD_OUT], labels[:HELD_OUT])
        curves.append({"step": step, "loss": round(loss, 6), "held_out_accuracy": found})
        print(f"epoch {step}/{options.epochs}  loss {loss:.4f}  held-out accuracy {found:.4f}")
    network.save(options.out)
    if options.metrics:
        last = {name: value for name, value in curves[-1].items() if name != "step"}
        options.metrics.write_text(json.dumps(last, indent=2) + "\n")
    if options.curves:
        options.curves.write_text("".join(json.dumps(point) + "\n" for point in curves))


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train LeNet on handwritten digits.")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="two IDX files or their folder"
    )
    parser.add_argument("--epochs", type=positive, default=5)
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate of the first epoch")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--batch", type=positive, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="where to write the model (.npz)")
    parser.add_argument("--metrics", type=Path, help="where to write the last numbers (.json)")
    parser.add_argument("--curves", type=Path, help="where to write a line per epoch (.jsonl)")
    return parser.parse_args()


def positive(text: str) -> int:
    """Read a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return number


if __name__ == "__main__":
    main()
