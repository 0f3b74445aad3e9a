"""Parts the rows of a table.

usage: split.py TABLE TRAIN TEST --share SHARE
"""

import sys
from pathlib import Path


def main() -> None:
    """Write both parts, each with the line of names."""
    table, train, test = map(Path, sys.argv[1:4])
    names, *rows = table.read_text().splitlines(keepends=True)
    count = round(float(sys.argv[5]) * len(rows))
    train.write_text("".join([names, *rows[:count]]))
    test.write_text("".join([names, *rows[count:]]))


if __name__ == "__main__":
    main()
