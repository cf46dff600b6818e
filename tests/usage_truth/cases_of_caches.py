"""Answers that no provider was asked for: they cost nothing, and saved what the first one cost."""

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.language_models import BaseChatModel

from usage_truth.loopback import Reply
from usage_truth.run import Case, Run, case

__all__ = ["CASES"]

CASES: list[Case] = []
CACHES = "cache hits"


@case(CASES, "core's `InMemoryCache`, asked twice", CACHES, paid=1)
async def core_cache(run: Run) -> None:
    with _global(InMemoryCache()):
        await _asked(run, run.openai(), 2)


@case(CASES, "`set_llm_cache(ops.cache)`, asked twice", CACHES, paid=1)
async def our_global_cache(run: Run) -> None:
    with _global(run.ops.cache):
        await _asked(run, run.openai(), 2)


@case(CASES, "`ops.cached(model)`, asked three times", CACHES, paid=1)
async def cached_model(run: Run) -> None:
    await _asked(run, run.ops.cached(run.openai()), 3)


@case(CASES, "`ops.cached(model)`, streamed twice", CACHES, paid=1)
async def cached_stream(run: Run) -> None:
    model = run.ops.cached(run.openai(stream_usage=True))
    await run.stream(model)
    await run.stream(model)
    run.saved += run.bills


@case(CASES, "`ops.cached(model)` of Claude, with tokens its provider had cached", CACHES, paid=1)
async def cached_claude(run: Run) -> None:
    usage = {"cache_read_input_tokens": 4_000, "input_tokens": 50, "output_tokens": 90}
    await _asked(run, run.ops.cached(run.claude(Reply(usage=usage))), 2)


async def _asked(run: Run, model: BaseChatModel, times: int) -> None:
    for _ in range(times):
        await run.invoke(model)
    run.saved += run.bills * (times - 1)


@contextmanager
def _global(cache: BaseCache) -> Iterator[None]:
    before = get_llm_cache()
    set_llm_cache(cache)
    try:
        yield
    finally:
        set_llm_cache(before)
