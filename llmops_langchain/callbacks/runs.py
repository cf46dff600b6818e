"""The runs under way: each ends once, and what never ends is forgotten."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from langchain_core.messages import BaseMessage

from llmops_langchain.clock import Clock
from llmops_langchain.ledger import Scope

__all__ = ["Call", "Runs", "WatchedCall"]


class WatchedCall(NamedTuple):
    """What is known of a call of a model that has begun and not ended."""

    prompt: Sequence[BaseMessage] | str
    scope: Scope
    provider: str | None
    model: str | None
    settings: Mapping[str, Any] = MappingProxyType({})
    """The parameters of the call."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """A call of a model between its start and its end."""

    since: float
    """When it began, UTC seconds since the Unix epoch."""
    started: float
    """The same by the counter that latencies are taken from."""
    scope: Scope
    provider: str | None
    model: str | None
    parent_run_id: UUID | None
    prompt: Sequence[BaseMessage] | str
    settings: Mapping[str, Any]
    """The parameters of the call, tools among them, as core knows them."""
    first_token: float | None = None
    streamed: list[str] | None = None
    """Text that came as events of core's v3 streams, which leave no part when they break."""
    batch: object = None
    """Equal for text prompts that were sent together: the first answer has the usage of all."""
    counted: bool = False
    """The batch's usage stands in another event."""
    reservation_id: UUID | None = None
    """What was set aside for it in budgets."""
    prices: Mapping[str, Any] | None = None
    """Of its own, where a router's choice has some: nano-dollars per million tokens."""
    at_risk: int = 0
    """Nano-dollars that it counts at least, where nobody can tell what it was billed."""


class _Begun(Protocol):
    @property
    def since(self) -> float: ...


R = TypeVar("R", bound=_Begun)


class Runs(Generic[R]):
    """Runs by their id. Threads may share it: each step is one of a dictionary.

    A cancelled `ainvoke`, among others, fires nothing after its start. Such runs are dropped when
    they are older than `ttl`, and the oldest tenth of all when there are more than `most`.

    Args:
        clock: Returns seconds since the Unix epoch.
        most: Runs under way at once.
        ttl: Seconds a run may take.
        remembered: Ended runs, at least, that do not begin again.
    """

    def __init__(self, clock: Clock, *, most: int, ttl: float, remembered: int = 1_000) -> None:
        self._most, self._ttl, self._remembered = most, ttl, remembered
        # By the integer of an id: to hash the id itself costs more than the rest of a look-up.
        self._open: dict[int, R] = {}
        self._sweep_at = clock() + ttl
        # Two generations: the older one goes when the younger is full.
        self._ended: dict[int, None] = {}
        self._ended_before: dict[int, None] = {}
        self.orphans = 0
        """Runs dropped without an end."""

    def begin(self, run_id: UUID, run: R) -> None:
        """Watch a run, unless it is watched already or has ended."""
        key = run_id.int
        if key in self._open or key in self._ended or key in self._ended_before:
            return
        if run.since >= self._sweep_at or len(self._open) >= self._most:
            self._sweep(run.since)
        self._open[key] = run

    def get(self, run_id: UUID) -> R | None:
        """The run, if it is under way."""
        return self._open.get(run_id.int)

    def end(self, run_id: UUID) -> R | None:
        """The run, for the first who ends it."""
        run = self._open.pop(run_id.int, None)
        if run is not None:
            self._remember(run_id.int)
        return run

    def end_unseen(self, run_id: UUID) -> bool:
        """End a run whether it has begun or not; `False` if it had ended before."""
        if run_id.int in self._ended or run_id.int in self._ended_before:
            return False
        self._open.pop(run_id.int, None)
        self._remember(run_id.int)
        return True

    def __iter__(self) -> Iterator[R]:
        # `list` of a dict is one step of the interpreter: no other thread comes in between.
        return (run for key in list(self._open) if (run := self._open.get(key)) is not None)

    def __contains__(self, run_id: UUID) -> bool:
        return run_id.int in self._open

    def _remember(self, key: int) -> None:
        if len(self._ended) >= self._remembered:
            self._ended_before, self._ended = self._ended, {}
        self._ended[key] = None

    def _sweep(self, now: float) -> None:
        """Drop what is too old, and the oldest where there is too much."""
        self._sweep_at = now + self._ttl / 60
        keys = list(self._open)
        spare = max(1, self._most // 10) if len(keys) >= self._most else 0
        for place, key in enumerate(keys):
            run = self._open.get(key)
            if place >= spare and run is not None and now - run.since < self._ttl:
                return
            if self._open.pop(key, None) is not None:
                self.orphans += 1
