"""The logbooks of an app: one for each pool of routers and embedder."""

import threading
from collections.abc import Callable

from langchain_core.embeddings import Embeddings

from llmops_langchain.clock import Clock
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner
from llmops_langchain.routing.logbook import Logbook
from llmops_langchain.routing.rows import RoutingRows
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.kept import Done, Subject

__all__ = ["Logbooks"]


class Logbooks:
    """Routers of one pool share what they learn, what they decided, and who failed of late.

    Args:
        rows: Where processes share it; without, it lives in this one.
        embeddings: Makes the embedder of pools that name none, when it is needed.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self, rows: RoutingRows | None, embeddings: Callable[[], Embeddings], *, clock: Clock
    ) -> None:
        self._rows, self._embeddings, self._clock = rows, embeddings, clock
        self._made: dict[tuple[str, int | None], Logbook] = {}
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave the lock to the parent: another thread of it may have held it."""
        self._making = threading.Lock()

    def of(self, pool: str, embeddings: Embeddings | None = None) -> Logbook:
        """The logbook of a pool."""
        key = pool, None if embeddings is None else id(embeddings)
        with self._making:
            if key not in self._made:
                learner = Learner(self._clock, embeddings or self._embeddings)
                self._made[key] = Logbook(
                    learner, Health(self._clock), self._rows, pool=pool, clock=self._clock
                )
            return self._made[key]

    def flush(self) -> None:
        """Bring what is new to the rows, and take in what others wrote.

        Raises:
            StorageError: If the database cannot take it; it waits for the next time.
        """
        for each in list(self._made.values()):
            each.exchange_if_used()

    def close(self) -> None:
        """Flush, and end the threads; call it before the database is closed."""
        for each in list(self._made.values()):
            each.close()

    def maintain(self, now: float) -> Done:
        """Let go what is past its retention."""
        return {} if self._rows is None else self._rows.maintain(now)

    def forget(self, whom: Subject) -> int:
        """Delete the decisions and outcomes of a person or a conversation; how many there were."""
        touched = 0 if self._rows is None else self._rows.forget(whom)
        self.flush()  # what is in memory is read again
        return touched
