"""A LangChain cache that bills nothing twice, hands out copies, and never breaks a call."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from typing_extensions import override

from llmops_langchain.cache.calls import Calls
from llmops_langchain.cache.explain import Explanation
from llmops_langchain.cache.explaining import explained
from llmops_langchain.cache.flow import Flow
from llmops_langchain.cache.forgetting import Traces
from llmops_langchain.cache.match import run_id_of
from llmops_langchain.cache.naming import asked_model, parts_of
from llmops_langchain.cache.options import (
    check_not_negative,
    check_share,
    check_tags,
)
from llmops_langchain.cache.semantic_policy import (
    SemanticPolicy,
    check_policy,
    check_verdict,
)
from llmops_langchain.cache.shelf import Shelf
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.stats import CacheStats, Tally
from llmops_langchain.cache.steps import Blocking
from llmops_langchain.cache.store import Store
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import Share, current_scope
from llmops_langchain.models import PriceBook
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.packing import Packer
from llmops_langchain.wrapping import metadata_of

if TYPE_CHECKING:
    from llmops_langchain.cache.calibration import Standing
    from llmops_langchain.cache.semantic import SemanticTier
    from llmops_langchain.cache.semantic_upkeep import SemanticUpkeep

__all__ = ["ResponseCache"]

_THREADS, _THREADS_THAT_EMBED = 4, 16
"""Calls of asyncio that may wait at a time; an embedder may be a server far away."""


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
        semantic: How answers are found by meaning too; by default only equal calls are answered.
        rows: Where the semantic tier keeps questions and evidence if `store` is no database; by
            default in memory.
        embeddings_dir: Folder of a MiniLM model, for a policy that names no embeddings.
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
        semantic: SemanticPolicy | None = None,
        rows: Database | None = None,
        embeddings_dir: Path | None = None,
        disabled: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        if not isinstance(store, Database) and not hasattr(store, "claim"):
            msg = f"a `Database` or a store is needed, such as `MemoryStore()`, got {store!r}"
            raise ConfigurationError(msg)
        check_policy(semantic)
        check_not_negative(max_items=max_items, wait=wait)
        check_share(share)
        self._share, self._disabled, self._clock = share, disabled, clock
        self._traces = Traces(encryption_keys)
        self._tally, packer = Tally(), Packer(encryption_keys)
        place = SqlStore(store) if isinstance(store, Database) else store
        self._shelf = Shelf(
            place,
            packer,
            max_items=max_items,
            clock=clock,
            on_error=partial(self._count, "errors"),
            on_unreadable=partial(self._count, "unreadable"),
            threads=_THREADS_THAT_EMBED if semantic else _THREADS,
        )
        self._semantic = None
        self._rows = store if isinstance(store, Database) else rows
        self._holds_answers = isinstance(place, SqlStore)
        if semantic is not None and not disabled:
            self._semantic = self._tier(semantic, self._rows, place, packer, embeddings_dir)
        self.calls = Calls(
            ttl=ttl, share=share, semantic=self._semantic, tally=self._tally, disabled=disabled
        )
        """Names calls."""
        self.flow = Flow(
            self._shelf,
            self._semantic,
            tally=self._tally,
            prices=prices,
            traces=self._traces,
            wait=wait,
            clock=clock,
        )
        """Answers them."""
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew: another thread of the parent may have held a lock, and counts are its own."""
        self._tally.after_fork()
        self.flow.after_fork()
        if self._semantic is not None:
            self._semantic.after_fork()

    def __deepcopy__(self, _memo: object) -> Self:
        """The cache itself: a copied model shares its answers."""
        return self

    @override
    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return self.flow.find(self.calls.of_core(prompt, llm_string))

    @override
    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        self.flow.answered(self.calls.of_core(prompt, llm_string), return_val)

    @override
    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return await self.flow.afind(self.calls.of_core(prompt, llm_string))

    @override
    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        await self.flow.aanswered(self.calls.of_core(prompt, llm_string), return_val)

    @override
    def clear(self, **kwargs: Any) -> None:
        """Forget every answer of every workspace, in every process within a second.

        Raises:
            StorageError: If the store cannot do it.
        """
        if self._disabled:
            return
        self._shelf.clear()
        if self._semantic is not None:
            self._semantic.clear()

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

    def feedback(
        self, run: UUID | str | BaseMessage, *, correct: bool, by: str | None = None
    ) -> bool:
        """Say whether an answer that was found by meaning, or would have been, was right.

        It counts for the bound, see `calibration`. A wrong one is not served there again.

        Args:
            run: LangChain's run id of the call, or the message it answered with.
            correct: Whether the kept answer served the question.
            by: Who says so; by default the user of `track(user=…)`. One user's word counts for a
                twentieth of the evidence at most; that of nobody in particular is the app's own.

        Returns:
            Whether there is such a run: exact hits and calls without a candidate are not known.

        Raises:
            ConfigurationError: If there is no semantic tier.
            StorageError: If the database cannot take it.
        """
        if self._disabled:
            return False
        check_verdict(correct)
        by = by or current_scope().user
        return self._by_meaning().feedback(run_id_of(run), correct=correct, by=by)

    async def afeedback(
        self, run: UUID | str | BaseMessage, *, correct: bool, by: str | None = None
    ) -> bool:
        """`feedback` in a worker thread."""
        by = by or current_scope().user
        say = partial(self.feedback, run, correct=correct, by=by)
        return bool(await Blocking(say).arun(self._shelf.workers))

    def calibration(self, *, wait: float = 0.0) -> "Standing":
        """What may be served by meaning now, on which evidence, and what more of it is needed.

        Args:
            wait: Seconds to wait at most for comparisons of this process that are under way.

        Raises:
            ConfigurationError: If there is no semantic tier.
            LLMOpsError: If the embedder cannot be used, or the database not be read.
        """
        if self._disabled:
            from llmops_langchain.cache.calibration import switched_off

            return switched_off()
        return self._by_meaning().calibration(wait)

    async def acalibration(self, *, wait: float = 0.0) -> "Standing":
        """`calibration` in a worker thread."""
        standing: Standing = await Blocking(partial(self.calibration, wait=wait)).arun(
            self._shelf.workers
        )
        return standing

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

    def maintain(self, now: float) -> Done:
        """Delete what has gone stale: answers, and questions and evidence of the semantic tier.

        Raises:
            StorageError: If the store or the database cannot do it.
        """
        if self._disabled:
            return {}
        done = {"expired": self._shelf.purge(now=now)}
        upkeep = self._upkeep()
        return done if upkeep is None else {**done, **upkeep.maintain(now)}

    def forget(self, whom: Subject) -> int:
        """Delete the answers that a user's, or a conversation's, calls put here; how many rows.

        Whoever was given one of them as a hit has left nothing here. The questions of these calls
        go too, and what the user said of answers. It counts for calls that are being made as well:
        their answers are not kept. The semantic tier need not be switched on.

        Args:
            whom: Of the same name in other workspaces answers may go too, which costs a call.

        Raises:
            StorageError: If the store or the database cannot do it.
        """
        if self._disabled:
            return 0
        tags = self._traces.to_forget(whom)
        keys = self._shelf.tagged(tags)
        self._shelf.invalidate(tags)
        if (upkeep := self._upkeep()) is not None:
            also = upkeep.forget(whom, keys, now=self._clock())
        else:
            also = 0 if self._semantic is None else self._semantic.forget(whom, keys)
        if self._semantic is not None:
            self._semantic.look_around()
        return len(keys) + also

    def close(self) -> None:
        """Stop following what other processes invalidate; calls go on."""
        if self._semantic is not None:
            self._semantic.close()
        self._shelf.close()

    def _tier(
        self,
        policy: SemanticPolicy,
        database: Database | None,
        store: Store,
        packer: Packer,
        embeddings_dir: Path | None,
    ) -> "SemanticTier":
        # numpy and what else it takes: only for who wants it.
        from llmops_langchain.cache.semantic_places import tier_for

        return tier_for(
            policy,
            database,
            store=store,
            packer=packer,
            shelf=self._shelf,
            tally=self._tally,
            embeddings_dir=embeddings_dir,
            clock=self._clock,
        )

    def _upkeep(self) -> "SemanticUpkeep | None":
        """For rows of the semantic tier, also those that another process left."""
        if self._rows is None:
            return None
        from llmops_langchain.cache.semantic_upkeep import SemanticUpkeep

        return SemanticUpkeep(self._rows, with_answers=self._holds_answers)

    def _by_meaning(self) -> "SemanticTier":
        if self._semantic is None:
            msg = "there is no semantic tier: `LLMOps(semantic=SemanticPolicy())` switches it on"
            raise ConfigurationError(msg)
        return self._semantic

    def _count(self, name: str) -> None:
        self._tally.add(name)
