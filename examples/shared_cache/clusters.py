"""Points and the centres that they belong to."""

from pathlib import Path

Point = tuple[float, float]


def load(path: Path) -> list[tuple[int, Point]]:
    """Return the points of a file, each with the number of its place."""
    found = []
    for line in path.read_text().splitlines():
        place, x, y = line.split(",")
        found.append((int(place), (float(x), float(y))))
    return found


def nearest(point: Point, centres: list[Point]) -> int:
    """Return the number of the centre that is nearest to `point`."""
    distances = [(point[0] - x) ** 2 + (point[1] - y) ** 2 for x, y in centres]
    return distances.index(min(distances))
