"""Turns data into data."""

import json
import os


def main() -> None:
    """Read what the target declares; write what it promises in `outs`."""
    with open(os.environ["MLBUILD_CONTEXT"], encoding="utf-8") as file:
        context = json.load(file)
    # What `data` calls "raw" lies at context["inputs"]["raw"]: a path, or a list of paths.
    rows = context["params"]["rows"]

    # A stand-in for your work: some squares.
    with open(context["outputs"]["NAME.csv"], "w", encoding="utf-8") as file:
        file.write("number,square\n")
        file.writelines(f"{number},{number * number}\n" for number in range(rows))


if __name__ == "__main__":
    main()
