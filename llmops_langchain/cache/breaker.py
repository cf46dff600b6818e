"""Leave a store alone that fails, and say so once a minute."""

import logging

from llmops_langchain.clock import Clock
from llmops_langchain.errors import LLMOpsError, StorageError

__all__ = ["Breaker"]

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_WARNINGS = 60.0

_PAUSE = 5.0
"""Seconds a store is left alone after it failed, so that not every call waits for it."""


class Breaker:
    """Whether a store may be asked; open for a few seconds after each failure of it.

    Args:
        clock: Returns seconds since the Unix epoch.
        what: What it guards, for the log.
    """

    def __init__(self, clock: Clock, what: str = "the cache") -> None:
        self._clock, self._what = clock, what
        self._warned_at = self._resumes_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether the store failed a moment ago and is left alone."""
        return self._clock() < self._resumes_at

    def failed(self, error: Exception) -> None:
        """Note a failure, and log it at most once a minute: its class and the store's own words.

        Whatever is no `StorageError` (a row that cannot be read) does not open the breaker.
        """
        if isinstance(error, StorageError):
            self.open()
        self.warn(error if isinstance(error, LLMOpsError) else type(error).__name__)

    def open(self) -> None:
        """Leave it alone for a while."""
        self._resumes_at = self._clock() + _PAUSE

    def warn(self, said: object) -> None:
        """Log at most once a minute why something is not served."""
        now = self._clock()
        if now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            logger.warning("%s failed, and is passed by: %s", self._what, said)
