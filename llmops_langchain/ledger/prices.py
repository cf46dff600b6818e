"""Prices set by hand that every process keeps to, and the calls for which there was none."""

import builtins
import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, select, true
from sqlalchemy.dialects import postgresql, sqlite
from typing_extensions import override

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger.event import EMBEDDING, LLM_CALL
from llmops_langchain.models import PriceBook, PriceOverride, dollars, nano_dollars
from llmops_langchain.models.overrides import Overrides, PriceKey
from llmops_langchain.models.prices import nothing_set
from llmops_langchain.storage import Database
from llmops_langchain.storage.schema import events, generations, prices

__all__ = ["StoredPrices", "UnpricedModel"]

logger = logging.getLogger(__name__)

_NAME = "prices"  # of the counter of changes
_DAY = 86_400.0
_PATIENCE = 10.0  # seconds that `close` waits for a first look that is under way
_AMOUNTS = ("input", "output", "cached", "written")

_GENERATION = select(generations.c.value).where(generations.c.name == bindparam("name"))
_ALL = select(prices)
_DROPPED = delete(prices).where(
    *(prices.c[name] == bindparam(f"of_{name}") for name in ("provider", "model", "tier"))
)
_DROPPED_AT = _DROPPED.where(prices.c.valid_from == bindparam("since"))
_UNPRICED = (
    select(
        events.c.model,
        events.c.provider,
        func.count().label("calls"),
        func.sum(events.c.input_tokens).label("input_tokens"),
        func.sum(events.c.output_tokens).label("output_tokens"),
    )
    # The index on (name, ts) leads to the calls of these days.
    .where(
        events.c.name.in_((LLM_CALL, EMBEDDING)),
        events.c.ts >= bindparam("since"),
        events.c.unpriced == true(),
    )
    .group_by(events.c.model, events.c.provider)
    .order_by(func.count().desc(), events.c.model, events.c.provider)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedModel:
    """A model whose price nobody knew when its calls were recorded.

    They cost nothing in the events, or what the fallback price says.
    """

    model: str | None
    """Its name as the provider gave it: what to call `set` with."""
    provider: str | None
    """Who served it."""
    calls: int
    """How many calls there were."""
    input_tokens: int
    """What they sent."""
    output_tokens: int
    """What they were answered."""


class StoredPrices(PriceBook):
    """A `PriceBook` whose own prices are kept in the database, for every process that uses it.

    What `set`, `discount` and `remove` change holds in this process when they return, and in others
    within about a second: while prices are looked up, a daemon thread asks for a counter. Nothing
    is opened before the first look-up, which reads all of them; no later one waits for the
    database. While it is away, what was read last is used, and changes are refused.

    Args:
        database: Where prices are kept.
        fallback: US dollars per million tokens in and out of a model without any price.
        clock: Returns seconds since the Unix epoch.
        interval: Seconds between two looks at the counter.

    Example:
        >>> with Database("sqlite://") as database:
        ...     ops_prices = StoredPrices(database)
        ...     ops_prices.discount("openai", "0.8")
        ...     print([(each.provider, each.factor) for each in ops_prices.list()])
        [('openai', Decimal('0.8'))]
    """

    def __init__(
        self,
        database: Database,
        *,
        fallback: tuple[Decimal, Decimal] | None = None,
        clock: Clock = system_clock,
        interval: float = 1.0,
    ) -> None:
        if not interval > 0:
            msg = f"`interval` is in seconds and must be positive, got {interval!r}"
            raise ConfigurationError(msg)
        self._database, self._interval = database, interval
        # Only this process, and who shares its `Database`, can change one in memory.
        self._alone = database.is_sqlite and database.path is None
        self._insert: Any = sqlite.insert if database.is_sqlite else postgresql.insert
        self._tried = self._told = self._closed = False
        self._seen: int | None = None
        super().__init__(fallback=fallback, clock=clock)

    @override
    def after_fork(self) -> None:
        super().after_fork()
        self._watch: threading.Event | None = None
        self._reader: threading.Thread | None = None
        self._looked = -inf
        if self._alone and self._seen is not None:
            self._seen = 0  # the child's database in memory is empty; what is known here holds

    @override
    def list(self) -> builtins.list[PriceOverride]:
        """Every price and discount that was set, those to come and those of the past too.

        If the database is away: what was read last.
        """
        self._prepare()
        self.refresh()
        return super().list()

    def read_ahead(self) -> None:
        """Begin to read them in a thread, so that the first look-up does not wait; at once over.

        An event loop is then not held up when the tables are still to be made.
        """
        if not self._tried and self._reader is None:
            self._reader = threading.Thread(target=self._prepare, name="llmops-prices", daemon=True)
            self._reader.start()

    def refresh(self, *, max_age: float = 0.0) -> None:
        """Take in what other processes changed, by one small query; nothing before the first use.

        It never raises: if the database is away, what is known goes on to hold.

        Args:
            max_age: Do nothing if the last look was less than so many seconds ago.
        """
        if self._tried and (not max_age or time.monotonic() - self._looked >= max_age):
            self._look()

    def unpriced(self, days: float = 30) -> builtins.list[UnpricedModel]:
        """Models of the last `days` whose calls were recorded without a price, most calls first.

        A price set since does not change what was recorded.

        Args:
            days: How far back, in days of 24 hours.

        Raises:
            ConfigurationError: If `days` is not positive.
            StorageError: If the database cannot answer.
        """
        if not days > 0:
            msg = f"`days` must be positive, got {days!r}"
            raise ConfigurationError(msg)
        since = self._clock() - days * _DAY
        with self._database.begin(read_only=True) as connection:
            rows = connection.execute(_UNPRICED, {"since": since}).mappings()
            return [UnpricedModel(**row) for row in rows]

    def close(self) -> None:
        """End the thread; call it before the database is closed. Prices are known as before."""
        self._closed = True
        if self._reader is not None:
            self._reader.join(_PATIENCE)
        if self._watch is not None:
            self._watch.set()

    @override
    def _prepare(self) -> None:
        is_watched = self._alone or self._closed or self._watch is not None
        if self._tried and is_watched:
            return
        self._look()  # in a forked child too: nobody has looked since the fork
        self._tried = True
        with self._changing:
            if not is_watched and self._watch is None:
                self._watch = _watch(self, self._interval)

    @override
    def _put(self, entry: PriceOverride) -> None:
        def write(connection: Connection) -> None:
            row = _row(entry)
            insert = self._insert(prices).values(row)
            key = [column.name for column in prices.primary_key]
            new = {name: insert.excluded[name] for name in row if name not in key}
            connection.execute(insert.on_conflict_do_update(index_elements=key, set_=new))

        self._change(write, lambda known: known.put(entry))

    @override
    def _drop(self, key: PriceKey, valid_from: float | None) -> None:
        def write(connection: Connection) -> None:
            named = dict(zip(("of_provider", "of_model", "of_tier"), key, strict=True))
            if valid_from is None:
                done = connection.execute(_DROPPED, named)
            else:
                done = connection.execute(_DROPPED_AT, {**named, "since": valid_from})
            if not done.rowcount:
                raise nothing_set(key, valid_from)

        self._change(write, lambda known: known.without(key, valid_from))

    def _change(
        self, write: Callable[[Connection], None], change: Callable[[Overrides], Overrides]
    ) -> None:
        """Change rows and count it, in one transaction; then the same in memory."""
        looked = time.monotonic()
        with self._database.begin() as connection:
            # First: on PostgreSQL who comes second waits here, and then reads all that is there.
            generation = self._counted(connection)
            write(connection)
            known = None if generation == _after(self._seen) else _known(connection)
        with self._changing:
            if known is not None:
                self._take(generation, known)
            elif generation == _after(self._seen):
                self._take(generation, change(self._overrides))
        self._tried, self._looked = True, looked

    def _counted(self, connection: Connection) -> int:
        first = self._insert(generations).values(name=_NAME, value=1)
        more = {"value": generations.c.value + 1}
        connection.execute(first.on_conflict_do_update(index_elements=["name"], set_=more))
        generation: int = connection.execute(_GENERATION, {"name": _NAME}).scalar_one()
        return generation

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            if self._seen is None or self._generation() > self._seen:
                generation, known = self._read()
                with self._changing:
                    self._take(generation, known)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, calls go on
            self._tell_once(error)
        else:
            self._told = False

    def _generation(self) -> int:
        row = self._database.read_one(_GENERATION, name=_NAME)
        return 0 if row is None else int(row[0])

    def _read(self) -> tuple[int, Overrides]:
        with self._database.begin(read_only=True) as connection:
            # The counter first: rows that are newer than it are only read again.
            generation = connection.execute(_GENERATION, {"name": _NAME}).scalar() or 0
            return generation, _known(connection)

    def _take(self, generation: int, known: Overrides) -> None:
        """Use what was read, unless something later was taken in meanwhile."""
        if self._seen is None or generation > self._seen:
            self._use(known)
            self._seen = generation

    def _tell_once(self, error: Exception) -> None:
        if not self._told and not self._closed:
            self._told = True
            # Its class alone: the text of an error may quote what was stored.
            logger.warning("prices set by hand cannot be read: %s", type(error).__name__)


def _after(generation: int | None) -> int | None:
    return None if generation is None else generation + 1


def _known(connection: Connection) -> Overrides:
    return Overrides(map(_entry, connection.execute(_ALL)))


def _row(entry: PriceOverride) -> dict[str, object]:
    provider, model, tier = entry.key
    amounts = {name: getattr(entry, f"{name}_per_million") for name in _AMOUNTS}
    return {
        "provider": provider,
        "model": model,
        "tier": tier,
        "valid_from": entry.valid_from,
        **{name: None if each is None else nano_dollars(each) for name, each in amounts.items()},
        "factor": None if entry.factor is None else float(entry.factor),
        "changed_at": entry.changed_at,
    }


def _entry(row: Row[Any]) -> PriceOverride:
    amounts = {f"{name}_per_million": getattr(row, name) for name in _AMOUNTS}
    return PriceOverride(
        provider=row.provider or None,
        model=row.model,
        tier=row.tier or None,
        valid_from=row.valid_from,
        **{name: None if nano is None else dollars(nano) for name, nano in amounts.items()},
        factor=None if row.factor is None else Decimal(str(row.factor)),
        changed_at=row.changed_at,
    )


def _watch(book: StoredPrices, interval: float) -> threading.Event:
    """Refresh it once an interval for as long as it is there; what ends that."""
    over, there = threading.Event(), weakref.ref(book)
    weakref.finalize(book, over.set).atexit = False

    def look() -> None:
        while not over.wait(interval) and (known := there()) is not None:
            known.refresh()
            del known

    threading.Thread(target=look, name="llmops-prices", daemon=True).start()
    return over
