"""Kinds of work that nobody has named yet: groups of similar tasks that no pattern explains."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.phrases import stem, words_of
from llmops_langchain.learning.prototypes import directions
from llmops_langchain.text.function_words import FUNCTION

__all__ = ["Candidate", "mined"]

Vectors = NDArray[np.float32]

_MOST = 4_000
"""Tasks that are grouped; of more a sample, so the time has a bound."""

_ALIKE = 0.5
"""Cosine to be of one kind, once what all tasks have in common is taken away."""

_SAME = 0.9
_ROUNDS, _LEADERS, _FEW = 5, 200, 10
_TELLING, _EXAMPLES, _NAMED = 8, 5, 2
_READ = 400
"""Characters of a task in which telling words are looked for."""

_LONGEST = 64
_FUNCTIONAL = 2
"""Letters of a word that tells nothing."""

_PRIOR = 0.5
_SHARED = 0.3
"""Share of a group's tasks that a telling word must be in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A group of tasks that may deserve a pattern; a human decides."""

    name: str
    """From its most telling words; fit for `Patterns.extended`."""
    words: tuple[str, ...]
    """What is said in it far more often than elsewhere, the most telling first."""
    size: int
    """How many of the tasks given are in the group, estimated where only a sample was read."""
    examples: tuple[int, ...]
    """Rows of the tasks in its middle."""


def mined(
    tasks: Sequence[str],
    vectors: NDArray[np.floating],
    explained: Sequence[bool],
    *,
    smallest: int = 5,
    most: int = 10,
    seed: int = 0,
) -> list[Candidate]:
    """Groups of tasks that no known pattern explains; the same for the same arguments.

    Args:
        tasks: Their texts.
        vectors: Of the tasks, shape `(n, dim)`; unit length is not needed.
        explained: Whether a known pattern was found in a task. Explained tasks are what the words
            of a group are compared with.
        smallest: Tasks that make a group.
        most: Groups that are returned, the largest first.
        seed: Of the sample, where there are very many tasks.

    Returns:
        What to look at, and to name with `Patterns.extended` if it makes sense.

    Raises:
        ConfigurationError: If the lengths differ, or `smallest` is below 2.

    Example:
        >>> tasks = ["Draw a map of roads", "Draw a map of rivers", "Pay", "Sing"]
        >>> vectors = np.array([[1, 0, 0.1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
        >>> groups = mined(tasks, vectors, [False, False, True, False], smallest=2)
        >>> [(group.name, group.size, group.examples) for group in groups]
        [('draw_map', 2, (0, 1))]
    """
    _check(tasks, vectors, explained, smallest)
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(~np.asarray(explained, bool))
    known = np.flatnonzero(np.asarray(explained, bool))
    share = min(1.0, _MOST / max(1, len(rows)))
    rows, known = _sampled(rows, rng), _sampled(known, rng)
    if len(rows) < smallest:
        return []
    points = _centred(np.asarray(vectors, np.float32), rows)
    groups = [group for group in _groups(points) if len(group) >= smallest]
    groups.sort(key=lambda group: (-len(group), int(group[0])))
    said = {int(row): _said(tasks[int(row)]) for row in (*rows, *known)}
    everywhere = Counter(word for words in said.values() for word in words)
    found = (_candidate(rows[group], points[group], said, everywhere, share) for group in groups)
    return list(islice(_distinct(found), most))


def _check(
    tasks: Sequence[str], vectors: NDArray[np.floating], explained: Sequence[bool], smallest: int
) -> None:
    if vectors.ndim != 2 or not len(tasks) == len(vectors) == len(explained):  # noqa: PLR2004 - rows, columns
        msg = (
            f"one vector and one `explained` for each of {len(tasks)} tasks; got vectors of shape "
            f"{vectors.shape} and {len(explained)} `explained`"
        )
        raise ConfigurationError(msg)
    if smallest < 2:  # noqa: PLR2004 - one is no group
        msg = f"`smallest` must be at least 2, got {smallest!r}"
        raise ConfigurationError(msg)


def _sampled(rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    if len(rows) <= _MOST:
        return rows
    return np.sort(rng.choice(rows, _MOST, replace=False))


def _centred(vectors: Vectors, rows: NDArray[np.intp]) -> Vectors:
    """Directions away from what all tasks have in common, by which none can be told apart."""
    chosen = np.nan_to_num(vectors[rows])
    return directions(chosen - chosen.mean(axis=0)) if len(rows) >= _FEW else directions(chosen)


def _groups(points: Vectors) -> list[NDArray[np.intp]]:
    """Leaders are picked where most tasks are near, then moved to the middle of their group."""
    near = (points @ points.T) > _ALIKE
    counts, free = near.sum(axis=1), np.ones(len(points), bool)
    leaders = list[int]()
    while len(leaders) < _LEADERS:
        leader = int(np.where(free, counts, 0).argmax())
        taken = near[leader] & free
        if taken.sum() <= 1:
            break
        leaders.append(leader)
        free &= ~taken
        counts -= near[:, taken].sum(axis=1)
    return _settled(points, points[leaders]) if leaders else []


def _settled(points: Vectors, middles: Vectors) -> list[NDArray[np.intp]]:
    """Every task to the nearest middle, if that is near; a few times, as the middles move."""
    own = _nearest(points, middles)
    for _ in range(_ROUNDS):
        kept = [points[own == each].mean(axis=0) for each in np.unique(own[own >= 0])]
        if not kept:
            return []
        middles = _apart(directions(np.array(kept)))
        own = _nearest(points, middles)
    return [np.flatnonzero(own == each) for each in range(len(middles))]


def _nearest(points: Vectors, middles: Vectors) -> NDArray[np.intp]:
    cosines = points @ middles.T
    return np.where(cosines.max(axis=1) > _ALIKE, cosines.argmax(axis=1), -1)


def _apart(middles: Vectors) -> Vectors:
    """Without those that moved to where another is."""
    same = np.tril(middles @ middles.T > _SAME, -1).any(axis=1)
    return middles[~same]


def _said(task: str) -> frozenset[str]:
    """The words of a task, as it writes them; those that say little are left out."""
    words = words_of(task[:_READ])
    return frozenset(word for word in words if word not in FUNCTION and len(word) > _FUNCTIONAL)


def _candidate(
    rows: NDArray[np.intp],
    points: Vectors,
    said: Mapping[int, frozenset[str]],
    everywhere: Counter[str],
    share: float,
) -> Candidate:
    middle = np.argsort(-(points @ points.mean(axis=0)), kind="stable")[:_EXAMPLES]
    here = Counter(word for row in rows.tolist() for word in said[row])
    words = _telling(here, everywhere, len(rows), len(said))
    return Candidate(
        name="_".join(words[:_NAMED])[:_LONGEST],
        words=words,
        size=round(len(rows) / share),
        examples=tuple(sorted(rows[middle].tolist())),
    )


def _telling(
    here: Counter[str], everywhere: Counter[str], size: int, total: int
) -> tuple[str, ...]:
    """By the log-odds of being said here rather than elsewhere; one form of each word."""
    odds = dict[str, float]()
    for word, count in here.items():
        if count < max(2, _SHARED * size) or not word[0].isalpha():
            continue
        elsewhere = everywhere[word] - count
        inside = log((count + _PRIOR) / (size - count + _PRIOR))
        odds[word] = inside - log((elsewhere + _PRIOR) / (total - size - elsewhere + _PRIOR))
    ranked = sorted(odds, key=lambda word: (-odds[word], word))
    forms = {stem(word): word for word in reversed(ranked) if odds[word] > 0}
    return tuple(word for word in ranked if forms.get(stem(word)) == word)[:_TELLING]


def _distinct(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Under names that differ, and that `extended` takes; a group without any is nothing to say."""
    names = set[str]()
    for each in candidates:
        if each.words and each.name not in names:
            names.add(each.name)
            yield each
