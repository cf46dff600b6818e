"""What a dollar is worth to a router just now: by its target, what was learnt, and what is left."""

import threading
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.models import Rates, nano_dollars
from llmops_langchain.routing.blending import blended
from llmops_langchain.routing.decision import Prediction
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Lessons
from llmops_langchain.routing.logbook import Logbook
from llmops_langchain.routing.predicting import answer_lengths
from llmops_langchain.routing.quality import QualityModel
from llmops_langchain.routing.sparing import Spared, spared
from llmops_langchain.routing.target import NANO, Target, Terms, gain
from llmops_langchain.routing.weights import Known, affordable, calibrated
from llmops_langchain.storage.fork import on_fork

__all__ = ["Pace", "dollars_of", "known_of"]

Floats = NDArray[np.float64]

_LOOKED_BACK = 500
"""Requests by which the day's dollars are spread."""

_GAINS, _FEW_GAINS = 1_000, 20
"""Requests whose gains are looked back on for a share of strong calls."""

_AGAIN_AFTER = 20
"""Requests after which the day's dollars are spread anew."""

_DRIFT = 1.25
"""How far the length of answers may move before a dollar is weighed anew."""

_NOT_THERE = -1e9
"""Quality of a model that could not be asked."""

_DAY, _HOUR = 86_400.0, 3_600.0


class Pace:
    """Remembers what was expected of late; safe to share between threads.

    Args:
        target: Of the router.
        logbook: Knows what was spent.
        rates: Of each of the router's models; `None` where no price is known.
        priors: Quality of each before anything was learnt, for a complexity.
    """

    def __init__(
        self,
        target: Target,
        logbook: Logbook,
        rates: Callable[[], Mapping[str, Rates | None]],
        priors: Callable[[float], Mapping[str, float]],
    ) -> None:
        self.target = target
        self.weight: float | None = None
        """As calibrated on known outcomes; `None`: not known yet."""
        self._logbook, self._rates, self._priors = logbook, rates, priors
        self._recent: deque[dict[str, tuple[float, float]]] = deque(maxlen=_LOOKED_BACK)
        self._gains: deque[float] = deque(maxlen=_GAINS)
        self._pace, self._until = 0.0, 0
        self._answers = dict[str, float]()  # tokens of answers by which `weight` was found
        self._seen = 0
        self.after_fork()
        on_fork(self)
        logbook.learner.listen(self)
        self.learnt()

    def after_fork(self) -> None:
        """Leave the lock to the parent: another thread of it may have held it."""
        self._changing = threading.Lock()

    def learnt(self) -> None:
        """Find out what a dollar is worth, now that more is known."""
        lessons, target = self._logbook.learner.lessons, self.target
        if lessons is None or target.strong_share is not None:
            return
        self._answers = answer_lengths(lessons[1].names, self._logbook.health)
        known = known_of(*lessons, self._rates(), self._priors, self._logbook.health)
        if known is not None:
            self.weight = calibrated(known, target.quality, confidence=target.confidence)

    def spared(self) -> tuple[str, Spared, int] | None:
        """Against which single model routing spares what, by how many known prompts."""
        lessons, rates = self._logbook.learner.lessons, self._rates()
        if lessons is None or self.weight is None:
            return None
        known = known_of(*lessons, rates, self._priors, self._logbook.health)
        if known is None:
            return None
        found = spared(known, self.weight)
        return _priced(lessons[1], rates)[found.single], found, len(known.scores)

    def terms(
        self, predictions: Sequence[Prediction], draw: float | None, stays: str | None
    ) -> Terms:
        """On what terms this request is decided."""
        if self._has_drifted():
            self.learnt()
        least, tied = self._least_gain(predictions)
        return Terms(
            weight=self.weight,
            pace=self._paced(predictions),
            least_gain=least,
            tied=tied,
            draw=draw if self.target.explore or least is not None else None,
            stays_with=stays,
        )

    def saw(self, predictions: Sequence[Prediction]) -> None:
        """Remember a request that is asked."""
        with self._changing:
            self._seen += 1
            self._gains.append(round(gain(predictions), 9))
            self._recent.append(_told(predictions))

    def _has_drifted(self) -> bool:
        """Whether a dollar buys other answers than when it was weighed."""
        answers = answer_lengths(list(self._answers), self._logbook.health)
        return any(
            not each / _DRIFT <= answers[name] <= each * _DRIFT
            for name, each in self._answers.items()
        )

    def _least_gain(self, predictions: Sequence[Prediction]) -> tuple[float | None, float]:
        """What the strongest must gain to be asked, and how many of those with just that gain."""
        share = self.target.strong_share
        if share is None:
            return None, 1.0
        if not share:
            return 2.0, 0.0  # beyond every gain
        with self._changing:
            ordered = sorted(self._gains)
        if len(ordered) < _FEW_GAINS:
            insort(ordered, round(gain(predictions), 9))
        number = len(ordered)
        least = ordered[min(number - 1, int((1 - share) * number))]
        above, equal = number - bisect_right(ordered, least), ordered.count(least)
        return least, min(1.0, max(0.0, (share * number - above) / equal))

    def _paced(self, predictions: Sequence[Prediction]) -> float | None:
        if self.target.dollars_per_day is None:
            return None
        with self._changing:
            is_due, recent = self._seen >= self._until, list(self._recent)
        if is_due:
            one = _told(predictions)
            self._pace = self._spread([*recent, one]) if one else 0.0
            self._until = self._seen + _AGAIN_AFTER
        return self._pace

    def _spread(self, recent: Sequence[dict[str, tuple[float, float]]]) -> float:
        """What a dollar is worth, that the day's last call has as many as this one."""
        now = self._logbook.clock()
        left = nano_dollars(self.target.dollars_per_day or 0) - self._logbook.spent_today()
        calls = max(1.0, self._logbook.calls_within(_HOUR) / _HOUR * (_DAY - now % _DAY))
        names = sorted({name for each in recent for name in each})
        told = np.array(
            [[each.get(name, (_NOT_THERE, 0.0)) for name in names] for each in recent], np.float64
        )
        return affordable(told[:, :, 0], told[:, :, 1], max(0.0, left / NANO / calls))


def _told(predictions: Sequence[Prediction]) -> dict[str, tuple[float, float]]:
    """Quality and dollars of the models that have a price, by their names."""
    return {
        each.name: (each.quality, each.cost / NANO) for each in predictions if each.cost is not None
    }


def known_of(
    model: QualityModel,
    lessons: Lessons,
    rates: Mapping[str, Rates | None],
    priors: Callable[[float], Mapping[str, float]],
    health: Health,
) -> Known | None:
    """What is known of the prompts that were learnt from, for the models that have a price.

    Returns:
        `None` if there are no two such models.
    """
    names = _priced(lessons, rates)
    if len(names) < 2:  # noqa: PLR2004 - nothing to choose between
        return None
    priced = [lessons.names.index(name) for name in names]
    tokens = np.repeat(lessons.input_tokens[:, np.newaxis], len(names), axis=1)
    hard = np.round(lessons.complexities, 2).tolist()
    before = {each: priors(each) for each in set(hard)}
    prior = np.array([[before[each][name] for name in names] for each in hard])
    left_out, base = model.left_out[:, priced], model.base[priced]
    numbers, usual = lessons.numbers[priced], prior.mean(axis=0)
    expected, _ = blended(left_out, base, numbers, prior, usual, np.ones(1))
    return Known(
        expected,
        lessons.scores[:, priced],
        lessons.propensities[:, priced],
        dollars_of(names, tokens, rates, health),
    )


def _priced(lessons: Lessons, rates: Mapping[str, Rates | None]) -> list[str]:
    return [name for name in lessons.names if rates.get(name) is not None]


def dollars_of(
    names: Sequence[str], tokens: Floats, rates: Mapping[str, Rates | None], health: Health
) -> Floats:
    """What calls are expected to cost, shape `(prompts, models)`.

    Args:
        names: The models.
        tokens: Of the prompts as each model counts them, of the same shape.
        rates: By the models' names.
        health: Knows how long answers are.

    Raises:
        ConfigurationError: If no price of a model is known.
    """
    costs, answers = np.empty_like(tokens), answer_lengths(names, health)
    for column, name in enumerate(names):
        rate = rates.get(name)
        if rate is None:
            msg = f"no price of {name!r} is known: give its choice one"
            raise ConfigurationError(msg)
        nanos = tokens[:, column] * rate.input + answers[name] * rate.output
        costs[:, column] = nanos / NANO / 1e6
    return costs
