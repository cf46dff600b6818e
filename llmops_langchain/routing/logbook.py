"""What one pool of routers decides and learns, in memory and in the rows it shares with others."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner
from llmops_langchain.routing.records import WEIGHTS, Outcome, Record, Source
from llmops_langchain.routing.rows import RoutingRows
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.ticking import ticking

__all__ = ["Logbook"]

logger = logging.getLogger(__name__)

_REMEMBERED = 10_000
"""Decisions in memory that can be explained and judged; also what may wait for the rows."""

_PATIENCE = 10.0
"""Seconds that `close` waits for a look that is under way."""

_DAY, _HOUR = 86_400.0, 3_600.0


class Logbook:
    """Decisions, outcomes and health of a pool of routers: at once in memory, soon in the rows.

    With rows a daemon thread, begun by the first decision, writes what is new and reads what other
    processes wrote, every `interval` seconds. An error of the database never reaches a caller of
    the router: it is counted in `failures` and logged once, and what waits is written the next
    time. Safe to share between threads.

    Args:
        learner: Is taught by the outcomes, of others too.
        health: Is told how models fare elsewhere.
        rows: What is shared; without, all lives and ends with this object.
        pool: Whose: routers of one pool learn together.
        clock: Returns seconds since the Unix epoch.
        interval: Seconds between two exchanges; `None` for no thread: then only `flush` does it.
    """

    def __init__(
        self,
        learner: Learner,
        health: Health,
        rows: RoutingRows | None = None,
        *,
        pool: str = "default",
        clock: Clock = system_clock,
        interval: float | None = 2.0,
    ) -> None:
        self.learner, self.health, self.pool, self.rows = learner, health, pool, rows
        self.clock = clock
        self.failures = 0
        """How often the database could not be read or written."""
        self._interval = interval
        self._recent: OrderedDict[UUID, Record] = OrderedDict()
        self._scores: dict[UUID, dict[str, Outcome]] = {}
        self._cursor, self._forgotten = 0, -1
        self._told = self._closed = False
        self._spent, self._calls, self._day = (
            0,
            0,
            0.0,
        )  # today and within the hour, as the rows say
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew in a forked child, which has no threads; its parent writes what waits."""
        self._changing, self._flushing = threading.Lock(), threading.RLock()
        self._waiting: OrderedDict[UUID, Record] = OrderedDict()
        self._judged: OrderedDict[tuple[UUID, str], Outcome] = OrderedDict()
        self._watch: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def decided(self, record: Record) -> None:
        """Keep a decision, or what became of it since."""
        with self._changing:
            self._recent[record.id] = record
            while len(self._recent) > _REMEMBERED:
                gone, _ = self._recent.popitem(last=False)
                self._scores.pop(gone, None)
            if self.rows is not None:
                self._waiting[record.id] = record
                while len(self._waiting) > _REMEMBERED:
                    self._waiting.popitem(last=False)
        if self._watch is None:
            self._begin()

    def judged(self, outcomes: Iterable[Outcome], *, fit: bool = True) -> None:
        """Learn from outcomes, and keep them."""
        told = list(outcomes)
        with self._changing:
            for each in told:
                self._scores.setdefault(each.decision_id, {})[each.choice] = each
                if self.rows is not None:
                    self._judged[each.decision_id, each.choice] = each
                    while len(self._judged) > _REMEMBERED:
                        self._judged.popitem(last=False)
        self.learner.learn(told, fit=fit)
        if self._watch is None:
            self._begin()

    def judge(self, record: Record, name: str, score: float, source: Source) -> None:
        """Learn how good one answer was; nothing, if its prompt was not embedded, or by another."""
        if record.seen is None or record.embedder not in (None, self.learner.embedder):
            return
        asked_first = name == record.choice
        outcome = Outcome(
            decision_id=record.id,
            choice=name,
            score=score,
            source=source,
            ts=self.clock(),
            seen=record.seen,
            input_tokens=record.input_tokens,
            # Who was asked after others had failed was asked for no reason that the prompt gave.
            propensity=record.propensity if asked_first else 1.0,
            weight=WEIGHTS[source],
            scope=record.scope,
        )
        self.judged([outcome])

    def find(self, run_id: UUID) -> Record | None:
        """The decision of a run, here or in the rows.

        Raises:
            StorageError: If it is not here and the database cannot say.
        """
        record = self.recent(run_id)
        if record is not None or self.rows is None:
            return record
        return self.rows.find(run_id)

    def recent(self, run_id: UUID) -> Record | None:
        """The decision of a run, if it is in memory."""
        return self._recent.get(run_id)

    def since(self, moment: float) -> list[tuple[Record, list[tuple[str, float]]]]:
        """Decisions from a moment on, each with its scores by the models' names.

        Raises:
            StorageError: If the database cannot say.
        """
        if self.rows is not None:
            self.exchange()
            return list(self.rows.since(self.pool, moment))
        with self._changing:
            recent = [each for each in self._recent.values() if each.ts >= moment]
            return [
                (each, [(name, told.score) for name, told in self._scores.get(each.id, {}).items()])
                for each in recent
            ]

    def spent_today(self) -> int:
        """Nano-dollars of the pool's calls since midnight UTC, of all processes as of late."""
        midnight = self.clock() // _DAY * _DAY
        with self._changing:
            mine = self._recent if self.rows is None else self._waiting
            fresh = sum(each.cost or 0 for each in mine.values() if each.ts >= midnight)
            return fresh + (self._spent if self._day == midnight else 0)

    def calls_within(self, seconds: float) -> int:
        """Calls of the pool in the last so many seconds, at most an hour of them, as of late."""
        since = self.clock() - seconds
        with self._changing:
            mine = self._recent if self.rows is None else self._waiting
            fresh = sum(each.ts >= since for each in mine.values())
            return fresh + self._calls

    def exchange(self) -> None:
        """Write what is new, and read what other processes wrote.

        Raises:
            StorageError: If the database cannot do it; what waits stays.
        """
        if self.rows is None:
            return
        with self._flushing:
            self._write(self.rows)
            self._read(self.rows)

    def exchange_if_used(self) -> None:
        """`exchange`, unless nothing was decided or learnt yet: that opens no database."""
        with self._flushing:  # the thread may have taken what waits, and not have written it yet
            if self._recent or self._judged or self._forgotten >= 0:
                self.exchange()

    def flush(self) -> None:
        """`exchange`, but an error is logged and counted."""
        try:
            self.exchange()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, calls go on
            self.failures += 1
            if not self._told and not self._closed:
                self._told = True
                logger.warning("what routers learn cannot be kept: %s", type(error).__name__)
        else:
            self._told = False

    def close(self) -> None:
        """Flush, and end the thread; call it before the database is closed."""
        self._closed = True
        if self._watch is not None:
            self._watch.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if self._waiting or self._judged:  # nothing learnt opens no database
            self.flush()

    def _write(self, rows: RoutingRows) -> None:
        with self._changing:
            waiting, self._waiting = self._waiting, OrderedDict()
            judged, self._judged = self._judged, OrderedDict()
        states = self.health.changes()
        if not (waiting or judged or states):
            return
        try:
            rows.write(
                self.pool,
                self._embedder(waiting.values(), judged.values()),
                decided=list(waiting.values()),
                judged=list(judged.values()),
                states=states,
            )
        except BaseException:
            with self._changing:
                # What came meanwhile is newer than what could not be written.
                self._waiting = OrderedDict({**waiting, **self._waiting})
                self._judged = OrderedDict({**judged, **self._judged})
            self.health.unsaid(states)
            raise

    def _read(self, rows: RoutingRows) -> None:
        midnight = self.clock() // _DAY * _DAY
        news = rows.news(self.pool, self.learner.embedder, self._cursor)
        if self._forgotten not in (-1, news.forgotten):
            self.learner.forget()
            with self._changing:
                self._recent.clear()
                self._scores.clear()
            news = rows.news(self.pool, self.learner.embedder, 0)
        self._forgotten, self._cursor = news.forgotten, news.cursor
        self.health.hear(news.states)
        if news.outcomes:
            self.learner.learn(news.outcomes)
        spent, calls = rows.spent(self.pool, midnight, self.clock() - _HOUR)
        with self._changing:
            self._spent, self._calls, self._day = spent, calls, midnight

    def _embedder(self, waiting: Iterable[Record], judged: Iterable[Outcome]) -> str | None:
        has_seen = any(each.seen is not None for each in waiting) or any(True for _ in judged)
        return self.learner.embedder if has_seen else None

    def _begin(self) -> None:
        """Start the thread, if there is one to start."""
        if self.rows is None or self._interval is None or self._closed:
            return
        with self._changing:
            if self._watch is None:
                self._watch, self._thread = ticking(self, self._interval, name="llmops-routing")
