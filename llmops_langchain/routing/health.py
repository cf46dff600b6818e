"""Which models rest after they failed, and how long answers took of late."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from llmops_langchain.clock import Clock
from llmops_langchain.storage.fork import on_fork

__all__ = ["Health", "Told"]

_STALE = 300.0
"""Seconds after which a latency says nothing of the next answer."""

_NEW = 0.2
"""Weight of the newest latency in the running mean."""


class Told(NamedTuple):
    """How a model fares, as processes tell each other."""

    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    """UTC seconds since the Unix epoch."""
    latency: float | None = None
    """Seconds its answers took of late."""
    answer_tokens: float | None = None
    updated: float = 0.0
    """When that was so: the newest word counts."""


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
    _states: dict[str, Told] = field(default_factory=dict)
    _changed: dict[str, Told] = field(default_factory=dict)
    _trying: dict[str, float] = field(default_factory=dict)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        on_fork(self)

    def after_fork(self) -> None:
        """Leave the lock to the parent: another thread of it may have held it."""
        self._changing = threading.Lock()

    def rests_for(self, name: str) -> float:
        """Seconds until this model is asked again; 0 if it may be asked."""
        state, now = self._states.get(name, _NEW_ONE), self.clock()
        return max(0.0, state.rests_until - now, self._trying.get(name, 0.0) - now)

    def latency(self, name: str) -> float | None:
        """Seconds its answers took of late; `None` if there was none."""
        return self._states.get(name, _NEW_ONE).latency

    def slow_for(self, name: str) -> float | None:
        """`latency`, if it was seen within five minutes: who is left out for it is tried again."""
        state = self._states.get(name, _NEW_ONE)
        return state.latency if self.clock() - state.updated < _STALE else None

    def answer_tokens(self, name: str) -> float | None:
        """Tokens its answers had of late; `None` if there was none."""
        return self._states.get(name, _NEW_ONE).answer_tokens

    def asked(self, name: str) -> None:
        """It is asked: after a rest one call tries it, while the others go elsewhere."""
        state = self._states.get(name, _NEW_ONE)
        if state.rests_until:
            self._trying[name] = self.clock() + self.first

    def failed(self, name: str, *, overloaded: bool, wait: float | None = None) -> None:
        """It failed.

        Args:
            name: Which choice.
            overloaded: It said that it is asked too often.
            wait: Seconds for which it asked to be left alone.
        """
        with self._changing:
            state = self._states.get(name, _NEW_ONE)
            state = state._replace(failures=state.failures + 1)
            if wait is not None or overloaded or state.failures >= self.allowed:
                doubled = max(0, state.failures - (1 if overloaded else self.allowed))
                rest = min(self.longest, self.first * 2.0 ** min(doubled, 16))
                state = state._replace(rests_until=self.clock() + (rest if wait is None else wait))
            self._put(name, state)

    def answered(self, name: str, *, seconds: float, tokens: int | None) -> None:
        """It answered."""
        with self._changing:
            state = self._states.get(name, _NEW_ONE)
            told = state.answer_tokens if tokens is None else _moved(state.answer_tokens, tokens)
            latency = _moved(state.latency, seconds)
            self._put(name, Told(latency=latency, answer_tokens=told))

    def changes(self) -> dict[str, Told]:
        """What this process found out since it was asked last."""
        with self._changing:
            changed, self._changed = self._changed, {}
            return changed

    def unsaid(self, changes: Mapping[str, Told]) -> None:
        """What `changes` gave was told to nobody."""
        with self._changing:
            self._changed = {**changes, **self._changed}

    def hear(self, others: Mapping[str, Told]) -> None:
        """Take in what other processes found out since."""
        with self._changing:
            for name, told in others.items():
                if told.updated > self._states.get(name, _NEW_ONE).updated:
                    self._states[name] = told

    def _put(self, name: str, state: Told) -> None:
        self._trying.pop(name, None)
        self._states[name] = self._changed[name] = state._replace(updated=self.clock())


_NEW_ONE = Told()


def _moved(mean: float | None, newest: float) -> float:
    return float(newest) if mean is None else (1 - _NEW) * mean + _NEW * newest
