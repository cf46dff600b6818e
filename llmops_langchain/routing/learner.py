"""What outcomes taught: rows of prompts and scores, and the model that is fitted to them."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from llmops_langchain.clock import Clock
from llmops_langchain.embeddings import default_embeddings
from llmops_langchain.routing.features import features_of
from llmops_langchain.routing.quality import Prompts, QualityModel
from llmops_langchain.storage.fork import on_fork

__all__ = ["Learner", "Seen"]

_FEWEST = 20
"""Outcomes before anything is learnt of them."""

_MOST = 10_000
"""Outcomes that are kept: the newest."""

_GROWN = 1.2
"""A fit is made anew when there are so many times the rows of the last one."""

_LIKE = 10.0
"""Outcomes of a model that weigh as much as the prior."""

_HALF_LIFE = 90 * 86_400.0
"""Seconds after which an outcome counts half: models change."""

_READ = 8_000
"""Characters of a prompt that are embedded."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A prompt as the learner sees it."""

    vector: NDArray[np.float64]
    features: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Outcome:
    seen: Seen
    name: str
    score: float
    ts: float


class Learner:
    """Learns from scores which model is good at what; safe to share between threads.

    Args:
        clock: Returns seconds since the Unix epoch.
        embeddings: Makes vectors of prompts; by default the best on this machine.
    """

    def __init__(self, clock: Clock, embeddings: Embeddings | None = None) -> None:
        self._clock, self._embeddings = clock, embeddings
        self._rows: deque[_Outcome] = deque(maxlen=_MOST)
        self._model: QualityModel | None = None
        self._counts: dict[str, int] = {}
        self._fitted, self._total = 0, 0
        # Whom to ask, and what to learn of it, are two looks at one prompt.
        self._last: tuple[str, Seen] | None = None
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave the locks to the parent: another thread of it may have held them."""
        self._changing, self._fitting = threading.Lock(), threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def see(self, text: str, features: NDArray[np.float64] | None = None) -> Seen:
        """A prompt's vector and features, which may be known."""
        last = self._last
        if last is not None and last[0] == text:
            return last[1]
        if self._embeddings is None:
            self._embeddings = default_embeddings()
        half = _READ // 2
        read = text if len(text) <= _READ else text[:half] + text[-half:]
        vector = np.asarray(self._embeddings.embed_query(read), np.float64)
        length = float(np.linalg.norm(vector))
        told = features_of(text) if features is None else features
        seen = Seen(vector / length if length else vector, told)
        self._last = (text, seen)
        return seen

    def learn(self, seen: Seen, name: str, score: float, *, fit: bool = True) -> None:
        """Keep an outcome; now and then fit anew, in a thread that nobody waits for.

        Args:
            seen: The prompt.
            name: Who answered.
            score: How well, 0 to 1.
            fit: Whether a fit may be due; without, `fit()` is for the caller to call.
        """
        row = _Outcome(seen, name, min(1.0, max(0.0, score)), self._clock())
        with self._changing:
            self._rows.append(row)
            self._counts[name] = self._counts.get(name, 0) + 1
            self._total += 1
            is_due = self._total >= max(_FEWEST, _GROWN * self._fitted)
        if is_due and fit:
            threading.Thread(target=self.fit, name="llmops-routing", daemon=True).start()

    def fit(self) -> None:
        """Learn from what there is, now; does nothing with fewer than 20 outcomes."""
        with self._fitting:
            with self._changing:
                rows, total = list(self._rows), self._total
            if len(rows) >= _FEWEST and total != self._fitted:
                self._model, self._fitted = _fit(rows, self._clock()), total

    @property
    def knows(self) -> bool:
        """Whether anything was learnt."""
        return self._model is not None

    def blended(
        self, seen: Seen, names: Sequence[str], priors: Sequence[float]
    ) -> list[tuple[float, float]]:
        """Expected quality of each model, and how much of it was learnt."""
        model = self._model
        if model is None:
            return [(prior, 0.0) for prior in priors]
        estimate = model.predict(Prompts(seen.vector[np.newaxis], seen.features[np.newaxis]))
        learnt = dict(zip(model.models, estimate.mean[0].tolist(), strict=True))
        return [
            self._mixed(name, prior, learnt.get(name))
            for name, prior in zip(names, priors, strict=True)
        ]

    def _mixed(self, name: str, prior: float, learnt: float | None) -> tuple[float, float]:
        if learnt is None:
            return prior, 0.0
        number = self._counts.get(name, 0)
        share = number / (number + _LIKE)
        return share * learnt + (1 - share) * prior, share


def _fit(rows: Sequence[_Outcome], now: float) -> QualityModel:
    names = sorted({row.name for row in rows})
    place = {name: at for at, name in enumerate(names)}
    scores = np.full((len(rows), len(names)), np.nan)
    for at, row in enumerate(rows):
        scores[at, place[row.name]] = row.score
    ages = np.array([max(0.0, now - row.ts) for row in rows])
    prompts = Prompts(
        np.stack([row.seen.vector for row in rows]), np.stack([row.seen.features for row in rows])
    )
    return QualityModel.fit(
        prompts,
        {name: scores[:, at] for name, at in place.items()},
        names,
        counts=0.5 ** (ages / _HALF_LIFE),
    )
