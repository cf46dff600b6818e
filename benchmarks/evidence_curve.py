"""The picture of `evidence.py`: evidence that is kept against the budget, by strategy."""

from collections.abc import Iterator, Mapping, Sequence
from math import log2

__all__ = ["Point", "drawn"]

Point = tuple[int, float]
"""Tokens a request may have, and the share of the evidence that is kept; 0 to 1."""

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 206, 62, 62
NEAREST = 17
"""Pixels between the labels of two lines."""

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


def drawn(lines: Mapping[str, Sequence[Point]], ours: str, source: str) -> str:
    """The picture as SVG, for light and dark pages.

    Args:
        lines: Points of each strategy, by its name.
        ours: How the names of those begin that look at the question.
        source: Whose conversations these are.
    """
    budgets = [budget for budget, _ in next(iter(lines.values()))]
    colours = {name: "ours" if name.startswith(ours) else "other" for name in lines}
    labels = sorted(((points[-1], name) for name, points in lines.items()), key=_height)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Evidence that is kept against the tokens of a request</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        _text(LEFT, 28, f"Is the evidence still in the prompt? {source}", "text title"),
        *_axes(budgets),
        *(_line(points, budgets, colours[name]) for name, points in lines.items()),
        *_labels(labels, budgets, colours),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes(budgets: Sequence[int]) -> Iterator[str]:
    """Grid, figures and what they mean."""
    for percent in range(0, 101, 20):
        x, y = _at((budgets[0], percent / 100), budgets)
        yield f'<path class="grid" d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield _text(x - 8, y + 4, f"{percent} %", "text quiet", anchor="end")
    for budget in budgets:
        x, y = _at((budget, 0.0), budgets)
        yield f'<path class="axis" d="M{x:.1f} {y:.1f}v5"/>'
        yield _text(x, y + 20, f"{budget:,}", "text quiet", anchor="middle")
    x, y = _at((budgets[0], 0.0), budgets)
    yield f'<path class="axis" fill="none" d="M{x:.1f} {TOP}V{y:.1f}H{WIDTH - RIGHT}"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _text(middle, HEIGHT - 16, "tokens a request may have", "text", anchor="middle")
    yield _text(LEFT, TOP - 8, "evidence kept", "text quiet")


def _line(points: Sequence[Point], budgets: Sequence[int], colour: str) -> str:
    """One strategy."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in (_at(each, budgets) for each in points))
    return f'<path class="{colour}" fill="none" stroke-width="2.2" d="{path}"/>'


def _labels(
    ends: Sequence[tuple[Point, str]], budgets: Sequence[int], colours: Mapping[str, str]
) -> Iterator[str]:
    """The names behind the ends of their lines, the lowest first, none over another."""
    lowest = float(HEIGHT)
    for point, name in ends:
        x, y = _at(point, budgets)
        lowest = min(y + 4, lowest - NEAREST)
        yield _text(x + 8, lowest, name, f"text strong {colours[name]}-fill")


def _height(end: tuple[Point, str]) -> float:
    return end[0][1]


def _at(point: Point, budgets: Sequence[int]) -> tuple[float, float]:
    """Place on the paper; each doubling of the budget is as wide."""
    budget, share = point
    across = log2(budget / budgets[0]) / log2(budgets[-1] / budgets[0])
    return (
        LEFT + (WIDTH - LEFT - RIGHT) * across,
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share,
    )


def _text(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
