"""Wait once for a database that does not answer, however many want something of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from llmops_langchain.errors import StorageError

__all__ = ["SharedFailure"]


class SharedFailure:
    """A failure is that of all who were queueing when it happened: each would wait as long.

    Example:
        >>> failure = SharedFailure()
        >>> since = time.monotonic()
        >>> with failure.shared_by(since):
        ...     print("the database answers")
        the database answers
    """

    def __init__(self) -> None:
        self._at = -inf

    @contextmanager
    def shared_by(self, since: float) -> Iterator[None]:
        """Let in who queues since then, by the monotonic clock, and note whether it fails.

        Raises:
            StorageError: If another failed meanwhile.
        """
        if since < self._at:
            msg = "the database did not answer another call meanwhile"
            raise StorageError(msg)
        try:
            yield
        except StorageError:
            self._at = time.monotonic()
            raise
