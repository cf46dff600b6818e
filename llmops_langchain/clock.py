"""Where the time comes from, so that a test can turn it by hand."""

import time
from collections.abc import Callable

__all__ = ["Clock", "system_clock"]

Clock = Callable[[], float]
"""Returns seconds since the Unix epoch (UTC)."""

system_clock: Clock = time.time
