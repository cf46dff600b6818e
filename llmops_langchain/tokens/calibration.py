"""Learn from the providers' own counts how far off the predicted ones are, model by model."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import case, select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.schema import token_calibration as learnt
from llmops_langchain.storage.ticking import ticking

__all__ = ["Calibration"]

logger = logging.getLogger(__name__)

LOWEST, HIGHEST = 0.5, 2.5
"""Bounds of a ratio: what is further off is no matter of the vocabulary."""
MEMORY = 20.0
"""Replies that count: a model's ratio follows a change of what it is sent within about so many."""
_SMALL = 100
"""A prompt predicted to have so many tokens weighs half as much as a large one: what its format
adds is not known to the token."""
_DOUBT = 0.1
"""Replies' worth of a prior that the prediction is right."""
_SETTLED = 3.0
"""From so many replies on one reply is taken to be off by at most `_STEP` from the rest: an image
of an unknown size, or a prompt that the provider added to."""
_STEP = 1.25
_PATIENCE = 10.0  # seconds that `close` waits for a look that is under way


@dataclass(frozen=True, slots=True)
class _Known:
    """What the replies seen so far say."""

    ratio: float = 1.0
    replies: float = 0.0
    """How many, a small prompt as less than one; at most `MEMORY`."""

    def with_more(self, more: "_Known") -> "_Known":
        """This and newer replies together; the statement `_merge` does the same to a row."""
        replies = self.replies + more.replies
        if not replies:
            return self
        ratio = (self.ratio * self.replies + more.ratio * more.replies) / replies
        return _Known(ratio, min(MEMORY, replies))


class _Reply(NamedTuple):
    ratio: float
    weight: float


class Calibration:
    """How many tokens of a model there are for each predicted one, from its own `usage_metadata`.

    The estimate is two-sided and robust: of the replies since the last `flush` it takes the
    median, joined with what was learnt before; each ratio is held between 0.5 and 2.5. After
    three replies to prompts of usual size little of a constant error is left.

    With a database, what every process learns is shared: a daemon thread, started by the first
    reply or question, reads at once and then flushes every `interval` seconds. Without one,
    what is learnt lives with this object. Safe to share between threads; an error of the
    database never reaches the caller: it is counted in `failures`, logged once, and what was
    learnt is kept for the next time.

    Args:
        database: Keeps a row a model.
        clock: Returns seconds since the Unix epoch.
        interval: Seconds between two flushes of the thread; `None` for no thread: then only
            `flush` reads and writes.

    Raises:
        ConfigurationError: If `interval` is not positive.

    Example:
        >>> calibration = Calibration()
        >>> for _ in range(3):
        ...     calibration.observe("claude-opus-4-5", predicted=1000, actual=1200)
        >>> round(calibration.factor("claude-opus-4-5"), 2)
        1.19
        >>> calibration.factor("a model never asked")
        1.0
    """

    def __init__(
        self,
        database: Database | None = None,
        *,
        clock: Clock = system_clock,
        interval: float | None = 60.0,
    ) -> None:
        if interval is not None and not interval > 0:
            msg = f"`interval` is in seconds and must be positive, got {interval!r}"
            raise ConfigurationError(msg)
        self.failures = 0
        """How often the database could not be read or written."""
        self._database, self._clock, self._interval = database, clock, interval
        self._told = self._closed = False
        self._base: Mapping[str, _Known] = {}
        self._fresh: dict[str, list[_Reply]] = {}  # since the last flush
        self._factors: dict[str, float] = {}
        self.after_fork()
        on_fork(self)

    def factor(self, model: str) -> float:
        """The model's tokens for each predicted one, 0.5 to 2.5; 1.0 where nothing is known.

        It waits for nothing: one look into a dictionary.
        """
        if self._watch is None:
            self._begin()
        return self._factors.get(model, 1.0)

    def observe(self, model: str, predicted: int, actual: int, *, weight: float = 1.0) -> None:
        """Learn from one reply; it waits for nothing.

        Args:
            model: Whose reply; any name, as long as `factor` is asked by the same.
            predicted: Tokens that were predicted for the prompt, without this correction.
            actual: The provider's own count (`usage_metadata["input_tokens"]`).
            weight: The share of the prompt that is text, 0 to 1: say less where images, sound or
                files make up much of it, since their amount is guessed.
        """
        if predicted <= 0 or actual <= 0 or weight <= 0:
            return
        weight = min(weight, 1.0) * predicted / (predicted + _SMALL)
        with self._changing:
            ratio = _held(actual / predicted, self._base.get(model, _NOTHING))
            replies = self._fresh.setdefault(model, [])
            replies.append(_Reply(ratio, weight))
            del replies[: -int(MEMORY)]
            self._estimate(model)
        if self._watch is None:
            self._begin()

    def flush(self) -> None:
        """Write what was learnt since the last time, and read what others learnt.

        Each model's row is merged by one statement, whoever else writes at the same time.
        Nothing happens without a database. It never raises.
        """
        if self._database is None:
            return
        with self._flushing:
            with self._changing:
                writing = {model: _summary(replies) for model, replies in self._fresh.items()}
                sizes = {model: len(replies) for model, replies in self._fresh.items()}
            try:
                known = self._exchanged(self._database, writing)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, calls go on
                self._fail(error)
            else:
                self._take(known, sizes)

    def close(self) -> None:
        """Flush, and end the thread; call it before the database is closed."""
        self._closed = True
        if self._watch is not None:
            self._watch.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if any(self._fresh.values()):  # nothing learnt opens no database
            self.flush()

    def after_fork(self) -> None:
        """Start anew in a forked child, which has no threads; its parent writes what it learnt."""
        if self._database is not None:
            self._fresh = {}
        self._changing, self._flushing = threading.Lock(), threading.Lock()
        self._watch: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def _estimate(self, model: str) -> None:
        replies = self._fresh.get(model, [])
        known = self._base.get(model, _NOTHING)
        joined = _Known(1.0, _DOUBT).with_more(known).with_more(_summary(replies))
        self._factors[model] = min(max(joined.ratio, LOWEST), HIGHEST)

    def _exchanged(self, database: Database, writing: Mapping[str, _Known]) -> dict[str, _Known]:
        now = self._clock()
        rows = [
            {"model": model, "ratio": known.ratio, "replies": known.replies, "updated": now}
            # In one order everywhere, so that processes do not wait for each other in a circle.
            for model, known in sorted(writing.items())
        ]
        with database.begin(read_only=not rows) as connection:
            if rows:
                connection.execute(_merge(database.is_sqlite), rows)
            return {row.model: _Known(row.ratio, row.replies) for row in connection.execute(_ALL)}

    def _take(self, known: Mapping[str, _Known], written: Mapping[str, int]) -> None:
        with self._changing:
            self._base, self._told = known, False
            for model, size in written.items():
                self._fresh[model] = self._fresh[model][size:]
            for model in {*known, *self._fresh}:
                self._estimate(model)

    def _fail(self, error: Exception) -> None:
        self.failures += 1
        if not self._told and not self._closed:
            self._told = True
            logger.warning("token calibration cannot be kept: %s", type(error).__name__)

    def _begin(self) -> None:
        """Start the thread that reads at once and then flushes, if there is one to start."""
        if self._database is None or self._interval is None or self._closed:
            return
        with self._changing:
            if self._watch is None:
                self._watch, self._thread = ticking(self, self._interval, name="llmops-calibration")


_NOTHING = _Known()
_ALL = select(learnt.c.model, learnt.c.ratio, learnt.c.replies)


def _held(ratio: float, known: _Known) -> float:
    """A ratio within bounds, and near what is known once that is settled."""
    ratio = min(max(ratio, LOWEST), HIGHEST)
    if known.replies < _SETTLED:
        return ratio
    return min(max(ratio, known.ratio / _STEP), known.ratio * _STEP)


def _summary(replies: list[_Reply]) -> _Known:
    """The weighted median of some replies, and what they weigh."""
    total = sum(reply.weight for reply in replies)
    if not total:
        return _NOTHING
    below, ordered = 0.0, sorted(replies)
    for at, (ratio, weight) in enumerate(ordered):
        below += weight
        if below * 2 == total and at + 1 < len(ordered):
            return _Known((ratio + ordered[at + 1].ratio) / 2, total)
        if below * 2 >= total:
            return _Known(ratio, total)
    return _Known(ordered[-1].ratio, total)  # sums of floats may fall short


@cache
def _merge(is_sqlite: bool) -> Any:  # noqa: FBT001 - a key of the cache
    """The upsert that joins a row with newer replies, as `_Known.with_more` does."""
    insert: Any = (sqlite.insert if is_sqlite else postgresql.insert)(learnt)
    new, old = insert.excluded, learnt.c
    replies = old.replies + new.replies
    changes = {
        "ratio": (old.ratio * old.replies + new.ratio * new.replies) / replies,
        "replies": case((replies > MEMORY, MEMORY), else_=replies),
        "updated": new.updated,
    }
    return insert.on_conflict_do_update(index_elements=["model"], set_=changes)
