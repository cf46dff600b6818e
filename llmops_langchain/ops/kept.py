"""What an `LLMOps` does at the end of a day: flush, close, keep house, forget."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from llmops_langchain.cache import RedisStore
from llmops_langchain.errors import StorageError
from llmops_langchain.ops.parts import Parts
from llmops_langchain.settings import Settings
from llmops_langchain.storage.kept import Subject

__all__ = ["Kept"]

_PATIENCE = 30.0
"""Seconds that a flush waits for judges and writers of a recorder."""


class Kept:
    """The part of `LLMOps` that looks after what is stored."""

    settings: Settings
    _parts: Parts

    def flush(self) -> None:
        """Bring everything recorded so far to the database, and learn from the runs that ended.

        Raises:
            StorageError: If the database cannot take it; the events stay in the journal.
        """
        self._parts.learning.settle(_PATIENCE)
        self._parts.ledger.flush()

    async def aflush(self) -> None:
        """`flush` in a worker thread."""
        await asyncio.to_thread(self.flush)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Flush when a web app shuts down: `FastAPI(lifespan=ops.lifespan)`."""
        try:
            yield
        finally:
            await self.aflush()

    def close(self) -> None:
        """Flush and close the database. If it is away, the journal keeps the events."""
        self._parts.cache.close()  # a judge at work may still ask a model
        self._parts.ledger.close()
        if self._parts.slices is not None:
            with suppress(StorageError):  # they are given back when their lease is long over
                self._parts.slices.close()
        self._parts.gate.close()
        self._parts.calibration.close()
        self._parts.logbooks.close()
        self._parts.learning.close()
        self._parts.prices.close()
        for store in self._parts.stores:
            if isinstance(store, RedisStore):
                store.close()
        self._parts.database.close()

    async def aclose(self) -> None:
        """`close` in a worker thread."""
        await asyncio.to_thread(self.close)

    def maintain(self, now: float | None = None) -> dict[str, dict[str, int]]:
        """One round of housekeeping, unless another process is at it: `llmops maintain`.

        Settles calls nobody heard of again, tells alerts that were not told, and deletes what is
        past its retention.

        Args:
            now: UTC seconds since the Unix epoch; by default what the clock says.

        Returns:
            What each part did, by part; nothing if another process has the turn.

        Raises:
            StorageError: If the database does not answer.
        """
        if self.settings.disabled:
            return {}
        self.flush()
        return self._parts.maintenance.run(now)

    def forget(
        self, *, user: str | None = None, thread: str | None = None, workspace: str | None = None
    ) -> dict[str, int]:
        """Forget a person, or one conversation, in every part; figures stay, without the name.

        Args:
            user: Whom.
            thread: Or which conversation: its `thread_id`.
            workspace: Of this tenant alone.

        Returns:
            How many rows that touched, by part.

        Raises:
            ConfigurationError: If not exactly one of `user` and `thread` is named.
            StorageError: If a part could not do it; the others have.
        """
        whom = Subject(user=user, thread=thread, workspace=workspace)
        if self.settings.disabled:
            return {}
        self.flush()
        return self._parts.maintenance.forget(whom)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
