"""A LangChain cache that bills nothing twice, hands out copies, and never breaks a call."""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, Self

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.language_models import LanguageModelInput
from langchain_core.outputs import Generation
from langchain_core.runnables import Runnable, RunnableConfig
from typing_extensions import override

from llmops_langchain.cache.call import Call
from llmops_langchain.cache.codec import decode_hit
from llmops_langchain.cache.explain import Explanation
from llmops_langchain.cache.explaining import explained
from llmops_langchain.cache.keeping import written
from llmops_langchain.cache.naming import asked_model, metadata_of, parts_of
from llmops_langchain.cache.options import (
    CacheOptions,
    check_not_negative,
    check_share,
    check_tags,
    checked_ttl,
    current_options,
)
from llmops_langchain.cache.packing import Packer
from llmops_langchain.cache.shelf import Shelf
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.stats import CacheStats, Tally
from llmops_langchain.cache.steps import Blocking, Steps, arun, run
from llmops_langchain.cache.store import Entry, Store
from llmops_langchain.cache.turns import Turn, Turns
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import Scope, Share, current_scope
from llmops_langchain.models import PriceBook
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.wrapping import CallParts, core_parts

__all__ = ["ResponseCache"]

logger = logging.getLogger(__name__)

_MOST_TOLD = 100
"""Reasons not to cache that are logged, each once."""

_MOST_AT_ONCE = 100
"""Equal lookups of `set_llm_cache` that wait for their update."""

_MOST_LOOKUPS = 1_000
"""Lookups of `set_llm_cache` that wait for their update; a call that fails never sends one."""


class ResponseCache(BaseCache):
    """Answers that were paid for once, found again while they are fresh.

    Use it as `set_llm_cache(cache)`, or lay it over one model with `ops.cached(model)`. A hit is a
    copy with a fresh message id and no usage, so nothing is billed twice; where it came from stands
    in `response_metadata["llmops_cache"]`. Answers belong to the workspace of `track(...)`: two
    workspaces never share one. Any failure of the store is a miss, is counted in `stats()`, and is
    logged without prompt or answer. Threads, asyncio tasks and processes may share it; what one of
    them clears or invalidates, all have dropped within a second.

    Args:
        store: Where answers are kept: a `Database`, or a `MemoryStore` or `RedisStore`.
        ttl: Seconds until an answer expires; `None` keeps it until `clear`.
        max_items: Answers kept in memory in front of the store, least recently used out first.
        share: Who may be given an answer, unless `cache_options` says otherwise.
        wait: Seconds a call waits for an equal one that is being made; 0 lets each ask.
        encryption_keys: Fernet keys: the first encrypts what the store keeps, all decrypt.
        prices: What `stats().saved` is priced with.
        disabled: Find and keep nothing.
        clock: Returns seconds since the Unix epoch.

    Raises:
        ConfigurationError: If an argument cannot be honoured.
        MissingExtraError: If there are keys and the package that encrypts is not installed.

    Example:
        >>> from langchain_core.outputs import Generation
        >>> cache = ResponseCache(Database("sqlite://"))
        >>> cache.update("prompt", "model", [Generation(text="answer")])
        >>> cache.lookup("prompt", "model")[0].text
        'answer'
    """

    def __init__(
        self,
        store: Database | Store,
        *,
        ttl: float | None = 3600.0,
        max_items: int = 1000,
        share: Share = "workspace",
        wait: float = 60.0,
        encryption_keys: Sequence[str] = (),
        prices: PriceBook | None = None,
        disabled: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        if not isinstance(store, Database) and not hasattr(store, "claim"):
            msg = f"a `Database` or a store is needed, such as `MemoryStore()`, got {store!r}"
            raise ConfigurationError(msg)
        check_not_negative(max_items=max_items, wait=wait)
        check_share(share)
        self._ttl, self._share, self._prices = checked_ttl(ttl), share, prices
        self._disabled, self._clock = disabled, clock
        self._told: set[str] = set()
        self._tally = Tally()
        self._shelf = Shelf(
            SqlStore(store) if isinstance(store, Database) else store,
            Packer(encryption_keys),
            max_items=max_items,
            clock=clock,
            on_error=partial(self._count, "errors"),
            on_unreadable=partial(self._count, "unreadable"),
        )
        self._turns = Turns(self._shelf, self._serving, wait=wait)
        self._looked_up: OrderedDict[bytes, deque[int | None]] = OrderedDict()
        self._noting = threading.Lock()
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew: another thread of the parent may have held a lock, and counts are its own."""
        self._tally = Tally()
        self._noting = threading.Lock()
        self._turns.after_fork()

    def __deepcopy__(self, _memo: object) -> Self:
        """The cache itself: a copied model shares its answers."""
        return self

    @override
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return self.find(self._core_call(prompt, llm_string))

    @override
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        self.answered(self._core_call(prompt, llm_string), return_val)

    @override
    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return await self.afind(self._core_call(prompt, llm_string))

    @override
    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        await self.aanswered(self._core_call(prompt, llm_string), return_val)

    @override
    def clear(self, **kwargs: Any) -> None:
        """Forget every answer of every workspace, in every process within a second.

        Raises:
            StorageError: If the store cannot do it.
        """
        if not self._disabled:
            self._shelf.clear()

    def invalidate(self, tag: str | Collection[str]) -> None:
        """Forget the answers with this tag (or one of these), in every process within a second.

        An answer with the tag that is being given meanwhile is not kept.

        Args:
            tag: As given to `cache_options(tags=…)`; workspaces share their names.

        Raises:
            ConfigurationError: If it is no text.
            StorageError: If the store cannot do it.
        """
        tags = (tag,) if isinstance(tag, str) else tag
        check_tags(tags)
        if not self._disabled:
            self._shelf.invalidate(tags)

    async def ainvalidate(self, tag: str | Collection[str]) -> None:
        """`invalidate` in a worker thread."""
        await Blocking(partial(self.invalidate, tag)).arun(self._shelf.workers)

    def stats(self) -> CacheStats:
        """What this cache did in this process."""
        return self._tally.stats()

    def explain(
        self,
        model: Runnable[Any, Any],
        messages: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Explanation:
        """Why a call would hit or miss now, and which part of it is new; nothing is counted.

        Args:
            model: The model as the app calls it: wrapped by `ops.cached`, or plain under
                `set_llm_cache`; with its tools bound.
            messages: What it would be asked.
            config: As in `invoke`: its metadata may name whose answer it is.
            stop: As in `invoke`.
            kwargs: As in `invoke`.

        Raises:
            ConfigurationError: If `model` is no model, nor a chain that begins with one.
        """
        asked = asked_model(model)
        if self._disabled:
            return Explanation(status="miss", reason="the cache is switched off")
        return explained(
            self._shelf,
            partial(parts_of, asked, messages, stop=stop, **kwargs),
            current_scope().filled_from(metadata_of(asked, config)),
            self._share,
            now=self._clock(),
        )

    def call(
        self,
        name: Callable[[str], CallParts],
        scope: Scope,
        metadata: Mapping[str, Any] = MappingProxyType({}),
    ) -> Call | None:
        """The call that `name` makes of its owner; `None` if it is not to be cached.

        Args:
            name: Given whose answer it is, returns the parts of the key, or raises `TypeError`.
            scope: For whom the call is made.
            metadata: LangChain's, for what the scope leaves open.
        """
        if self._disabled:
            return None
        options = current_options()
        named = None if options.bypass else self._named(name, scope, metadata, options)
        if named is None:
            self._count("bypassed")
        return named

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

    def close(self) -> None:
        """Stop following what other processes invalidate; calls go on."""
        self._shelf.close()

    def _approach(self, call: Call | None, *, needs_worker: bool = False) -> Steps[Turn]:
        turn = yield from self._turns.approach(call, needs_worker=needs_worker)
        if call is not None and turn.answer is None:
            self._count("misses")
        return turn

    def _finding(self, call: Call | None) -> Steps[list[Generation] | None]:
        if call is None:
            return None
        answer = None
        if not call.options.refresh:
            entry = self._shelf.recent(call.key)
            if entry is None:
                entry = yield Blocking(partial(self._shelf.load, call.key))
            if entry is not None:
                answer = yield from self._serving(call, entry, joined=False)
        if answer is None:
            self._note_miss(call)
        return answer

    def _note_miss(self, call: Call) -> None:
        """Count it, and remember the generation that the model's answer will belong to."""
        self._count("misses")
        with self._noting:
            self._looked_up.setdefault(call.key, deque(maxlen=_MOST_AT_ONCE)).append(
                self._shelf.generation
            )
            while len(self._looked_up) > _MOST_LOOKUPS:
                self._looked_up.popitem(last=False)

    def _missed(self, call: Call | None) -> Turn:
        """The turn of an answer; of several lookups it is taken for that of the first."""
        seen = self._shelf.generation
        with self._noting:
            if call is not None and (noted := self._looked_up.get(call.key)):
                seen = noted.popleft()
                if not noted:
                    del self._looked_up[call.key]
        return Turn(call, seen=seen)

    def _serving(self, call: Call, entry: Entry, *, joined: bool) -> Steps[list[Generation] | None]:
        """The entry as a hit; `None` if the call does not accept it, or it cannot be read."""
        now = self._clock()
        if not call.accepts(entry, now):
            return None
        age = max(now - entry.created_at, 0.0)
        try:
            hit = decode_hit(entry.value, tier="exact", age=age)
        except ValueError:
            self._count("unreadable")
            return None
        if not call.options.tags <= entry.tags:
            yield Blocking(partial(self._shelf.tag, call.key, entry, call.options.tags))
        self._tally.add_hit(hit, tier="exact", age=age)
        if joined:
            self._count("joined")
        return hit.generations

    def _keeping(self, turn: Turn, generations: Sequence[Generation]) -> Steps[None]:
        call = turn.call
        if call is None:
            return
        value = written(generations, self._prices)
        if value is None:
            self._count("refused")
            turn.land(None)
            return
        entry = call.entry(value, self._clock())
        kept = yield Blocking(partial(self._shelf.save, call.key, entry, seen=turn.seen))
        # Not before: who is given it may have tags to add to what is stored.
        turn.land(entry if kept else None)
        self._count("stored" if kept else "refused")

    def _core_call(self, prompt: str, llm_string: str) -> Call | None:
        return self.call(lambda owner: core_parts(prompt, llm_string, scope=owner), current_scope())

    def _named(
        self,
        name: Callable[[str], CallParts],
        scope: Scope,
        metadata: Mapping[str, Any],
        options: CacheOptions,
    ) -> Call | None:
        try:
            owner = scope.filled_from(metadata).owner(options.share or self._share)
            if owner is None:
                return None
            parts = name(owner)
            ttl = self._ttl if options.ttl is None else checked_ttl(options.ttl)
            return Call(key=parts.key, parts=parts, options=options, ttl=ttl)
        except Exception as error:  # noqa: BLE001 - an odd message or model must not break the user's call
            # A `TypeError` names a type or a setting; the text of others may quote a value.
            said = str(error) if isinstance(error, TypeError) else type(error).__name__
            if said not in self._told and len(self._told) < _MOST_TOLD:
                self._told.add(said)
                logger.warning("calls like this are not cached: %s", said)
            return None

    def _count(self, name: str) -> None:
        self._tally.add(name)
