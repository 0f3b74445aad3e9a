"""The mean of a column, approached step by step."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path)
parser.add_argument("--epochs", type=int)
parser.add_argument("--out", type=Path)
given = parser.parse_args()

rows = [float(line) for line in given.data.read_text().split()]
mean = 0.0
for _ in range(given.epochs):
    mean += 0.5 * sum(row - mean for row in rows) / len(rows)
given.out.write_text(json.dumps({"rows": len(rows), "mean": round(mean, 3)}))
