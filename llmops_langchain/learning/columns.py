"""Growing columns of numbers and names, read as numpy arrays."""

from array import array
from collections.abc import Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Codes", "Column", "Metrics", "highest"]

T = TypeVar("T", bound=Hashable)


def highest(values: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """The places of the `k` largest numbers, the largest first.

    Example:
        >>> highest(np.array([0.2, 0.9, 0.5]), 2).tolist()
        [1, 2]
    """
    if k >= len(values):
        return np.argsort(-values, kind="stable")
    some = np.argpartition(-values, k)[:k]
    found: NDArray[np.intp] = some[np.lexsort((some, -values[some]))]
    return found


class Column:
    """Numbers that are appended one by one; reading them copies once a change.

    Args:
        kind: As for `array`: `"d"` is `float64`, `"q"` is `int64`, `"b"` is `int8`.
    """

    def __init__(self, kind: str) -> None:
        self._numbers = array(kind)
        self._seen: NDArray[np.generic] | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def put(self, place: int, number: float) -> None:
        """Append a number, or write over the one that is there."""
        if place == len(self._numbers):
            self._numbers.append(number)  # type: ignore[arg-type]  # of its kind
        else:
            self._numbers[place] = number  # type: ignore[call-overload]  # as above
        self._seen = None

    def values(self) -> NDArray[np.generic]:
        """All of them, not to be written to; shape `(len(self),)`."""
        if self._seen is None:
            # A copy: an array that lent its memory could not grow any more.
            self._seen = np.array(self._numbers)
        return self._seen


class Codes(Generic[T]):
    """A number for each of a few values."""

    def __init__(self) -> None:
        self._codes: dict[T, int] = {}
        self.names: list[T] = []
        """The values, by their number."""

    def __len__(self) -> int:
        return len(self.names)

    def code(self, name: T) -> int:
        """The number of a value, new or known."""
        code = self._codes.setdefault(name, len(self.names))
        if code == len(self.names):
            self.names.append(name)
        return code

    def known(self, name: T) -> int:
        """The number of a value; -1 if there is none."""
        return self._codes.get(name, -1)


class Metrics:
    """Figures by name, most of which most runs lack."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[int, float]] = {}

    def put(self, place: int, figures: dict[str, float]) -> None:
        """Write the figures of one run over what was there."""
        for name, column in self._columns.items():
            if name not in figures:
                column.pop(place, None)
        for name, number in figures.items():
            self._columns.setdefault(name, {})[place] = number

    def names(self) -> list[str]:
        """Those that any run has, sorted."""
        return sorted(name for name, column in self._columns.items() if column)

    def of(self, name: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Places and numbers of the runs that have this figure."""
        column = self._columns.get(name, {})
        return (
            np.fromiter(column.keys(), np.intp, len(column)),
            np.fromiter(column.values(), np.float64, len(column)),
        )
