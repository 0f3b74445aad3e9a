"""Trains LeNet on handwritten digits.

By hand: python models/train.py --data data/train-* --out model.pt --metrics metrics.json
"""

import argparse
import json
from pathlib import Path

import torch
from digits import load
from network import device, found, lenet
from torch.nn.functional import cross_entropy

HELD_OUT = 1000  # of the training digits, to watch how training goes


def main() -> None:
    """Train, then write the model and its metrics."""
    options = parse_options()
    torch.manual_seed(options.seed)
    images, labels = (tensor.to(device()) for tensor in load(options.data))
    seen, known = images[HELD_OUT:], labels[HELD_OUT:]
    network = lenet().to(device())
    optimizer = torch.optim.SGD(network.parameters(), lr=options.lr, momentum=options.momentum)
    # A falling rate ends closer to the minimum than a constant one.
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=1 / options.epochs, total_iters=options.epochs - 1
    )
    metrics = {}
    for epoch in range(1, options.epochs + 1):
        network.train()
        losses = []
        for batch in torch.randperm(len(seen)).split(options.batch):
            optimizer.zero_grad()
            loss = cross_entropy(network(seen[batch]), known[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        right = (found(network, images[:HELD_OUT]) == labels[:HELD_OUT]).float().mean().item()
        metrics = {
            "loss": round(sum(losses) / len(losses), 6),
            "held_out_accuracy": round(right, 6),
        }
        print(f"epoch {epoch}/{options.epochs}  loss {metrics['loss']:.4f}  held out {right:.4f}")
    # On the processor, so that it loads anywhere; under one name, which PyTorch writes into it.
    torch.save({name: value.cpu() for name, value in network.state_dict().items()}, options.out)
    options.metrics.write_text(json.dumps(metrics, indent=2) + "\n")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train LeNet.")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="two IDX files")
    parser.add_argument("--out", type=Path, required=True, help="where to write the model (.pt)")
    parser.add_argument("--metrics", type=Path, required=True, help="where to write the numbers")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
