"""A plot as SVG, in plain Python: axes, and what stands between them."""

from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 520, 300, 48


def across(share: float) -> float:
    """Return the place of a share, from 0 to 1, of the horizontal axis."""
    return MARGIN + share * (WIDTH - 2 * MARGIN)


def up(share: float) -> float:
    """Return the place of a share, from 0 to 1, of the vertical axis."""
    return HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def label(x: float, y: float, text: str) -> str:
    """Return a text around a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{text}</text>'


def plot(shapes: Sequence[str], *, below: str, above: str) -> str:
    """Return the whole picture; `below` and `above` name the axes."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
            "<style>text { font: 12px sans-serif } rect { fill: steelblue }</style>",
            f'<path d="M{across(0)} {up(1)}V{up(0)}H{across(1)}" fill="none" stroke="black"/>',
            *shapes,
            label(across(0.5), HEIGHT - 8, below),
            label(across(0.0), MARGIN - 14, above),
            "</svg>\n",
        ]
    )
