"""The pictures of `routing.py`: quality against cost, and what judged prompts are worth."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log2

import numpy as np
from routing_data import FEW, Floats, Pair
from tradeoff import BOTTOM, HEIGHT, LEFT, RIGHT, STYLE, TOP, WIDTH

__all__ = [
    "COLD",
    "LEARNT",
    "Drawn",
    "Field",
    "axes",
    "dots",
    "drawn_curves",
    "drawn_learning",
    "drawn_line",
    "paper",
    "words_at",
]

Point = tuple[float, float]

COLD, LEARNT = "`complexity`, nothing learnt", "learnt"
"""Our own rankings, beside those of peers."""

LINES = {
    LEARNT: (f"{FEW:,} outcomes", "ours", False),
    COLD: ("nothing learnt", "ours", True),
    "LiteLLM": ("LiteLLM", "other", False),
    "length": ("length", "other", True),
}
"""What is drawn of two models: the label, the colour and whether the line is dashed."""

BETWEEN, BESIDE = 72, 190
"""Pixels between two fields, and for labels at the right."""

NONE = 25
"""Where no label at all stands among numbers of labels: their axis is logarithmic."""


@dataclass(slots=True)
class Drawn:
    """What is to be drawn; each list has one entry a split, and means are drawn."""

    ranked: defaultdict[str, list[Floats]] = field(default_factory=lambda: defaultdict(list))
    """Share of the strong model's gain after each call to it, by ranking."""
    learnt: dict[int, float] = field(default_factory=dict)
    """APGR by number of labels."""
    peer: tuple[str, float] = "", 0.5
    """The best of the others, and its APGR."""
    routed: list[Floats] = field(default_factory=list)
    """Shares of the best model's quality and cost, for each weight of cost."""
    single: list[Floats] = field(default_factory=list)
    """The same of each model alone."""

    def rank(self, name: str, ranking: Floats, held: Pair) -> None:
        """Take in how a ranking of prompts gains."""
        gained = np.cumsum((held.strong - held.weak)[np.argsort(-ranking, kind="stable")])
        self.ranked[name].append(gained / gained[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A part of the paper with two axes."""

    left: float
    width: float
    x: Point
    y: Point

    def at(self, point: Point) -> Point:
        """Place on the paper."""
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (point[1] - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + self.width * across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * up


def drawn_curves(told: Drawn) -> str:
    """Two models at the left, many at the right; as SVG, for light and dark pages."""
    title = "Quality against cost, on prompts that were not learnt from"
    return paper(title, [*_two_models(told), *_many_models(told)])


def drawn_learning(told: Drawn) -> str:
    """APGR by number of labels; as SVG, for light and dark pages."""
    numbers = {each: log2(each or NONE) for each in sorted(told.learnt)}
    ends = min(numbers.values()), max(numbers.values())
    where = Field(left=LEFT, width=WIDTH - LEFT - BESIDE, x=ends, y=(0.5, 0.7))
    points, (name, best) = [(numbers[each], told.learnt[each]) for each in numbers], told.peer
    down = {f"{apgr:.2f}": apgr for apgr in (0.5, 0.55, 0.6, 0.65, 0.7)}
    across = {f"{number:,}": place for number, place in numbers.items()}
    parts = [
        *axes(where, across, down, "judged prompts", "APGR; 0.5 is a draw"),
        drawn_line(where, [(ends[0], best), (ends[1], best)], "other", dashed=True),
        drawn_line(where, points, "ours"),
        *dots(where, points, "ours-fill"),
    ]
    for height, label, kind in ((points[-1][1], "the router", "ours"), (best, name, "other")):
        x, y = where.at((ends[1], height))
        parts.append(words_at(x + 12, y - 4, label, f"text strong {kind}-fill"))
        parts.append(words_at(x + 12, y + 13, f"{height:.3f}", f"text {kind}-fill"))
    return paper("What judged prompts are worth: GPT-4 or Mixtral on MMLU", parts)


def _two_models(told: Drawn) -> Iterator[str]:
    """Gain against calls, of those rankings that there are."""
    where = Field(left=LEFT, width=_half(), x=(0.0, 1.0), y=(0.0, 1.0))
    fifths = {f"{percent} %": percent / 100 for percent in range(0, 101, 20)}
    yield from axes(where, fifths, fifths, "share of calls to GPT-4", "share of its gain on MMLU")
    shown = [(told.ranked[name], *how) for name, how in LINES.items() if name in told.ranked]
    for gained, _, colour, dashed in reversed(shown):
        shares = np.mean(gained, axis=0)
        some = np.linspace(0, len(shares) - 1, 60).astype(int)
        points = [(0.0, 0.0), *((float(at + 1) / len(shares), float(shares[at])) for at in some)]
        yield drawn_line(where, points, colour, dashed=dashed)
    yield drawn_line(where, [(0.0, 0.0), (1.0, 1.0)], "axis", dashed=True)
    keys = [(label, colour, dashed) for _, label, colour, dashed in shown]
    yield from _key(where, (0.5, 0.36), [*keys, ("a random mix", "axis", True)])


def _many_models(told: Drawn) -> Iterator[str]:
    """Quality against cost; what lies off the paper is left out."""
    left = LEFT + _half() + BETWEEN
    where = Field(left=left, width=_half(), x=(0.0, 1.1), y=(0.5, 1.05))
    routed, single = np.mean(told.routed, axis=0), np.mean(told.single, axis=0)
    across = {f"{percent} %": percent / 100 for percent in range(0, 101, 20)}
    down = {f"{percent} %": percent / 100 for percent in range(50, 101, 10)}
    words = f"share of its quality, {len(single)} models"
    yield from axes(where, across, down, "share of the best model's cost", words)
    yield from dots(where, [(cost, quality) for quality, cost in single.tolist()], "other-fill")
    for points, colour in ((single, "other"), (routed, "ours")):
        shown = [point for point in _reached(points) if point[1] >= where.y[0]]
        yield drawn_line(where, shown, colour, dashed=colour == "other")
    lines = [("the router", "ours", False), ("the best static mix", "other", True)]
    yield from _key(where, (0.42, 0.655), lines)
    x, y = where.at((0.42, 0.655))
    yield f'<circle class="other-fill" cx="{x + 12:.1f}" cy="{y + 36:.1f}" r="3.5"/>'
    yield words_at(x + 32, y + 40, "one model", "text")


def _half() -> float:
    return (WIDTH - LEFT - BETWEEN - RIGHT) / 2


def _reached(points: Floats) -> list[Point]:
    """Cost and quality of what points and draws between two of them reach, the cheapest first."""
    hull: list[Point] = []
    for quality, cost in points[np.lexsort((-points[:, 0], points[:, 1]))].tolist():
        if hull and quality <= hull[-1][1]:
            continue
        while len(hull) > 1 and _is_under(hull[-2], hull[-1], (cost, quality)):
            hull.pop()
        hull.append((cost, quality))
    return hull


def _is_under(first: Point, middle: Point, last: Point) -> bool:
    """Whether a draw between the outer two is as good as the middle one."""
    rise = (middle[1] - first[1]) * (last[0] - first[0])
    return rise <= (last[1] - first[1]) * (middle[0] - first[0])


def axes(
    where: Field, across: dict[str, float], up: dict[str, float], below: str, above: str
) -> Iterator[str]:
    """Grid, figures by their labels, and what they mean."""
    right = where.left + where.width
    for label, place in up.items():
        x, y = where.at((where.x[0], place))
        yield f'<path class="grid" d="M{x:.1f} {y:.1f}H{right:.1f}"/>'
        yield words_at(x - 8, y + 4, label, "text quiet", anchor="end")
    for label, place in across.items():
        x, y = where.at((place, where.y[0]))
        yield f'<path class="axis" d="M{x:.1f} {y:.1f}v5"/>'
        yield words_at(x, y + 20, label, "text quiet", anchor="middle")
    x, y = where.at((where.x[0], where.y[0]))
    yield f'<path class="axis" fill="none" d="M{x:.1f} {TOP}V{y:.1f}H{right:.1f}"/>'
    yield words_at(where.left + where.width / 2, HEIGHT - 16, below, "text", anchor="middle")
    yield words_at(where.left, TOP - 8, above, "text quiet")


def _key(where: Field, corner: Point, lines: Sequence[tuple[str, str, bool]]) -> Iterator[str]:
    """What lines mean, from the upper left corner on."""
    x, y = where.at(corner)
    for at, (label, colour, dashed) in enumerate(lines):
        yield _stroke(f"M{x:.1f} {y + 18 * at:.1f}h24", colour, dashed=dashed)
        strong = " strong" if colour == "ours" and not dashed else ""
        yield words_at(x + 32, y + 18 * at + 4, label, f"text{strong}")


def dots(where: Field, points: Sequence[Point], colour: str) -> Iterator[str]:
    """A dot at each point inside the field."""
    for point in points:
        x, y = where.at(point)
        if where.left <= x <= where.left + where.width and TOP <= y <= HEIGHT - BOTTOM:
            yield f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'


def drawn_line(where: Field, points: Sequence[Point], colour: str, *, dashed: bool = False) -> str:
    """A line through points."""
    places = (where.at(point) for point in points)
    return _stroke("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), colour, dashed=dashed)


def _stroke(path: str, colour: str, *, dashed: bool) -> str:
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<path class="{colour}" fill="none" stroke-width="2.2"{dash} d="{path}"/>'


def words_at(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def paper(title: str, parts: Sequence[str]) -> str:
    """A whole picture."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        words_at(LEFT, 28, title, "text title"),
    )
    return "\n".join((*head, *parts, "</svg>")) + "\n"
