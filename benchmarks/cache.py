"""Exact cache: hits, updates and file size against LangChain's caches, then a whole `invoke`.

Every store holds the same answers under the same keys. 100,000 updates of `SQLiteCache` would take
half an hour, so both databases are filled through their own tables; what is timed goes through
`lookup` and `update`. Prompts are of 2 kB, answers of 500 characters with what OpenAI adds to them.

    python benchmarks/cache.py
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory
from typing import Any

from langchain_community.cache import FullLLMCache, SQLiteCache
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized
from pydantic import PrivateAttr
from sqlalchemy import Connection, event, insert
from typing_extensions import override

from llmops_langchain import LLMOps
from llmops_langchain.cache import ResponseCache
from llmops_langchain.cache.codec import encode
from llmops_langchain.clock import system_clock
from llmops_langchain.ledger import Scope
from llmops_langchain.storage import Database
from llmops_langchain.storage.packing import Packer
from llmops_langchain.storage.schema import cache_entries
from llmops_langchain.wrapping import core_parts

SIZES = sized((1_000, 10_000, 100_000), quick=(50, 100))
LOOKUPS = sized(500, quick=10)
UPDATES = sized(200, quick=10)
INVOKES = sized(300, quick=10)
DATABASE, MEMORY = "`ResponseCache`, from the file", "`ResponseCache`, from memory"
SQLITE, CORE = "community `SQLiteCache`", "core `InMemoryCache`"
RELAXED = "community `SQLiteCache` that waits for no disk, as ours"

USAGE = {"input_tokens": 480, "output_tokens": 120, "total_tokens": 600}
INFO = {
    "token_usage": {"prompt_tokens": 480, "completion_tokens": 120, "total_tokens": 600},
    "model_provider": "openai",
    "model_name": "gpt-5-mini-2025-08-07",
    "system_fingerprint": "fp_50cad350e4",
    "id": "chatcmpl-CPkkC8y6cY2LqLAnnGzHkHyFvuvsf",
    "service_tier": "default",
    "finish_reason": "stop",
    "logprobs": None,
}


class OfflineOpenAI(ChatOpenAI):
    """A real `ChatOpenAI` but for the request: it gives one answer and counts how often."""

    _calls: int = PrivateAttr(default=0)

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._calls += 1
        return ChatResult(generations=[answer(0)])


def words(count: int) -> str:
    """Text of as many random words."""
    rng = random.Random(0)  # noqa: S311 - repeatable text, no secret
    lengths = (rng.randint(2, 9) for _ in range(2_000))
    vocabulary = ["".join(rng.choices(ascii_lowercase, k=length)) for length in lengths]
    return " ".join(rng.choices(vocabulary, k=count))


CORPUS = words(20_000)


def text(number: int, length: int) -> str:
    """The text of that number; no two begin alike."""
    start = number * 7_919 % (len(CORPUS) - length)
    return f"{number * 2_654_435_761 % 2**32:08x}{CORPUS[start : start + length - 8]}"


def answer(number: int) -> ChatGeneration:
    """The answer to the prompt of that number."""
    message = AIMessage(
        text(number, 500), id=f"run--{number}", usage_metadata=USAGE, response_metadata=INFO
    )
    return ChatGeneration(message=message, generation_info={"finish_reason": "stop"})


PROMPT = dumps([HumanMessage(text(0, 2_000))])
STORED = dumps(answer(0))
MODEL = OfflineOpenAI(model="gpt-5-mini", api_key="none")._get_llm_string()


def prompt(number: int) -> str:
    """The prompt of that number as LangChain writes it; `dumps` is not what is measured."""
    return PROMPT.replace(text(0, 2_000), text(number, 2_000))


def stored(number: int) -> str:
    """The answer of that number as `SQLiteCache` writes it."""
    return STORED.replace(text(0, 500), text(number, 500)).replace("run--0", f"run--{number}")


def fill_ours(database: Database, numbers: range) -> None:
    """As `update` would, in few transactions."""
    now, packer = system_clock(), Packer()

    def row(number: int) -> dict[str, Any]:
        parts = core_parts(prompt(number), MODEL, scope=Scope().owner("workspace") or "")
        value = packer.pack(parts.key, encode([answer(number)]))
        fingerprint = parts.fingerprint
        return {
            "key": parts.key,
            "value": value,
            "created_at": now,
            "expires_at": now + 3_600,
            "used_at": now,
            "size": len(value) + len(fingerprint) + 300,
            "fingerprint": fingerprint,
        }

    with database.begin() as connection:
        insert_all(connection, cache_entries, map(row, numbers))


def fill_sqlite_cache(cache: SQLiteCache, numbers: range) -> None:
    """As `update` would, in one transaction."""
    rows = (
        {"prompt": prompt(number), "llm": MODEL, "idx": 0, "response": stored(number)}
        for number in numbers
    )
    with cache.engine.begin() as connection:
        insert_all(connection, FullLLMCache, rows)


def insert_all(connection: Connection, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    """Insert the rows, 5,000 at a time."""
    while some := list(islice(rows, 5_000)):
        connection.execute(insert(table), some)


def fill_core(cache: InMemoryCache, numbers: range) -> None:
    """By its own `update`."""
    for number in numbers:
        cache.update(prompt(number), MODEL, [answer(number)])


def look_up(cache: BaseCache) -> Callable[[str], object]:
    """`cache.lookup` of a prompt."""
    return lambda asked: cache.lookup(asked, MODEL)


def update(cache: BaseCache) -> Callable[[tuple[str, list[ChatGeneration]]], object]:
    """`cache.update` with a prompt and its answer."""
    return lambda pair: cache.update(pair[0], MODEL, pair[1])


def check(cache: BaseCache, numbers: Sequence[int]) -> None:
    """Each prompt finds its own answer, whole; a prompt that was never asked finds none."""
    assert cache.lookup(prompt(-1), MODEL) is None
    for number in numbers:
        (found,) = cache.lookup(prompt(number), MODEL) or ()
        assert isinstance(found, ChatGeneration)
        assert isinstance(found.message, AIMessage)
        assert found.text == text(number, 500)
        said = dict(found.message.response_metadata)
        # A hit of ours bills nothing: what was paid for once stands in the mark.
        mark = said.pop("llmops_cache", {"usage_metadata": found.message.usage_metadata})
        assert said | {"token_usage": INFO["token_usage"]} == INFO
        assert mark["usage_metadata"] == USAGE


def time_stores(folder: Path, size: int) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Hits and updates of each store, filled with `size` answers that were checked."""
    database = Database(f"sqlite:///{folder}/ours.db")
    theirs, core = SQLiteCache(f"{folder}/theirs.db"), InMemoryCache()
    fill_ours(database, range(size))
    fill_sqlite_cache(theirs, range(size))
    fill_core(core, range(size))
    ours = ResponseCache(database, max_items=0)
    written: dict[str, BaseCache] = {DATABASE: ours, SQLITE: theirs, CORE: core}
    read = {**written, MEMORY: ResponseCache(database)}
    known = random.Random(1).sample(range(size), min(size, LOOKUPS))  # noqa: S311 - as above
    fresh = range(size, size + UPDATES)
    with closing(database), closing_engine(theirs):
        for cache in read.values():
            check(cache, known)
        hits = in_turn(
            {name: look_up(cache) for name, cache in read.items()},
            [prompt(number) for number in known],
        )
        updates = in_turn(
            {name: update(cache) for name, cache in written.items()},
            pairs(fresh),
        )
        for cache in read.values():
            check(cache, fresh)
        return hits, updates | time_relaxed(theirs, range(fresh.stop, fresh.stop + UPDATES))


def time_relaxed(cache: SQLiteCache, fresh: Sequence[int]) -> dict[str, Timing]:
    """Updates on the same file without what a busy disk decides: how fast a commit is there."""

    @event.listens_for(cache.engine, "connect")
    def _(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    cache.engine.dispose()
    updates = in_turn({RELAXED: update(cache)}, pairs(fresh))
    check(cache, fresh)
    return updates


def pairs(numbers: Sequence[int]) -> list[tuple[str, list[ChatGeneration]]]:
    """Prompts with their answers."""
    return [(prompt(number), [answer(number)]) for number in numbers]


@contextmanager
def closing_engine(cache: SQLiteCache) -> Iterator[None]:
    """`SQLiteCache` has no `close`."""
    yield
    cache.engine.dispose()


def megabytes(folder: Path, name: str) -> float:
    """Size of a database and of what SQLite keeps beside it."""
    return sum(path.stat().st_size for path in folder.glob(f"{name}.db*") if path.is_file()) / 1e6


def compare_stores() -> list[Claim]:
    """Print the stores at every size; the claims are for the largest."""
    rows: list[Sequence[object]] = []
    for size in SIZES:
        with TemporaryDirectory() as name:
            folder = Path(name)
            hits, updates = time_stores(folder, size)
            files = {DATABASE: megabytes(folder, "ours"), SQLITE: megabytes(folder, "theirs")}
        rows += [
            (size, store, p50(hits, store), p50(updates, store), files.get(store, ""))
            for store in (DATABASE, MEMORY, SQLITE, RELAXED, CORE)
        ]
    print_table(
        f"Stores: {len(MODEL) + len(PROMPT):,} bytes of key, {len(STORED):,} of answer",
        ("entries", "store", "hit, p50 µs", "update, p50 µs", "file, MB"),
        rows,
    )
    relaxed = updates[RELAXED].p50 / updates[DATABASE].p50
    at = f"at {SIZES[-1]:,} entries"
    return [
        Claim(
            what=f"faster hit from the file {at}",
            against=SQLITE,
            result=hits[SQLITE].p50 / hits[DATABASE].p50,
            goal=10,
        ),
        Claim(
            what=f"faster update {at}",
            against=f"{SQLITE} ({relaxed:.0f} times if it waited for no disk)",
            result=updates[SQLITE].p50 / updates[DATABASE].p50,
            goal=50,
        ),
        Claim(
            what=f"file {at}",
            against=SQLITE,
            result=files[DATABASE] / files[SQLITE],
            goal=0.25,
            at_most=True,
        ),
        Claim(
            what="hit from memory",
            against="none",
            result=hits[MEMORY].p50,
            goal=20,
            unit="µs",
            at_most=True,
        ),
    ]


def p50(timings: Mapping[str, Timing], store: str) -> float | str:
    """The median; nothing for what is the same as in the row above."""
    return timings[store].p50 if store in timings else ""


def history() -> list[BaseMessage]:
    """42 messages of an agent that calls a tool each turn, as a provider answers."""
    messages: list[BaseMessage] = [SystemMessage(text(0, 1_000))]
    for turn in range(10):
        call = {"name": "search", "args": {"query": text(turn, 60)}, "id": f"call_{turn:024}"}
        messages += [
            HumanMessage(text(turn, 200)),
            AIMessage("", tool_calls=[call], usage_metadata=USAGE, response_metadata=INFO),
            ToolMessage(text(turn, 600), tool_call_id=call["id"]),
            AIMessage(text(turn, 400), usage_metadata=USAGE, response_metadata=INFO),
        ]
    return [*messages, HumanMessage(text(10, 200))]


def compare_invoke() -> list[Claim]:
    """Print a whole `invoke` that is answered from memory, and the same one without a cache."""
    asked = history()
    with TemporaryDirectory() as folder, LLMOps(f"sqlite:///{folder}/ours.db") as ops:
        models = {
            "`ops.cached(model)`": ops.cached(openai()),
            "`set_llm_cache(ops.cache)`": openai(cache=ops.cache),
            f"`set_llm_cache` of {CORE}": openai(cache=InMemoryCache()),
            "no cache, a model that answers at once": openai(cache=False),
        }
        for name, model in models.items():
            told = [model.invoke(asked).text for _ in range(3)]
            assert told == [text(0, 500)] * 3
            assert model._calls == (3 if name.startswith("no cache") else 1)
        spent = in_turn({name: model.invoke for name, model in models.items()}, [asked] * INVOKES)
        streamed = models["`ops.cached(model)`"]
        assert "".join(chunk.text for chunk in streamed.stream(asked)) == text(0, 500)
        first = in_turn({"first": lambda said: next(streamed.stream(said))}, [asked] * INVOKES)
    print_table(
        f"Whole `invoke` with {len(asked)} messages, answered from memory",
        ("path", "p50 µs", "times as fast as core's"),
        [(name, each.p50, spent[list(models)[2]].p50 / each.p50) for name, each in spent.items()],
    )
    ours, _, core, _ = spent.values()
    return [
        Claim(
            what=f"faster `invoke` hit with {len(asked)} messages, `ops.cached(model)`",
            against=CORE,
            result=core.p50 / ours.p50,
            goal=5,
        ),
        Claim(
            what=f"first chunk of a streamed hit with {len(asked)} messages",
            against="none",
            result=first["first"].p50,
            goal=1_000,
            unit="µs",
            at_most=True,
        ),
    ]


def openai(**settings: Any) -> OfflineOpenAI:
    """A `ChatOpenAI` that was not asked yet. `cache=` takes the way of `set_llm_cache`."""
    return OfflineOpenAI(model="gpt-5-mini", api_key="none", **settings)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # `SQLiteCache` warns at each hit
    print_claims([*compare_stores(), *compare_invoke()])
