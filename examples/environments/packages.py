"""Writes which packages there are, as a script sees them."""

import argparse
import json
from importlib.metadata import distributions

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
out = parser.parse_args().out

found = {one.metadata["Name"]: one.version for one in distributions()}
with open(out, "w", encoding="utf-8") as file:
    json.dump(found, file, indent=2, sort_keys=True)
