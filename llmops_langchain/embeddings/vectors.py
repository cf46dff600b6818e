"""Exact search over the vectors of one scope."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.fork import around_fork, on_fork

__all__ = ["VectorTable"]

K = TypeVar("K", bound=Hashable)

_SMALLEST = 64


class VectorTable(Generic[K]):
    """Unit vectors under keys: the nearest by cosine, and room for those used last.

    The search compares with every vector and so misses none. All threads may share one table,
    and a forked child has a copy of its own. Memory: 4 bytes a number, at most twice what is
    needed.

    Args:
        max_items: How many vectors fit in; one more, and the one not used for longest goes.

    Raises:
        ConfigurationError: If `max_items` is not positive.

    Example:
        >>> from llmops_langchain.embeddings import unit
        >>> table = VectorTable(max_items=2)
        >>> for key, vector in zip("abc", unit([[1, 0], [0, 1], [3, 4]])):
        ...     gone = table.put(key, vector)
        >>> gone
        'a'
        >>> table.search(unit([[0, 1]])[0], k=1)
        [('b', 1.0)]
    """

    def __init__(self, max_items: int = 10_000) -> None:
        if max_items < 1:
            msg = f"`max_items` must be positive, got {max_items!r}"
            raise ConfigurationError(msg)
        self._max_items = max_items
        self._rows: OrderedDict[K, int] = OrderedDict()  # least recently used first
        self._keys: list[K] = []  # of each row
        self._matrix = np.empty((0, 0), np.float32)  # the first rows are in use
        self.after_fork()
        on_fork(self)
        around_fork(self)

    def before_fork(self) -> None:
        """Let no other thread be in the middle of a change: the child gets the table as it is."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork(self) -> None:
        """Go on in the child."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def keys(self) -> list[K]:
        """The keys, from the least to the most recently used."""
        with self._lock:
            return list(self._rows)

    def put(self, key: K, vector: NDArray[np.float32]) -> K | None:
        """Keep a unit vector, in place of the one under `key`; it counts as used.

        Args:
            key: What `search` finds.
            vector: Row of an array that `unit` returned; the first one sets the dimensions.

        Returns:
            The key that had to go for it, or `None`.

        Raises:
            ValueError: If the vector has other dimensions than those in the table.
        """
        with self._lock:
            self._make_room(vector)
            evicted = None
            if key not in self._rows:
                if len(self._rows) == self._max_items:
                    evicted = next(iter(self._rows))
                    self._drop(evicted)
                self._rows[key] = len(self._keys)
                self._keys.append(key)
            self._matrix[self._rows[key]] = vector
            self._rows.move_to_end(key)
            return evicted

    def drop(self, key: K) -> None:
        """Let go of the vector under `key`, if it is there."""
        with self._lock:
            if key in self._rows:
                self._drop(key)

    def use(self, key: K) -> None:
        """Note that `key` was used, so that others go first; nothing if it is not there."""
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)

    def search(
        self, vector: NDArray[np.float32], k: int, floor: float = -1.0
    ) -> list[tuple[K, float]]:
        """The `k` nearest keys and their cosines, best first; equal ones in any order.

        It marks none of them as used.

        Args:
            vector: A unit vector.
            k: How many keys at most.
            floor: The smallest cosine that counts, -1 to 1.

        Raises:
            ValueError: If the vector has other dimensions than those in the table.
        """
        with self._lock:
            if not self._keys:
                return []
            self._check(vector)
            # Another type would make numpy convert the whole matrix.
            cosines = self._matrix[: len(self._keys)] @ vector.astype(np.float32, copy=False)
            np.clip(cosines, -1.0, 1.0, out=cosines)  # rounding may go beyond
            return [(self._keys[row], float(cosines[row])) for row in _best(cosines, k, floor)]

    def _make_room(self, vector: NDArray[np.float32]) -> None:
        """Have a row to spare, unless all that are allowed are there."""
        if not self._keys:
            rows = min(_SMALLEST, self._max_items)
            self._matrix = np.empty((rows, vector.shape[0]), np.float32)
        self._check(vector)
        if len(self._keys) == len(self._matrix) < self._max_items:
            spare = min(len(self._matrix), self._max_items - len(self._matrix))
            self._matrix = np.pad(self._matrix, ((0, spare), (0, 0)))

    def _check(self, vector: NDArray[np.float32]) -> None:
        """Numpy would fill a row with a single number."""
        if vector.shape != self._matrix.shape[1:]:
            msg = f"the vector must have shape {self._matrix.shape[1:]}, got {vector.shape}"
            raise ValueError(msg)

    def _drop(self, key: K) -> None:
        """Move the last row to where the vector was."""
        row, last = self._rows.pop(key), self._keys.pop()
        if row < len(self._keys):
            self._matrix[row] = self._matrix[len(self._keys)]
            self._keys[row], self._rows[last] = last, row


def _best(cosines: NDArray[np.float32], k: int, floor: float) -> NDArray[np.intp]:
    """The rows of the `k` largest that are not below `floor`, the largest first."""
    # As `float64`, or numpy would round the floor and let a smaller cosine pass.
    (near,) = np.nonzero(cosines >= np.float64(floor))
    if len(near) > k:
        near = near[np.argpartition(-cosines[near], k - 1)[:k]]
    return near[np.argsort(-cosines[near])]
