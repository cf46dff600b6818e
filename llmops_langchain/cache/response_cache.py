"""A LangChain cache that bills nothing twice, hands out copies, and never breaks a call."""

import logging
from collections.abc import Sequence
from typing import Any, Self

import orjson
from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import Generation
from langchain_core.runnables.config import run_in_executor
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from typing_extensions import override

from llmops_langchain.cache.codec import decode, encode
from llmops_langchain.cache.endings import are_whole
from llmops_langchain.cache.recent import Entry, RecentAnswers
from llmops_langchain.cache.stats import CacheStats, Counter
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError, LLMOpsError, StorageError
from llmops_langchain.ledger import current_scope
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.schema import cache_entries
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping import digest, without_call_ids

__all__ = ["ResponseCache"]

logger = logging.getLogger(__name__)

_COLUMNS = cache_entries.c
_FOUND = select(_COLUMNS.value, _COLUMNS.created_at, _COLUMNS.expires_at).where(
    _COLUMNS.key == bindparam("key")
)
_STALE = delete(cache_entries).where(_COLUMNS.expires_at <= bindparam("now"))

_SECONDS_BETWEEN_WARNINGS = 60.0

_PATIENCE = 0.25
"""Seconds an answer waits for SQLite's write lock; the user waits for the answer meanwhile."""

_PAUSE = 5.0
"""Seconds the store is left alone after it failed, so that not every call waits for it."""


class ResponseCache(BaseCache):
    """Answers that were paid for once, found again while they are fresh.

    Use it as `set_llm_cache(cache)`, or lay it over one model with `ops.cached(model)`. A hit is a
    copy with a fresh message id and no usage, so nothing is billed twice; where it came from stands
    in `response_metadata["llmops_cache"]`. Answers belong to the workspace of `track(...)`: two
    workspaces never share one. Any failure of the store is a miss, is counted in `stats()`, and is
    logged without prompt or answer. Threads, asyncio tasks and processes may share it.

    Args:
        database: Where answers are kept.
        ttl: Seconds until an answer expires; `None` keeps it until `clear`.
        max_items: Answers kept in memory in front of the database, least recently used out first.
        disabled: Find and keep nothing.
        clock: Returns seconds since the Unix epoch.

    Raises:
        ConfigurationError: If `ttl` is not positive or `max_items` is negative.

    Example:
        >>> from langchain_core.outputs import Generation
        >>> cache = ResponseCache(Database("sqlite://"))
        >>> cache.update("prompt", "model", [Generation(text="answer")])
        >>> cache.lookup("prompt", "model")[0].text
        'answer'
    """

    def __init__(
        self,
        database: Database,
        *,
        ttl: float | None = 3600.0,
        max_items: int = 1000,
        disabled: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        if ttl is not None and not ttl > 0:
            msg = f"`ttl` is in seconds and must be positive, got {ttl!r}"
            raise ConfigurationError(msg)
        if max_items < 0:
            msg = f"`max_items` must not be negative, got {max_items!r}"
            raise ConfigurationError(msg)
        self._database, self._ttl, self._clock = database, ttl, clock
        self._disabled, self._max_items = disabled, max_items
        self._warned_at = self._resumes_at = float("-inf")
        self.after_fork()
        on_fork(self)
        upsert = (sqlite.insert if database.is_sqlite else postgresql.insert)(cache_entries)
        fields = {name: upsert.excluded[name] for name in ("value", "created_at", "expires_at")}
        self._upsert = upsert.on_conflict_do_update(index_elements=["key"], set_=fields)

    def after_fork(self) -> None:
        """Start with an empty memory: another thread of the parent may have held its locks."""
        self._recent = RecentAnswers(self._max_items)
        self._counter = Counter()

    def __deepcopy__(self, _memo: object) -> Self:
        """The cache itself: a copied model shares its answers."""
        return self

    @override
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return self.find(_core_key(prompt, llm_string))

    @override
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        self.keep(_core_key(prompt, llm_string), return_val)

    @override
    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return await self.afind(_core_key(prompt, llm_string))

    @override
    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        await run_in_executor(None, self.keep, _core_key(prompt, llm_string), return_val)

    @override
    def clear(self, **kwargs: Any) -> None:
        """Forget every answer of every workspace.

        Raises:
            StorageError: If the database cannot do it.
        """
        try:
            with self._database.begin() as connection:
                connection.execute(delete(cache_entries))
        finally:
            self._recent = RecentAnswers(self._max_items)

    def find(self, key: bytes) -> list[Generation] | None:
        """The fresh answer kept under `key`; `None` on a miss or a failure."""
        if self._disabled:
            return None
        try:
            now = self._clock()
            return self._answer(self._recent.get(key, now) or self._load(key), now)
        except Exception as error:  # noqa: BLE001 - a broken store or row must not break the user's call
            self._counter.add("misses")
            self._fail(error)
            return None

    async def afind(self, key: bytes) -> list[Generation] | None:
        """`find` for asyncio: from memory at once, from the database in a worker thread."""
        if self._disabled or self._recent.get(key, self._clock()) is not None:
            return self.find(key)
        return await run_in_executor(None, self.find, key)

    def keep(self, key: bytes, generations: Sequence[Generation]) -> None:
        """Keep whole answers under `key`; others are counted as refused."""
        if self._disabled:
            return
        try:
            value = _encoded(generations) if are_whole(generations) else None
            if value is not None:
                self._save(key, value)
            self._counter.add("refused" if value is None else "stored")
        except Exception as error:  # noqa: BLE001 - the answer was paid for and goes to the user
            self._fail(error)

    def stats(self) -> CacheStats:
        """What this cache did in this process."""
        return self._counter.stats()

    def _answer(self, entry: Entry | None, now: float) -> list[Generation] | None:
        if entry is None or not entry.is_fresh(now):
            self._counter.add("misses")
            return None
        answer = [_marked(each, now - entry.created_at) for each in decode(entry.value)]
        self._counter.add("hits")
        return answer

    def _load(self, key: bytes) -> Entry | None:
        if self._clock() < self._resumes_at:
            return None
        recent = self._recent
        row = self._database.read_one(_FOUND, key=key)
        if row is None:
            return None
        entry = Entry(*row)
        # Not into the memory of after a `clear`: the row was read before it.
        recent.put(key, entry)
        return entry

    def _save(self, key: bytes, value: bytes) -> None:
        now = self._clock()
        entry = Entry(value, now, None if self._ttl is None else now + self._ttl)
        self._recent.put(key, entry)
        if now < self._resumes_at:
            return
        with self._database.begin(lock_timeout=_PATIENCE) as connection:
            row = {
                "key": key,
                "value": value,
                "created_at": entry.created_at,
                "expires_at": entry.expires_at,
            }
            connection.execute(self._upsert, row)
            # Keys are hashes: this is one answer in 256, and no counter to share.
            if key[-1] == 0:
                connection.execute(_STALE, {"now": now})

    def _fail(self, error: Exception) -> None:
        """Count it, and say so once a minute: its class and the store's words, no prompt."""
        self._counter.add("errors")
        now = self._clock()
        if isinstance(error, StorageError):
            self._resumes_at = now + _PAUSE
        if now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            said = error if isinstance(error, LLMOpsError) else type(error).__name__
            logger.warning("the cache failed, the model is asked instead: %s", said)


def _core_key(prompt: str, llm_string: str) -> bytes:
    """The key of LangChain's own arguments, for the workspace of `track(...)`."""
    workspace = current_scope().workspace or ""
    parts = ("core/1", workspace, llm_string, _without_bookkeeping(prompt))
    return digest(part.encode("utf-8", "surrogatepass") for part in parts)


def _without_bookkeeping(prompt: str) -> str:
    """The prompt without ids and what earlier answers cost: a repeated conversation is equal."""
    try:
        messages = orjson.loads(prompt)
        if not messages or any(each["type"] != "constructor" for each in messages):
            return prompt
        order: dict[str | None, int] = {}
        for message in messages:
            _simplify(message["kwargs"], order)
        return orjson.dumps(messages).decode()
    except (ValueError, TypeError, KeyError, AttributeError):
        return prompt  # a text model's prompt is no JSON of messages


def _simplify(message: dict[str, Any], order: dict[str | None, int]) -> None:
    """Drop bookkeeping; a tool call is named by its place in `order` instead of its id."""
    for name in ("id", "response_metadata", "usage_metadata"):
        message.pop(name, None)
    if calls := message.get("tool_calls"):
        message["content"] = without_call_ids(message["content"])
        message.get("additional_kwargs", {}).pop("tool_calls", None)  # the same, as it was sent
        for call in calls:
            call["id"] = order.setdefault(call["id"], len(order))
    if "tool_call_id" in message:
        message["tool_call_id"] = order.get(message["tool_call_id"])


def _encoded(generations: Sequence[Generation]) -> bytes | None:
    """The answers as bytes; `None` if they hold what cannot be written down."""
    try:
        return encode(generations)
    except (TypeError, ValueError):
        return None


def _marked(generation: Generation, age: float) -> Generation:
    """The answer as a hit: a fresh id, no usage to bill, and a note of where it came from.

    A message that keeps its id would replace the earlier answer of its thread in LangGraph.
    """
    message = getattr(generation, "message", None)
    if not isinstance(message, AIMessage):
        return generation
    mark = {"tier": "exact", "age": age, "usage_metadata": message.usage_metadata}
    message.id = f"lc_run--{new_id()}"
    message.usage_metadata = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
    # OpenAI's raw form of the same numbers, which some handlers read first.
    for name in ("token_usage", "usage"):
        message.response_metadata.pop(name, None)
    message.response_metadata["llmops_cache"] = mark
    return generation
