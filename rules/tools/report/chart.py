"""Chart: a curve drawn as SVG, the same bytes every time."""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import math
from collections.abc import Sequence
from html import escape

from contents import Curve

WIDTH, HEIGHT = 480, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 10, 36  # margins
MOST_POINTS = 800  # more cannot be seen


def drawing(curve: Curve) -> str:
    """Return the SVG of a curve, in the colours of the text around it."""
    points = thinned(curve.points)
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    marks = ticks(first, last)
    across = [first, last] if marks[0] <= first < last <= marks[-1] else marks
    marks = [value for value in marks if across[0] <= value <= across[-1]]
    up = ticks(min(y for _, y in points), max(y for _, y in points))
    line = " ".join(
        f"{place(x, across, LEFT, WIDTH - RIGHT):.1f},{place(y, up, HEIGHT - BOTTOM, TOP):.1f}"
        for x, y in points
    )
    over = escape(curve.over)
    middle = (LEFT + WIDTH - RIGHT) / 2
    said = f"{curve.name} over {curve.over}: from {points[0][1]:.6g} to {points[-1][1]:.6g}"
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(said)}">',
            *(grid_line(value, up) for value in up),
            *(mark(value, across) for value in marks),
            f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{over}</text>',
            f'<polyline points="{line}"/>',
            "</svg>",
        ]
    )


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return at most so many points as can be seen, the last one among them."""
    stride = math.ceil(len(points) / MOST_POINTS)
    return [*points[:-1:stride], points[-1]]


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from at most `low` to at least `high`, in equal steps."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # too little to tell apart
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * power for unit in (1, 2, 2.5, 5, 10) if unit * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [at * step for at in range(first, last + 1)]


def place(value: float, scale: Sequence[float], start: float, end: float) -> float:
    """Return where a value lies between the ends of a scale."""
    return start + (end - start) * (value - scale[0]) / (scale[-1] - scale[0])


def grid_line(value: float, scale: Sequence[float]) -> str:
    """Return a horizontal line and what it stands for."""
    y = place(value, scale, HEIGHT - BOTTOM, TOP)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    )


def mark(value: float, scale: Sequence[float]) -> str:
    """Return what a place on the horizontal axis stands for."""
    x = place(value, scale, LEFT, WIDTH - RIGHT)
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:.4g}</text>'
