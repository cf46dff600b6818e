"""Which models rest after they failed, and how long answers took of late."""

import threading
from dataclasses import dataclass, field

from llmops_langchain.clock import Clock
from llmops_langchain.storage.fork import on_fork

__all__ = ["Health"]

_NEW = 0.2
"""Weight of the newest latency in the running mean."""


@dataclass(slots=True)
class _State:
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    latency: float | None = None
    answer_tokens: float | None = None


@dataclass(eq=False)
class Health:
    """A circuit breaker for each model: one that keeps failing rests, twice as long each time.

    After a rest one call tries it; an answer closes the circuit. Safe to share between threads.

    Args:
        clock: Returns seconds since the Unix epoch.
        allowed: Failures in a row before it rests; an overload says so itself and rests at once.
        first: Seconds of the first rest.
        longest: Seconds of the longest.
    """

    clock: Clock
    allowed: int = 3
    first: float = 10.0
    longest: float = 300.0
    _states: dict[str, _State] = field(default_factory=dict)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        on_fork(self)

    def after_fork(self) -> None:
        """Leave the lock to the parent: another thread of it may have held it."""
        self._changing = threading.Lock()

    def rests_for(self, name: str) -> float:
        """Seconds until this model is asked again; 0 if it may be asked."""
        state = self._states.get(name)
        return max(0.0, state.rests_until - self.clock()) if state else 0.0

    def latency(self, name: str) -> float | None:
        """Seconds its answers took of late; `None` if there was none."""
        state = self._states.get(name)
        return state.latency if state else None

    def answer_tokens(self, name: str) -> float | None:
        """Tokens its answers had of late; `None` if there was none."""
        state = self._states.get(name)
        return state.answer_tokens if state else None

    def failed(self, name: str, *, overloaded: bool, wait: float | None = None) -> None:
        """It failed.

        Args:
            name: Which choice.
            overloaded: It said that it is asked too often.
            wait: Seconds for which it asked to be left alone.
        """
        with self._changing:
            state = self._states.setdefault(name, _State())
            state.failures += 1
            if wait is None and not overloaded and state.failures < self.allowed:
                return
            doubled = max(0, state.failures - (1 if overloaded else self.allowed))
            rest = min(self.longest, self.first * 2.0 ** min(doubled, 16))
            state.rests_until = self.clock() + (rest if wait is None else wait)

    def answered(self, name: str, *, seconds: float, tokens: int | None) -> None:
        """It answered."""
        with self._changing:
            state = self._states.setdefault(name, _State())
            state.failures, state.rests_until = 0, 0.0
            state.latency = _moved(state.latency, seconds)
            if tokens is not None:
                state.answer_tokens = _moved(state.answer_tokens, float(tokens))


def _moved(mean: float | None, newest: float) -> float:
    return newest if mean is None else (1 - _NEW) * mean + _NEW * newest
