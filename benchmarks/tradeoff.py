"""The picture of `semantic.py`: rewordings served against wrong answers among the served."""

from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Point", "drawn"]

Point = tuple[float, float]
"""Share of wrong answers among the served, and of paraphrases that are served; 0 to 1."""

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 62, 62
WIDEST = 0.7
"""Share of wrong answers at the right edge."""

STYLE = """
  .paper { fill: #ffffff } .text { fill: #1f2933; font: 13px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 } .strong { font-weight: 600 } .quiet { fill: #52606d }
  .grid { stroke: #d9dfe5 } .axis { stroke: #7b8794 }
  .ours { stroke: #0b6bcb } .ours-fill { fill: #0b6bcb } .other { stroke: #b4540a }
  .other-fill { fill: #b4540a }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14181d } .text { fill: #e6ebf0 } .quiet { fill: #a3b0bd }
    .grid { stroke: #2f3842 } .axis { stroke: #8796a5 }
    .ours { stroke: #63adf7 } .ours-fill { fill: #63adf7 } .other { stroke: #f0a35e }
    .other-fill { fill: #f0a35e }
  }
"""


def drawn(
    ours: Sequence[Point],
    cosine: Sequence[Point],
    chosen: Mapping[str, Point],
    peers: Mapping[str, Point],
    source: str,
) -> str:
    """The picture as SVG, for light and dark pages.

    Args:
        ours: The verifier, for falling thresholds.
        cosine: The cosine alone, likewise.
        chosen: Where thresholds that were chosen beforehand lead, by label.
        peers: Where thresholds of others lead, by label.
        source: Whose pairs these are.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Rewordings served against wrong answers among the served</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        _text(LEFT, 28, f"Labelled question pairs: {source}", "text title"),
        *_axes(),
        _line(cosine, "other", dashed=True),
        _line(ours, "ours"),
        *_marks(chosen, "ours-fill", shift=(10, -8), anchor="start"),
        *_marks(peers, "other-fill", shift=(-14, -8), anchor="end"),
        _text(*_at((0.25, 0.78)), "the verifier", "text strong ours-fill"),
        _text(*_at((0.40, 0.17)), "the cosine alone", "text strong other-fill"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes() -> Iterator[str]:
    """Grid, figures and what they mean."""
    for percent in range(0, 101, 20):
        x, y = _at((0.0, percent / 100))
        yield f'<path class="grid" d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield _text(x - 8, y + 4, f"{percent} %", "text quiet", anchor="end")
    for percent in range(0, round(100 * WIDEST) + 1, 10):
        x, y = _at((percent / 100, 0.0))
        yield f'<path class="axis" d="M{x:.1f} {y:.1f}v5"/>'
        yield _text(x, y + 20, f"{percent} %", "text quiet", anchor="middle")
    x, y = _at((0.0, 0.0))
    yield f'<path class="axis" fill="none" d="M{x:.1f} {TOP}V{y:.1f}H{WIDTH - RIGHT}"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - 16, "wrong answers among those served", "text", anchor="middle")
    yield _text(LEFT, TOP - 8, "rewordings served", "text quiet")


def _line(points: Sequence[Point], colour: str, *, dashed: bool = False) -> str:
    """One way of judging, for falling thresholds; what lies off the paper is left out."""
    seen = [_at(point) for point in points if point[0] <= WIDEST]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in seen)
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<path class="{colour}" fill="none" stroke-width="2.2"{dash} d="{path}"/>'


def _marks(
    points: Mapping[str, Point], colour: str, *, shift: tuple[int, int], anchor: str
) -> Iterator[str]:
    """Points with their labels."""
    for label, point in points.items():
        x, y = _at(point)
        yield f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        yield _text(x + shift[0], y + shift[1], label, "text", anchor=anchor)


def _at(point: Point) -> tuple[float, float]:
    """Place on the paper."""
    wrong, served = point
    return (
        LEFT + (WIDTH - LEFT - RIGHT) * wrong / WIDEST,
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * served,
    )


def _text(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
