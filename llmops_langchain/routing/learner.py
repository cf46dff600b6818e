"""What outcomes taught: rows of prompts and scores, and the model that is fitted to them."""

import logging
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from llmops_langchain.clock import Clock
from llmops_langchain.embeddings import default_embeddings, identity
from llmops_langchain.routing.blending import blended
from llmops_langchain.routing.features import FEATURES, complexity_of, features_of
from llmops_langchain.routing.quality import Prompts, QualityModel
from llmops_langchain.routing.records import Outcome
from llmops_langchain.routing.seen import Seen
from llmops_langchain.storage.fork import around_fork, on_fork

__all__ = ["Learner", "Lessons", "lessons_of"]

logger = logging.getLogger(__name__)

_FEWEST = 20
"""Outcomes before anything is learnt of them."""

_MOST = 10_000
"""Outcomes that are kept: the newest."""

_NEWS, _A_DAY = 0.2, 86_400.0
"""A fit is made anew when so much of what is kept is new, or anything is and a day has gone."""

_HALF_LIFE = 90 * 86_400.0
"""Seconds after which an outcome counts half: models change."""

_ONE_VOICE = 0.2
"""Of all outcomes, what those of one user may weigh, where at least `_VOICES` users judge."""

_VOICES = 5

_READ = 8_000
"""Characters of a prompt that are embedded."""

Floats = NDArray[np.float64]


class Listener(Protocol):
    """Is told when something was learnt."""

    def learnt(self) -> None:
        """The learner's model is another one now."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """Outcomes as a table, a prompt a row."""

    names: tuple[str, ...]
    """The models, one a column."""
    prompts: Prompts
    scores: Floats
    """0 to 1, NaN where a model was not asked; shape `(prompts, models)`."""
    counts: Floats
    """How much each prompt counts."""
    propensities: Floats
    """How likely it was that a model was asked; shape as `scores`."""
    input_tokens: Floats
    complexities: Floats
    """How hard each prompt looks, 0 to 1."""

    @property
    def numbers(self) -> Floats:
        """Outcomes of each model."""
        return np.asarray((~np.isnan(self.scores)).sum(axis=0), np.float64)


class Learner:
    """Learns from scores which model is good at what; safe to share between threads.

    Args:
        clock: Returns seconds since the Unix epoch.
        embeddings: Makes vectors of prompts, or makes what does when it is needed; by default the
            best on this machine.
    """

    def __init__(
        self,
        clock: Clock,
        embeddings: Embeddings | Callable[[], Embeddings] = default_embeddings,
    ) -> None:
        self._clock, self._embeddings = clock, embeddings
        self._rows: OrderedDict[tuple[UUID, str], Outcome] = OrderedDict()
        self._model: QualityModel | None = None
        self._lessons: Lessons | None = None
        self._counts: Counter[str] = Counter()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self._fitted, self._total, self._fitted_at = 0, 0, clock()
        # Whom to ask, and what to learn of it, are two looks at one prompt.
        self._last: tuple[str, Seen] | None = None
        self.after_fork()
        on_fork(self)
        around_fork(self)

    def after_fork(self) -> None:
        """Leave the locks to the parent: another thread of it may have held them."""
        self._changing, self._fitting = threading.Lock(), threading.Lock()
        self._asking = threading.Lock()
        self._fits = False  # whether a fit is under way that nobody waits for

    def before_fork(self) -> None:
        """Wait for the end of matrix products: OpenBLAS cannot fork while its threads work."""
        self._fitting.acquire()
        self._asking.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._asking.release()
        self._fitting.release()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def embedder(self) -> str:
        """Whose vectors, and how many features, it learns by: those of others say nothing to it."""
        return f"{identity(self._embedder())}|{len(FEATURES)}"

    def see(self, text: str, features: Floats | None = None) -> Seen:
        """A prompt's vector and features, which may be known."""
        last = self._last
        if last is not None and last[0] == text:
            return last[1]
        half = _READ // 2
        read = text if len(text) <= _READ else text[:half] + text[-half:]
        vector = np.asarray(self._embedder().embed_query(read), np.float64)
        length = float(np.linalg.norm(vector))
        told = features_of(text) if features is None else features
        seen = Seen(vector / length if length else vector, told)
        self._last = (text, seen)
        return seen

    def learn(self, outcomes: Iterable[Outcome], *, fit: bool = True) -> None:
        """Keep outcomes; now and then fit anew, in a thread that nobody waits for.

        Args:
            outcomes: A later word on the same answer replaces an earlier one that weighs no more.
            fit: Whether a fit may be due; without, `fit()` is for the caller to call.
        """
        with self._changing:
            for each in outcomes:
                self._keep(each)
            is_due = fit and not self._fits and self._is_due
            self._fits = self._fits or is_due
        if is_due:
            threading.Thread(
                target=self._fit_behind, name="llmops-routing-fit", daemon=True
            ).start()

    def fit(self) -> None:
        """Learn from what there is, now; does nothing with fewer than 20 outcomes."""
        with self._fitting:
            with self._changing:
                rows, total = _alike(self._rows.values()), self._total
            if len(rows) < _FEWEST or total == self._fitted:
                return
            lessons = lessons_of(rows, self._clock())
            scores = dict(zip(lessons.names, lessons.scores.T, strict=True))
            self._model = QualityModel.fit(
                lessons.prompts, scores, lessons.names, counts=lessons.counts
            )
            self._lessons, self._fitted, self._fitted_at = lessons, total, self._clock()
            for listener in list(self._listeners):
                listener.learnt()

    def listen(self, listener: Listener) -> None:
        """Tell it of each fit, for as long as it lives."""
        self._listeners.add(listener)

    def forget(self) -> None:
        """Start anew: what is to be known is learnt again."""
        with self._fitting, self._changing:
            self._rows.clear()
            self._counts.clear()
            self._model = self._lessons = None
            self._fitted = self._total = 0

    @property
    def outcomes(self) -> list[Outcome]:
        """What it learns from."""
        with self._changing:
            return list(self._rows.values())

    @property
    def knows(self) -> bool:
        """Whether anything was learnt."""
        return self._model is not None

    @property
    def lessons(self) -> tuple[QualityModel, Lessons] | None:
        """What was learnt last, and from what."""
        model, lessons = self._model, self._lessons
        return None if model is None or lessons is None else (model, lessons)

    def expected(
        self, seen: Seen, priors: Mapping[str, float], usual: Mapping[str, float]
    ) -> dict[str, tuple[float, float]]:
        """Quality of each model, and how much of it was learnt, by the models' names.

        Args:
            seen: The prompt.
            priors: Quality before anything was learnt.
            usual: The same for a prompt of `usual_complexity`.
        """
        if (lessons := self.lessons) is None:
            return {name: (prior, 0.0) for name, prior in priors.items()}
        model, table = lessons
        with self._asking:
            estimate = model.predict(Prompts(seen.vector[np.newaxis], seen.features[np.newaxis]))
        trust, columns = float(estimate.trust[0]), {name: at for at, name in enumerate(table.names)}
        told = dict.fromkeys(priors, (0.0, 0.0))
        for name, prior in priors.items():
            at = columns.get(name)
            if at is None:
                told[name] = prior, 0.0
                continue
            learnt, base = float(estimate.mean[0, at]), float(model.base[at])
            number = float(self._counts.get(name, 0))
            quality, shape = blended(learnt, base, number, prior, usual[name], trust)
            told[name] = float(quality), float(shape)
        return told

    @property
    def usual_complexity(self) -> float:
        """How hard the prompts look that were learnt from, on average; 0.5 if there are none."""
        lessons = self._lessons
        return 0.5 if lessons is None else float(lessons.complexities.mean())

    @property
    def _is_due(self) -> bool:
        new = self._total - self._fitted
        is_old = new > 0 and self._clock() - self._fitted_at > _A_DAY
        enough = new >= _NEWS * min(self._fitted, _MOST)
        return self._total >= _FEWEST and (is_old or (enough and new > 0))

    def _fit_behind(self) -> None:
        """Fit until nothing is due."""
        is_due = True
        while is_due:
            try:
                self.fit()
            except Exception as error:  # noqa: BLE001 - a help: calls go on by what is known
                logger.warning("nothing new was learnt: %s", type(error).__name__)
                self._fitted = self._total  # as much again may be more to its liking
            with self._changing:
                self._fits = is_due = self._is_due and self._total != self._fitted

    def _embedder(self) -> Embeddings:
        if not isinstance(self._embeddings, Embeddings):
            self._embeddings = self._embeddings()
        return self._embeddings

    def _keep(self, outcome: Outcome) -> None:
        key = (outcome.decision_id, outcome.choice)
        before = self._rows.get(key)
        if before is not None and before.weight > outcome.weight:
            return
        is_other = before is None or before.score != outcome.score
        self._rows[key] = outcome
        self._rows.move_to_end(key)
        self._counts[outcome.choice] += before is None
        self._total += is_other
        while len(self._rows) > _MOST:
            (_, gone), _ = self._rows.popitem(last=False)
            self._counts[gone] -= 1


def _alike(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those whose vectors are as long as the newest's: others are of another embedder."""
    told = list(outcomes)
    shape = told[-1].seen.vector.shape if told else ()
    return [each for each in told if each.seen.vector.shape == shape]


def lessons_of(outcomes: Sequence[Outcome], now: float) -> Lessons:
    """Outcomes as a table: those of one decision are one row; old ones and loud voices count less.

    Args:
        outcomes: At least one.
        now: UTC seconds since the Unix epoch.
    """
    names = tuple(sorted({each.choice for each in outcomes}))
    column = {name: at for at, name in enumerate(names)}
    first = {each.decision_id: each for each in reversed(outcomes)}
    firsts = list(first.values())
    row = {each.decision_id: at for at, each in enumerate(firsts)}
    scores = np.full((len(firsts), len(names)), np.nan)
    propensities = np.ones_like(scores)
    for each in outcomes:
        place = row[each.decision_id], column[each.choice]
        scores[place] = min(1.0, max(0.0, each.score))
        propensities[place] = each.propensity
    ages = np.array([max(0.0, now - each.ts) for each in firsts])
    weights = np.array([each.weight for each in firsts])
    counts = weights * 0.5 ** (ages / _HALF_LIFE)
    return Lessons(
        names,
        Prompts(
            np.stack([each.seen.vector for each in firsts]),
            np.stack([each.seen.features for each in firsts]),
        ),
        scores,
        _bounded(counts, [each.scope.user for each in firsts]),
        propensities,
        np.array([float(each.input_tokens) for each in firsts]),
        np.array([complexity_of(each.seen.features) for each in firsts]),
    )


def _bounded(counts: Floats, users: Sequence[str | None]) -> Floats:
    """The same counts, where nobody has more than a fifth of a say if five people have one."""
    voices: dict[str, float] = {}
    for count, user in zip(counts.tolist(), users, strict=True):
        if user is not None:
            voices[user] = voices.get(user, 0.0) + count
    if len(voices) < _VOICES:
        return counts
    total = float(counts.sum())
    # Of the others' say, so that the share holds of what is left in the end.
    most = {user: _ONE_VOICE / (1 - _ONE_VOICE) * (total - own) for user, own in voices.items()}
    factors = [
        1.0 if user is None or voices[user] <= most[user] else most[user] / voices[user]
        for user in users
    ]
    return np.asarray(counts * np.array(factors), np.float64)
