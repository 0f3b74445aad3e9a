"""Trains the network on handwritten digits."""

import json
import os

import torch
from digits import load
from network import make_repeatable, network
from torch.nn.functional import cross_entropy


def main() -> None:
    """Train, then write the model and its metrics."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    params, outputs = context["params"], context["outputs"]
    make_repeatable(context["seed"])
    images, labels = load(context["inputs"]["digits"])
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=params["lr"], momentum=params["momentum"])
    loss = 0.0
    for epoch in range(1, params["epochs"] + 1):
        losses = []
        for batch in torch.randperm(len(images)).split(params["batch"]):
            optimizer.zero_grad()
            error = cross_entropy(model(images[batch]), labels[batch])
            error.backward()
            optimizer.step()
            losses.append(error.item())
        loss = sum(losses) / len(losses)
        print(f"epoch {epoch}/{params['epochs']}  loss {loss:.4f}")
    torch.save(model.state_dict(), outputs["model.pt"])
    with open(outputs["metrics.json"], "w", encoding="utf-8") as file:
        json.dump({"loss": round(loss, 6)}, file)


if __name__ == "__main__":
    main()
