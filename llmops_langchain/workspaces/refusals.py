"""Which refusals to record: each at once, and the same one again once a minute."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["Refusals"]

_QUIET = 60.0  # seconds
_MOST = 4_096  # that are remembered


class Refusals:
    """Counts what was refused, so that nobody fills the log by asking again and again."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, what: Hashable, now: float) -> int | None:
        """How often it was refused since it was last recorded; `None` if it need not be now."""
        with self._lock:
            since, times = self._seen.pop(what, (None, 0))
            is_due = since is None or not since <= now < since + _QUIET
            self._seen[what] = (now, 0) if is_due else (since or now, times + 1)
            while len(self._seen) > _MOST:
                self._seen.popitem(last=False)
        return times + 1 if is_due else None
