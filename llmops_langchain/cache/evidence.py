"""What labels prove about a threshold, and when they speak against it: tests valid at any time.

Everything here depends on the labels and their order alone, so that processes which read the same
labels come to the same result.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from math import exp, lgamma, log, log1p
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Complaints", "Drift", "Label", "Openings", "Source", "Votes", "upper_bound"]

Source = Literal["shadow", "review", "feedback"]

_PATIENCE: Final = 20.0
"""Labels before an alarm, on average and at least, while exactly `max_error` are wrong: as many as
bring 20 wrong ones."""
_EXACT: Final = 1e-15
"""Relative change at which a continued fraction is at its end."""
_VOTES: Final = 3
"""Labels of one person that count before any share is looked at."""


class Label(NamedTuple):
    """Whether a kept answer served a question it was found for by meaning."""

    score: float
    """The verifier's, 0 to 1."""
    correct: bool
    source: Source
    """`shadow`: a judge compared the kept with a fresh answer; `review`: a person did so. Both are
    of calls drawn at random. `feedback`: somebody spoke up about an answer that was served."""
    by: str | None
    """Who says so; `None` for the app itself."""
    ts: float
    """When it was said, seconds since the Unix epoch."""

    @property
    def is_sampled(self) -> bool:
        """Whether the call was drawn at random, whatever its score and its outcome."""
        return self.source != "feedback"


class Openings:
    """Tests, one a threshold, of "at least `max_error` of the answers at or above it are wrong".

    Each test is a mixture of likelihood ratios of error rates below `max_error` against `max_error`
    itself. If every label is wrong with at least that probability given the ones before, it is a
    supermartingale, and the probability that it ever passes 1/delta is at most delta (Ville, 1939;
    Ramdas, Grünwald, Vovk and Shafer, 2023): one may look after each label.

    A test that has gone badly is given up and begun anew with a smaller share of its delta, so
    that a bad week does not have to be outweighed. The tests share their delta by the fallback
    procedure (Wiens and Dmitrienko, 2005): from strict to low, a threshold that is proven hands its
    share on to the next. The probability that any threshold is ever proven wrongly is at most
    `1 - confidence`, for labels of one distribution.

    Args:
        thresholds: From strict to low.
        shares: Of `1 - confidence`, one a threshold; they add up to 1.
        max_error: Share of wrong answers that is to be undercut.
        confidence: Probability with which no threshold is proven wrongly.
    """

    _RATES: Final = np.array([0.01, 0.1, 0.25, 0.5, 0.75])
    """The error rates of the mixture, as shares of `max_error`."""
    _WEIGHTS: Final = np.array([0.4, 0.2, 0.2, 0.1, 0.1])
    _GIVEN_UP: Final = log(1 / 20)
    """Evidence, as a logarithm, at which a test is begun anew."""
    _FIRST: Final = 0.8
    """Share of its delta that the first test of a threshold has."""

    def __init__(
        self,
        thresholds: Sequence[float],
        shares: Sequence[float],
        *,
        max_error: float,
        confidence: float,
    ) -> None:
        self.thresholds = tuple(thresholds)
        self._shares, self._delta = tuple(shares), 1 - confidence
        self._if_wrong = np.log(self._RATES)
        self._if_correct = np.log((1 - self._RATES * max_error) / (1 - max_error))
        self._labels, self._wrong = np.zeros((2, len(thresholds), 1))
        self._attempts = np.zeros(len(thresholds), dtype=int)
        self._log_shares = np.full(len(thresholds), log(self._FIRST))
        self._best = np.full(len(thresholds), -np.inf)
        self._proven = [False] * len(thresholds)
        self.lowest: float | None = None

    def add(self, strictest: int, *, correct: bool) -> None:
        """Take in a label of a call drawn at random.

        Args:
            strictest: Position of the strictest threshold that its score reaches.
            correct: Whether the kept answer was right.
        """
        self._labels[strictest:] += 1
        if not correct:
            self._wrong[strictest:] += 1
            self._give_up()
        elif not all(self._proven[strictest:]):
            shown = self._evidence() + self._log_shares
            if (shown > self._best).any():
                np.maximum(self._best, shown, out=self._best)
                self._prove()

    def needed(self) -> int:
        """Correct labels, scored high enough for every threshold, until the first is proven."""
        fewest = 1
        while not self._is_proven_after(fewest):
            fewest *= 2
        low = fewest // 2
        while fewest - low > 1:
            middle = (low + fewest) // 2
            low, fewest = (low, middle) if self._is_proven_after(middle) else (middle, fewest)
        return fewest

    def _evidence(self, more: int = 0) -> NDArray[np.float64]:
        """Logarithm of each test, as if so many more correct labels had come."""
        correct = self._labels - self._wrong + more
        parts = self._wrong * self._if_wrong + correct * self._if_correct
        # No part is large enough to overflow unless the test is proven many times over.
        total: NDArray[np.float64] = np.log(np.exp(np.minimum(parts, 700.0)) @ self._WEIGHTS)
        return total

    def _prove(self) -> None:
        """Let proven thresholds hand on what they may spend, to the next lower one each."""
        tests = zip(self._levels(), self._best.tolist(), strict=True)
        self._proven = [level > 0 and best >= -log(level) for level, best in tests]
        proven = [at for at, is_so in zip(self.thresholds, self._proven, strict=True) if is_so]
        self.lowest = proven[-1] if proven else None

    def _levels(self) -> Iterator[float]:
        """What each threshold may spend of delta: its share, and that of proven stricter ones."""
        handed_on = 0.0
        for share, best in zip(self._shares, self._best.tolist(), strict=True):
            level = (share + handed_on) * self._delta
            yield level
            handed_on = share + handed_on if level > 0 and best >= -log(level) else 0.0

    def _is_proven_after(self, more: int) -> bool:
        tests = zip(self._levels(), (self._evidence(more) + self._log_shares).tolist(), strict=True)
        return any(level > 0 and each >= -log(level) for level, each in tests)

    def _give_up(self) -> None:
        """Begin those tests anew that have gone badly, with a smaller share: .8, .1, .033, …."""
        for lost in np.flatnonzero(self._evidence() <= self._GIVEN_UP).tolist():
            self._attempts[lost] += 1
            attempt = int(self._attempts[lost])
            self._log_shares[lost] = log((1 - self._FIRST) / (attempt * (attempt + 1)))
            self._labels[lost] = self._wrong[lost] = 0


class Drift:
    """Whether labels of calls drawn at random say that more than `max_error` are wrong by now.

    A mixture of CUSUM statistics (Page, 1954), each the likelihood ratio of an error rate above
    `max_error` against `max_error` itself, begun anew whenever it speaks for the latter. While
    every label is wrong with at most that probability, the mean time to an alarm is at least
    `20 / max_error` labels (Lorden, 1971; an e-detector: Shin, Ramdas and Rinaldo, 2024).

    Args:
        max_error: Share of wrong answers that is not to be passed.
    """

    _RATES: Final = (1.5, 2.5, 4.0, 8.0)
    """The error rates of the mixture, in multiples of `max_error`."""

    def __init__(self, max_error: float) -> None:
        rates = [min(times * max_error, (1 + max_error) / 2) for times in self._RATES]
        self._if_wrong = [rate / max_error for rate in rates]
        self._if_correct = [(1 - rate) / (1 - max_error) for rate in rates]
        self._alarm = log(_PATIENCE / max_error)
        self._ratios = [1.0] * len(rates)

    @property
    def level(self) -> float:
        """Evidence, 0 to 1; 1 is an alarm."""
        mean = sum(self._ratios) / len(self._ratios)
        return min(log(max(mean, 1.0)) / self._alarm, 1.0)

    def add(self, *, correct: bool) -> None:
        """Take in a label."""
        factors = self._if_correct if correct else self._if_wrong
        pairs = zip(self._ratios, factors, strict=True)
        self._ratios = [max(each, 1.0) * factor for each, factor in pairs]


class Complaints:
    """Whether served answers are called wrong more often than `max_error`.

    Those who speak up choose themselves, so their word is set against the number of answers
    served, not against the praise: complaints are some of the wrong answers, so more of them than
    `max_error` of the served prove too many wrong ones, however few people complain. This is the
    CUSUM of a count (Lucas, 1985): complaints at three times the permitted rate against those at
    the permitted one.

    A person counts for three complaints until calm has returned, which is as many as are ignored:
    alone nobody changes anything. Of the praise a person counts for no more than half.

    Args:
        max_error: Share of wrong answers that is not to be passed.
    """

    _TIMES: Final = 3.0
    _MOST: Final = 0.5
    """Share of the praise that one person may have."""

    def __init__(self, max_error: float) -> None:
        self._worth = (self._TIMES - 1) * max_error
        self._ignored = _VOTES * log(self._TIMES)
        self._alarm = log(_PATIENCE / max_error) + self._ignored
        self._total = 0.0
        self._wrong: Counter[str | None] = Counter()
        self._praise: Counter[str | None] = Counter()

    @property
    def level(self) -> float:
        """Evidence, 0 to 1; 1 is an alarm."""
        return max((self._total - self._ignored) / (self._alarm - self._ignored), 0.0)

    def served(self, answers: float) -> None:
        """Take in that so many answers were served."""
        self._total = max(self._total - self._worth * answers, 0.0)
        if not self._total:
            self._wrong.clear()
            self._praise.clear()

    def add(self, *, correct: bool, by: str | None) -> bool:
        """Take in what somebody says of a served answer; whether it counts."""
        said, most = self._wrong, float(_VOTES)
        if correct:
            said, most = self._praise, max(most, self._MOST * (self._praise.total() + 1))
        if by is not None and said[by] + 1 > most:
            return False
        said[by] += 1
        if correct:
            self.served(1)
        else:
            self._total = min(self._total + log(self._TIMES), self._alarm)
        return True


class Votes:
    """Lets one person have no more than half of the permitted error of the labels drawn at random.

    Of the last `6 / max_error` labels that count, three may be of the same person.

    Args:
        max_error: The permitted error.
    """

    def __init__(self, max_error: float) -> None:
        self._recent: deque[str | None] = deque(maxlen=round(2 * _VOTES / max_error))

    def admits(self, by: str | None) -> bool:
        """Whether a label counts; if so it is one of the last."""
        if by is not None and self._recent.count(by) >= _VOTES:
            return False
        self._recent.append(by)
        return True


def upper_bound(wrong: int, labels: int, confidence: float) -> float:
    """Return the error rate that is not passed, with this confidence, after so many wrong of all.

    The one-sided bound of Clopper and Pearson (1934), 1 without labels. It is exact for a number
    of labels fixed beforehand.

    Example:
        >>> round(upper_bound(0, 59, 0.95), 4)
        0.0495
    """
    if wrong >= labels:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        is_above = _beta_share(wrong + 1, labels - wrong, middle) >= confidence
        low, high = (low, middle) if is_above else (middle, high)
    return high


def _beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (DLMF 8.17.22)."""
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, 1 - x)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, 10_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            c, d = 1 + numerator / c, 1 / (1 + numerator * d)
            total *= c * d
        if abs(c * d - 1) < _EXACT:
            break
    return front * total
