"""Tasks as vectors, by an embedder that is made when it is first needed and may fail."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from llmops_langchain.embeddings import identity, unit
from llmops_langchain.learning.row_form import Vector

__all__ = ["Embedder"]

logger = logging.getLogger(__name__)

_READ = 4_000
"""Characters of a task that are embedded: models read a few hundred tokens of it."""


class Embedder:
    """Makes unit vectors of tasks. Where it cannot, a search goes by words alone.

    Args:
        embeddings: Or what makes them.
    """

    def __init__(self, embeddings: Embeddings | Callable[[], Embeddings]) -> None:
        self._embeddings = embeddings
        self.failures = 0
        """How often no vector could be made."""
        self._last: tuple[str, Vector] | None = None

    @property
    def name(self) -> str:
        """Under which vectors are kept: those of others are not compared with them."""
        return identity(self.embeddings)

    @property
    def embeddings(self) -> Embeddings:
        """Made when they are first needed."""
        if not isinstance(self._embeddings, Embeddings):
            self._embeddings = self._embeddings()
        return self._embeddings

    def vector(self, task: str) -> Vector | None:
        """The vector of one task that is asked about; `None` if there is none."""
        last = self._last
        if last is not None and last[0] == task:
            return last[1]
        made = self._made(lambda: [self.embeddings.embed_query(task[:_READ])], 1)
        if made is None or made[0] is None:
            return None
        self._last = (task, made[0])
        return made[0]

    def vectors(self, tasks: Sequence[str]) -> list[Vector | None] | None:
        """The vectors of tasks that are to be kept, in their order; `None` if it failed.

        A text without any word may have no direction: then its vector is `None`.
        """
        read = [task[:_READ] for task in tasks]
        return self._made(lambda: self.embeddings.embed_documents(read), len(read)) if read else []

    def _made(
        self, make: Callable[[], list[list[float]]], number: int
    ) -> list[Vector | None] | None:
        try:
            rows = [_unit(np.asarray([row], np.float64)) for row in make()]
            if len(rows) != number:
                msg = f"{number} texts gave {len(rows)} vectors"
                raise ValueError(msg)  # noqa: TRY301 - it is one of the ways to fail
        except Exception as error:  # noqa: BLE001 - whatever an embedder raises, words are left
            self.failures += 1
            if self.failures == 1:
                logger.warning("tasks are compared by words alone: %s", type(error).__name__)
            return None
        return rows


def _unit(row: NDArray[np.float64]) -> Vector | None:
    return unit(row)[0] if np.any(row) else None
