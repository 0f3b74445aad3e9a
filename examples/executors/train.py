"""Fit a line to points, step by step; a checkpoint remembers each tenth step."""

import argparse
import csv
import json
import os


def main() -> None:
    """Train from the last checkpoint, or from nothing."""
    parser = argparse.ArgumentParser()
    for name in ("--data", "--model"):
        parser.add_argument(name, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    options = parser.parse_args()
    with open(options.data, encoding="utf-8") as file:
        points = [(float(x), float(y)) for x, y in csv.reader(file)]
    state = {"step": 0, "slope": 0.0, "offset": 0.0}
    checkpoint = os.path.join(checkpoints(), "state.json")
    if os.path.exists(checkpoint):
        with open(checkpoint, encoding="utf-8") as file:
            state = json.load(file)
    print("begin at step", state["step"], flush=True)
    while state["step"] < options.steps:
        state = stepped(state, points, options.lr)
        if state["step"] % 10 == 0:
            save(state, checkpoint)
            print("step", state["step"], "loss", round(loss(state, points), 6), flush=True)
    save({"slope": state["slope"], "offset": state["offset"]}, options.model)


def checkpoints() -> str:
    """Return the folder that outlives an attempt which was cut off."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        folder: str = json.load(file)["checkpoint"]
    return folder


def stepped(state: dict, points: list, lr: float) -> dict:
    """Return the state after one more step of gradient descent."""
    slope, offset = state["slope"], state["offset"]
    wrong = [(slope * x + offset - y, x) for x, y in points]
    return {
        "step": state["step"] + 1,
        "slope": slope - lr * sum(error * x for error, x in wrong) / len(points),
        "offset": offset - lr * sum(error for error, _ in wrong) / len(points),
    }


def loss(state: dict, points: list) -> float:
    """Return the mean squared error."""
    slope, offset = state["slope"], state["offset"]
    return sum((slope * x + offset - y) ** 2 for x, y in points) / len(points)


def save(content: dict, path: str) -> None:
    """Write a file that is whole at any time, also when we are killed."""
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(f"{path}.new", path)


main()
