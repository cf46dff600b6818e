"""How good each model's answer to a prompt is likely to be, learnt from how earlier ones were.

Kernel ridge regression (the posterior mean of a Gaussian process; Rasmussen and Williams, 2006,
chapter 2) over two views of a prompt, its embedding and its text features, each at two widths.
All models share one kernel, so all are learnt by one factorisation. Rows beyond `LANDMARKS` are
seen through a sample of so many (the Nyström method; Williams and Seeger, 2001).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LANDMARKS", "Estimate", "Prompts", "QualityModel"]

Floats = NDArray[np.float64]

LANDMARKS = 1_500
"""Prompts that others are compared with."""

_WIDTHS = (1.0, 4.0), (0.5, 2.0)
"""Of the embedding's kernels and of the features': inverse squared lengths."""

_KERNELS = 4
"""What `_similar` of a prompt with itself is."""

_NOISES = (1.0, 4.0, 13.0, 40.0, 120.0)
"""Variances of one outcome against that of what can be learnt of it, times `_KERNELS`: the one that
guesses outcomes best that were left out."""

_ALIKE = 1.03
"""Errors that differ by less are alike: then the more cautious guess is the safer one, since who
takes the best of many guesses takes their errors too."""

_TRIED, _GROUPS = 500, 4
"""Rows by which that is found, and of how many groups of models at most."""

_NEAREST = 20
"""Prompts by which it is told whether one lies where was learnt."""

_FAR = (0.2, 0.5)
"""Nearness, against one prompt in ten of those learnt from, up to which nothing that was learnt is
trusted, and from which on all of it. Another exam lies above: what was learnt of one tells more
there than the prior, so only what is farther goes back to that."""

_SHRUNK = 10.0
"""Outcomes that a model's own mean is worth as many as, against the mean of all models."""

_RANK = 3
"""Ways in which models differ, where there are many: more is noise in which a maximum is found."""

_MANY = 4
"""Models from which on they are projected."""

_BOUND = 4.0
"""Standard deviations beyond which a feature counts no more."""

_BLOCK = 2_000
"""Rows that are compared with the landmarks at once."""

_SURE, _STRETCHED, _MOST_LEVER = 1.0, (0.5, 2.0), 0.99
"""Of the factor by which guesses are stretched: how slowly it moves from 1, and how far."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts as a router sees them, one a row.

    Args:
        vectors: Unit embeddings, shape `(n, d)`.
        features: `features_of` each, shape `(n, f)`.
    """

    vectors: Floats
    features: Floats

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, which: slice | NDArray[np.intp] | NDArray[np.bool_]) -> "Prompts":
        """Some of them."""
        return Prompts(self.vectors[which], self.features[which])


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is expected of each model, for each of some prompts."""

    mean: Floats
    """Expected score, 0 to 1, shape `(prompts, models)`."""
    trust: Floats
    """How much of it holds for a prompt, by how near it is to what was learnt from: 0 to 1, shape
    `(prompts,)`."""


@dataclass(frozen=True, slots=True)
class QualityModel:
    """What was learnt, ready to be asked; `fit` makes one. It does not change.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> seen = Prompts(np.eye(8)[rng.integers(0, 8, 200)], np.zeros((200, 1)))
        >>> right = seen.vectors[:, 0] > 0
        >>> model = QualityModel.fit(seen, {"small": np.where(right, 1.0, 0.0)}, ["small"])
        >>> asked = Prompts(np.eye(8)[:2], np.zeros((2, 1)))
        >>> easy, hard = model.predict(asked).mean[:, 0]
        >>> bool(easy > hard)
        True
    """

    models: tuple[str, ...]
    _landmarks: Prompts
    _centre: Floats
    _scale: Floats
    base: Floats
    """Each model's mean, shape `(models,)`."""
    _near: float
    """How similar the prompts around one are that lies where was learnt."""
    _weights: Floats
    """Of each landmark for each model, shape `(landmarks, models)`."""
    left_out: Floats
    """What would be said of each prompt it learnt from, had its outcomes not been there; shape
    `(prompts, models)`."""

    @classmethod
    def fit(
        cls,
        prompts: Prompts,
        scores: Mapping[str, ArrayLike],
        models: Sequence[str],
        *,
        counts: ArrayLike | None = None,
        seed: int = 0,
    ) -> Self:
        """Learn from outcomes.

        Args:
            prompts: What was asked; at least one.
            scores: For each model how good its answers were, 0 to 1, with NaN where it was not
                asked. What lies outside is taken as the bound.
            models: Who is to be predicted; one without scores gets the mean of all.
            counts: How much each prompt counts, such as less for an old one; 1 by default.
            seed: Which landmarks are drawn.
        """
        known = np.column_stack([_scores_of(name, scores, len(prompts)) for name in models])
        weight = np.ones(len(prompts)) if counts is None else np.asarray(counts, np.float64)
        centre, scale = prompts.features.mean(axis=0), prompts.features.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        scaled = Prompts(prompts.vectors, _scaled(prompts.features, centre, scale))
        drawn = np.random.default_rng(seed).permutation(len(prompts))[:LANDMARKS]
        landmarks = scaled.rows(np.sort(drawn))
        base = _base(known, weight)
        weights, honest, stretch = _learnt(scaled, landmarks, known - base, weight)
        if len(models) >= _MANY:
            ways = _ways(weights, landmarks)
            weights, honest = weights @ ways, honest @ ways
        left_out = np.clip(base + stretch * honest, 0.0, 1.0)
        near = float(np.quantile(_nearness(scaled.rows(slice(-_TRIED, None)), landmarks), 0.1))
        stretched = stretch * weights
        return cls(tuple(models), landmarks, centre, scale, base, near, stretched, left_out)

    def predict(self, prompts: Prompts) -> Estimate:
        """What to expect of each of `models`, in that order."""
        asked = Prompts(prompts.vectors, _scaled(prompts.features, self._centre, self._scale))
        similar = _similar(asked, self._landmarks)
        mean = np.clip(self.base + similar @ self._weights, 0.0, 1.0)
        nearness = _of_nearest(similar) / max(self._near, 1e-12)
        low, high = _FAR
        return Estimate(mean, np.clip((nearness - low) / (high - low), 0.0, 1.0))


def _nearness(some: Prompts, landmarks: Prompts) -> Floats:
    """How similar each prompt's nearest others are, all together."""
    similar = _similar(some, landmarks)
    # A prompt that is a landmark is not another one.
    return _of_nearest(np.where(similar > _KERNELS - 1e-6, 0.0, similar))


def _of_nearest(similar: Floats) -> Floats:
    number = min(_NEAREST, similar.shape[1])
    nearest = np.partition(similar, similar.shape[1] - number, axis=1)[:, -number:]
    return np.asarray(nearest.sum(axis=1), np.float64)


def _scores_of(name: str, scores: Mapping[str, ArrayLike], number: int) -> Floats:
    given = scores.get(name)
    if given is None:
        return np.full(number, np.nan)
    return np.clip(np.asarray(given, np.float64), 0.0, 1.0)


def _scaled(features: Floats, centre: Floats, scale: Floats) -> Floats:
    scaled: Floats = np.clip((features - centre) / scale, -_BOUND, _BOUND)
    return scaled


def _base(known: Floats, weight: Floats) -> Floats:
    """Each model's mean, drawn towards that of all by `_SHRUNK` outcomes of it."""
    asked = ~np.isnan(known)
    counts = weight[:, np.newaxis] * asked
    sums, numbers = (counts * np.where(asked, known, 0.0)).sum(axis=0), counts.sum(axis=0)
    overall = sums.sum() / max(numbers.sum(), 1e-12)
    base: Floats = (sums + _SHRUNK * overall) / (numbers + _SHRUNK)
    return base


def _similar(some: Prompts, others: Prompts) -> Floats:
    near = _distances(some.vectors, others.vectors)
    alike = _distances(some.features, others.features) / max(1, others.features.shape[1])
    both = ((width, near) for width in _WIDTHS[0]), ((width, alike) for width in _WIDTHS[1])
    kernels = [np.exp(-width * squared) for view in both for width, squared in view]
    return np.asarray(np.sum(kernels, axis=0), np.float64)


def _distances(some: Floats, others: Floats) -> Floats:
    """Squared, shape `(some, others)`."""
    lengths = (some**2).sum(axis=1)[:, np.newaxis] + (others**2).sum(axis=1)
    squared: Floats = np.maximum(lengths - 2.0 * some @ others.T, 0.0)
    return squared


def _learnt(
    prompts: Prompts, landmarks: Prompts, left: Floats, weight: Floats
) -> tuple[Floats, Floats, float]:
    """Weights of the landmarks for each model, what they say of rows left out, and how timidly.

    One factorisation serves all models that were asked the same prompts.
    """
    weights = np.zeros((len(landmarks), left.shape[1]))
    honest = np.full_like(left, np.nan)
    said, agreed = 0.0, 0.0
    groups = list(_groups(prompts, left, weight))
    among = _noise(groups) * (_similar(landmarks, landmarks) + 1e-6 * np.eye(len(landmarks)))
    for models, rows in groups:
        normal, right = rows.sums(landmarks)
        inverse = np.asarray(np.linalg.inv(among + normal), np.float64)
        weights[:, models] = inverse @ right
        guesses = rows.left_out(landmarks, inverse, weights[:, models])
        counts = rows.counts[:, np.newaxis]
        said += float((counts * guesses**2).sum())
        agreed += float((counts * guesses * rows.left).sum())
        honest[np.ix_(rows.places, models)] = guesses
    _fill(honest, prompts, landmarks, weights)
    # As slow to move from 1 as `_SURE` outcomes allow.
    stretch = float(np.clip((agreed + _SURE) / (said + _SURE), *_STRETCHED))
    return weights, honest, stretch


def _fill(honest: Floats, prompts: Prompts, landmarks: Prompts, weights: Floats) -> None:
    """Say of models that were not asked what was learnt elsewhere."""
    for at in range(0, len(prompts), _BLOCK):
        block = slice(at, at + _BLOCK)
        if np.isnan(honest[block]).any():
            guesses = _similar(prompts.rows(block), landmarks) @ weights
            honest[block] = np.where(np.isnan(honest[block]), guesses, honest[block])


@dataclass(frozen=True, slots=True)
class _Rows:
    """Prompts that some models were all asked."""

    prompts: Prompts
    left: Floats
    """What the means of the models do not tell, shape `(rows, models)`."""
    counts: Floats
    places: NDArray[np.intp]
    """Which of all prompts they are."""

    def sums(self, landmarks: Prompts) -> tuple[Floats, Floats]:
        """Both sides of the normal equations."""
        normal = np.zeros((len(landmarks), len(landmarks)))
        right = np.zeros((len(landmarks), self.left.shape[1]))
        for block in self._blocks():
            similar = _similar(self.prompts.rows(block), landmarks)
            counted = similar.T * self.counts[block]
            normal += counted @ similar
            right += counted @ self.left[block]
        return normal, right

    def left_out(self, landmarks: Prompts, inverse: Floats, weights: Floats) -> Floats:
        """What would be said of each row had it not been there, shape as `left`.

        By the leverage of a row (Rasmussen and Williams, 2006, section 5.4.2).
        """
        guesses = np.empty_like(self.left)
        for block in self._blocks():
            similar = _similar(self.prompts.rows(block), landmarks)
            lever = self.counts[block] * ((similar @ inverse) * similar).sum(axis=1)
            lever = np.minimum(lever, _MOST_LEVER)[:, np.newaxis]
            guesses[block] = (similar @ weights - lever * self.left[block]) / (1.0 - lever)
        return guesses

    def left_out_errors(self) -> Floats:
        """Squared errors for each of `_NOISES` of rows that were left out, by one decomposition."""
        some = slice(-_TRIED, None)  # the newest
        truth, root = self.left[some], np.sqrt(self.counts[some])[:, np.newaxis]
        similar = _similar(self.prompts.rows(some), self.prompts.rows(some))
        values, ways = np.linalg.eigh(root * similar * root.T)
        turned = ways.T @ (root * truth)
        errors = []
        for noise in _NOISES:
            kept = 1.0 / (np.maximum(values, 0.0) + noise)
            wrong = (ways @ (kept[:, np.newaxis] * turned)) / ((ways**2) @ kept)[:, np.newaxis]
            errors.append(float((wrong**2).sum()))
        return np.array(errors)

    def _blocks(self) -> Iterator[slice]:
        return (slice(at, at + _BLOCK) for at in range(0, len(self.prompts), _BLOCK))


def _groups(
    prompts: Prompts, left: Floats, weight: Floats
) -> Iterator[tuple[NDArray[np.intp], _Rows]]:
    """Models that were asked the same prompts, and those."""
    asked = ~np.isnan(left)
    for pattern in np.unique(asked, axis=1).T:
        if pattern.any():
            models = np.flatnonzero((asked == pattern[:, np.newaxis]).all(axis=0))
            places = np.flatnonzero(pattern)
            yield (
                models,
                _Rows(prompts.rows(pattern), left[pattern][:, models], weight[pattern], places),
            )


def _noise(groups: Sequence[tuple[NDArray[np.intp], _Rows]]) -> float:
    largest = sorted((rows for _, rows in groups), key=lambda rows: -rows.left.size)[:_GROUPS]
    if not largest:
        return _NOISES[-1]
    errors = np.sum([rows.left_out_errors() for rows in largest], axis=0)
    # The most cautious of those that guess about as well as the best.
    return _NOISES[int(np.flatnonzero(errors <= _ALIKE * errors.min()).max())]


def _ways(weights: Floats, landmarks: Prompts) -> Floats:
    """Projects on the `_RANK` ways in which models differ the most, shape `(models, models)`."""
    _, _, ways = np.linalg.svd(_similar(landmarks, landmarks) @ weights, full_matrices=False)
    return np.asarray(ways[:_RANK].T @ ways[:_RANK], np.float64)
