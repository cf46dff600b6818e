"""How one call is answered: found, or asked for and kept; the same for threads and asyncio."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.outputs import Generation

from llmops_langchain.cache.call import Asking, Call
from llmops_langchain.cache.codec import EXACT, decode_hit
from llmops_langchain.cache.forgetting import Traces
from llmops_langchain.cache.keeping import written
from llmops_langchain.cache.lookups import Lookups
from llmops_langchain.cache.match import Match
from llmops_langchain.cache.shelf import Shelf
from llmops_langchain.cache.stats import Tally
from llmops_langchain.cache.steps import Blocking, Steps, arun, run
from llmops_langchain.cache.store import Entry
from llmops_langchain.cache.turns import Turn, Turns
from llmops_langchain.clock import Clock
from llmops_langchain.models import PriceBook

if TYPE_CHECKING:
    from llmops_langchain.cache.semantic import SemanticTier

__all__ = ["Flow"]


class _Missed(NamedTuple):
    """What is known of a lookup of `set_llm_cache` whose update is to come."""

    seen: int | None
    match: Match | None
    asking: Asking


class Flow:
    """A call's way through the tiers.

    Args:
        shelf: Where answers are.
        semantic: Finds answers by meaning where no equal call was kept.
        tally: What is done is counted there.
        prices: What answers cost is read there.
        traces: Whose call put an answer there.
        wait: Seconds a call waits for an equal one that is being made.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self,
        shelf: Shelf,
        semantic: "SemanticTier | None",
        *,
        tally: Tally,
        prices: PriceBook | None,
        traces: Traces,
        wait: float,
        clock: Clock,
    ) -> None:
        self._shelf, self._semantic, self._tally = shelf, semantic, tally
        self._prices, self._traces, self._clock = prices, traces, clock
        self._turns = Turns(shelf, self._serving, self._looking, wait=wait)
        self._lookups: Lookups[_Missed] = Lookups()

    def after_fork(self) -> None:
        """Start anew: another thread of the parent may have held a lock."""
        self._lookups.after_fork()
        self._turns.after_fork()

    def find(self, call: Call | None) -> list[Generation] | None:
        """The answer to `call`, marked as a hit; nobody waits for another's call here."""
        return run(self._finding(call))

    async def afind(self, call: Call | None) -> list[Generation] | None:
        """`find` for asyncio: from memory at once, from the store in a worker thread."""
        return await arun(self._finding(call), self._shelf.workers)

    def answered(self, call: Call | None, generations: Sequence[Generation]) -> None:
        """Keep what the model answered to a call that was not found."""
        run(self._keeping(self._missed(call), generations))

    async def aanswered(self, call: Call | None, generations: Sequence[Generation]) -> None:
        """`answered` for asyncio."""
        await arun(self._keeping(self._missed(call), generations), self._shelf.workers)

    @contextmanager
    def turn(self, call: Call | None) -> Iterator[Turn]:
        """Look for the answer; without one, the block asks and gives it to `keep`.

        Yields:
            The turn: its `answer`, or none, and then this call alone asks for it.
        """
        turn = run(self._approach(call))
        try:
            yield turn
        finally:
            self._turns.leave(turn)

    @asynccontextmanager
    async def aturn(self, call: Call | None, *, needs_worker: bool = False) -> AsyncIterator[Turn]:
        """`turn` for asyncio: from memory at once, from the store in a worker thread.

        Args:
            call: The call; `None` if it is not to be cached.
            needs_worker: The model has no async method: it is asked in the loop's own executor.
        """
        turn = await arun(self._approach(call, needs_worker=needs_worker), self._shelf.workers)
        try:
            yield turn
        finally:
            self._turns.leave(turn)

    def keep(self, turn: Turn, generations: Sequence[Generation]) -> None:
        """Keep whole answers for the call of `turn`; others are counted as refused."""
        run(self._keeping(turn, generations))

    async def akeep(self, turn: Turn, generations: Sequence[Generation]) -> None:
        """`keep` for asyncio."""
        await arun(self._keeping(turn, generations), self._shelf.workers)

    def _approach(self, call: Call | None, *, needs_worker: bool = False) -> Steps[Turn]:
        turn = yield from self._turns.approach(call, needs_worker=needs_worker)
        if call is not None and turn.answer is None:
            self._tally.add("misses")
        return turn

    def _finding(self, call: Call | None) -> Steps[list[Generation] | None]:
        if call is None:
            return None
        answer = match = None
        if not call.options.refresh:
            entry = self._shelf.recent(call.key)
            if entry is None:
                entry = yield Blocking(partial(self._shelf.load, call.key))
            if entry is None and (match := (yield from self._looking(call))) and match.is_served:
                entry = match.entry
            if entry is not None:
                answer = yield from self._serving(call, entry, match, joined=False)
        if answer is None:
            self._tally.add("misses")
            self._lookups.note(call.key, _Missed(self._shelf.generation, match, call.asking))
        return answer

    def _missed(self, call: Call | None) -> Turn:
        """The turn of an answer; of several lookups it is taken for that of the first."""
        missed = None if call is None else self._lookups.take(call.key)
        if call is None or missed is None:
            return Turn(call, seen=self._shelf.generation)
        return Turn(call._replace(asking=missed.asking), seen=missed.seen, match=missed.match)

    def _looking(self, call: Call) -> Steps[Match | None]:
        """What a lookup by meaning finds, where there is one."""
        if self._semantic is None:
            return None
        match: Match | None = yield Blocking(partial(self._semantic.look, call))
        return match

    def _serving(
        self, call: Call, entry: Entry, match: Match | None, *, joined: bool
    ) -> Steps[list[Generation] | None]:
        """The entry as a hit; `None` if the call does not accept it, or it cannot be read."""
        now = self._clock()
        if not call.accepts(entry, now):
            return None
        age = max(now - entry.created_at, 0.0)
        try:
            hit = decode_hit(entry.value, age=age, found=match.mark if match else EXACT)
        except ValueError:
            self._tally.add("unreadable")
            return None
        if not call.options.tags <= entry.tags:
            key = match.candidate.key if match else call.key
            yield Blocking(partial(self._shelf.tag, key, entry, call.options.tags))
        self._tally.add_hit(hit, tier="semantic" if match else "exact", age=age)
        if joined:
            self._tally.add("joined")
        return hit.generations

    def _keeping(self, turn: Turn, generations: Sequence[Generation]) -> Steps[None]:
        call = turn.call
        if call is None:
            return
        value = written(generations, self._prices)
        if value is None:
            self._tally.add("refused")
            turn.land(None)
            return
        entry = call.entry(value, self._clock(), self._traces.of(call.scope))
        kept = yield Blocking(partial(self._shelf.save, call.key, entry, seen=turn.seen))
        # Not before: who is given it may have tags to add to what is stored.
        turn.land(entry if kept else None)
        self._tally.add("stored" if kept else "refused")
        if kept and self._semantic is not None:
            yield Blocking(partial(self._semantic.learn, call, entry, turn.match, generations))
