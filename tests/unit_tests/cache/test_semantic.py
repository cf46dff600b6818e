"""Answers found by meaning: served where the bound allows, and evidence for it gathered."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import FakeClock
from cryptography.fernet import Fernet
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from models import AsyncStreamingModel, CountingModel, StreamingModel
from sqlalchemy import select

from llmops_langchain import (
    ConfigurationError,
    Database,
    DatabaseUnavailableError,
    LLMOps,
    LLMOpsError,
    ResponseCache,
    Settings,
)
from llmops_langchain.cache import MemoryStore, SemanticPolicy, cache_options, cached
from llmops_langchain.embeddings import HashedEmbeddings
from llmops_langchain.ledger import current_scope, track
from llmops_langchain.storage.schema import cache_feedback, semantic_vectors

ASKED = "How do I reset my password?"
AGAIN = "how do i reset my password"
ONCE_MORE = "HOW DO I RESET MY PASSWORD!"
"""The same, typed otherwise: whatever the weights, these are sure."""
OTHER = "How do I not reset my password?"

TRAPS = [
    ("How do I lock my card?", "How do I unlock my card?"),
    ("Who won the cup in 2014?", "Who won the cup in 2018?"),
    ("Send 20 euros to Ann", "Send 200 euros to Ann"),
    ("Which pills may I take?", "Which pills may I not take?"),
    ("Convert a PDF to a Word file", "Convert a Word file to a PDF"),
    ("What does my home insurance cover?", "What does my car insurance cover?"),
]


def policy(**kwargs: object) -> SemanticPolicy:
    """Serves from the beginning and asks nothing again, unless a test says otherwise."""
    given = {"start": "shipped", "sampling": 0.0, "max_error": 0.05}
    return SemanticPolicy(**{"embeddings": HashedEmbeddings(), **given, **kwargs})


@pytest.fixture
def database() -> Iterator[Database]:
    with Database("sqlite://") as opened:
        yield opened


@pytest.fixture
def open_cache(database: Database, clock: FakeClock) -> Iterator[Callable[..., ResponseCache]]:
    """Makes caches over one place, as several processes would."""
    made = []

    def make(**kwargs: object) -> ResponseCache:
        kept = {name: kwargs.pop(name) for name in ("ttl", "max_items") if name in kwargs}
        made.append(ResponseCache(database, semantic=policy(**kwargs), clock=clock, **kept))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


@pytest.fixture
def cache(open_cache: Callable[..., ResponseCache]) -> ResponseCache:
    return open_cache()


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    with track(workspace="acme"):
        yield


def mark_of(answer: AIMessage) -> dict:
    return answer.response_metadata.get("llmops_cache") or {}


def look_around(cache: ResponseCache, *, times: int = 4) -> None:
    """What the watching thread does twice a second."""
    for _ in range(times):
        cache._shelf.look_around()
    cache.calibration(wait=30)  # waits for what is done in the background


class TestServing:
    def test_a_question_that_means_the_same_is_answered(self, cache, clock) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        clock.advance(5)
        answer = model.invoke(AGAIN)
        assert (answer.content, model.calls) == ("the answer", 1)
        mark = mark_of(answer)
        assert mark.keys() >= {"score", "cosine", "verdict", "run_id"}
        assert mark["tier"] == "semantic"
        assert mark["matched_question"] == ASKED
        assert mark["calibration"] == "shipped"
        assert mark["max_error"] == 0.05
        assert mark["age"] == 5
        assert mark["usage_metadata"]["input_tokens"] == 10
        assert answer.usage_metadata["total_tokens"] == 0

    @pytest.mark.parametrize(("first", "second"), TRAPS)
    def test_a_question_that_means_something_else_is_asked(self, cache, first, second) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(first)
        assert not mark_of(model.invoke(second))
        assert model.calls == 2

    def test_the_exact_tier_comes_first(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        assert mark_of(model.invoke(ASKED))["tier"] == "exact"

    def test_hits_are_counted_by_tier(self, cache) -> None:
        model = cached(CountingModel(), cache)
        for text in (ASKED, ASKED, AGAIN, OTHER):
            model.invoke(text)
        stats = cache.stats()
        assert dict(stats.hits_by_tier) == {"exact": 1, "semantic": 1}
        assert (stats.hits, stats.misses, stats.saved_input_tokens) == (2, 2, 20)

    def test_a_hit_is_no_answer_of_its_own(self, cache) -> None:
        """A wrong one must not become an exact one."""
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        assert [mark_of(model.invoke(AGAIN))["tier"] for _ in "ab"] == ["semantic"] * 2

    async def test_asyncio(self, cache) -> None:
        model = cached(CountingModel(), cache)
        await model.ainvoke(ASKED)
        assert mark_of(await model.ainvoke(AGAIN))["tier"] == "semantic"

    def test_batches(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.batch([ASKED, "When do you open?"])
        answers = model.batch([AGAIN, "when do you open ?"])
        assert [mark_of(each)["tier"] for each in answers] == ["semantic"] * 2

    def test_streams(self, cache) -> None:
        model = cached(StreamingModel(), cache)
        said = "".join(chunk.text for chunk in model.stream(ASKED))
        chunks = list(model.stream(AGAIN))
        assert "".join(chunk.text for chunk in chunks) == said
        assert model.calls == 1
        assert len(chunks) > 1
        whole = sum(chunks[1:], chunks[0])
        assert mark_of(whole)["tier"] == "semantic"

    async def test_streams_of_asyncio(self, cache) -> None:
        model = cached(AsyncStreamingModel(), cache)
        said = "".join([chunk.text async for chunk in model.astream(ASKED)])
        assert "".join([chunk.text async for chunk in model.astream(AGAIN)]) == said
        assert model.calls == 1

    def test_what_was_streamed_is_found_by_invoke(self, cache) -> None:
        model = cached(StreamingModel(), cache)
        list(model.stream(ASKED))
        assert mark_of(model.invoke(AGAIN))["tier"] == "semantic"

    def test_text_models(self, cache) -> None:
        model = cached(FakeListLLM(responses=["one", "two", "three"]), cache)
        result = model.generate([ASKED])
        result = model.generate([AGAIN, OTHER])
        first, second = (each[0] for each in result.generations)
        assert first.text == "one"
        assert first.generation_info["llmops_cache"]["tier"] == "semantic"
        assert second.text == "two"

    def test_set_llm_cache(self, cache) -> None:
        set_llm_cache(cache)
        try:
            model = CountingModel()
            model.invoke(ASKED)
            assert mark_of(model.invoke(AGAIN))["tier"] == "semantic"
            assert not mark_of(model.invoke(OTHER))
        finally:
            set_llm_cache(None)


class TestScope:
    @pytest.mark.parametrize(
        "before",
        [
            [SystemMessage("Be brief.")],
            [HumanMessage("Hello"), AIMessage("Hello!")],
            [
                HumanMessage("Look"),
                AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
            ],
        ],
    )
    def test_other_conversations_are_never_answered(self, cache, before) -> None:
        model = cached(CountingModel(), cache)
        model.invoke([*before, HumanMessage(ASKED)])
        assert mark_of(model.invoke([*before, HumanMessage(AGAIN)]))
        assert not mark_of(model.invoke(AGAIN))

    def test_other_tools_and_parameters_are_never_answered(self, cache) -> None:
        plain = CountingModel()
        tool = {"type": "function", "function": {"name": "look"}}
        ways = [
            {},
            {"tools": [tool]},
            {"stop": ["."]},
            {"response_format": {"type": "json_object"}},
        ]
        model = cached(plain, cache)
        for way in ways:
            assert not mark_of(model.bind(**way).invoke(ASKED))
        for way in ways:
            assert mark_of(model.bind(**way).invoke(AGAIN))["tier"] == "semantic"

    def test_another_workspace_is_never_answered(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        with track(workspace="rival"):
            assert not mark_of(model.invoke(AGAIN))

    @pytest.mark.parametrize("share", ["project", "user"])
    def test_another_project_or_user_is_not_answered_if_they_do_not_share(
        self, cache, share
    ) -> None:
        model = cached(CountingModel(), cache)
        with cache_options(share=share):
            for name, again in (("one", False), ("one", True), ("two", False)):
                with track(**{share: name}):
                    answer = model.invoke(AGAIN if again or name == "two" else ASKED)
                assert bool(mark_of(answer)) is again

    def test_without_a_declared_scope_only_equal_calls_are_answered(self, cache, caplog) -> None:
        model = cached(CountingModel(), cache)

        def undeclared() -> list[bool]:  # a new thread starts without a scope
            return [bool(mark_of(model.invoke(text))) for text in (ASKED, AGAIN, ASKED)]

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(undeclared).result() == [False, False, True]
        assert dict(cache.stats().exact_only) == {"no scope is declared": 2}
        assert caplog.text.count("track(workspace=…)") == 1

    def test_metadata_may_declare_it(self, cache) -> None:
        model = cached(CountingModel(), cache)
        config = {"metadata": {"workspace": "acme"}}
        with ThreadPoolExecutor(1) as pool:
            pool.submit(model.invoke, ASKED, config).result()
            assert mark_of(pool.submit(model.invoke, AGAIN, config).result())

    def test_after_a_tool_only_equal_calls_are_answered(self, cache) -> None:
        model = cached(CountingModel(), cache)
        call = {"name": "look", "args": {}, "id": "1"}
        before = [HumanMessage(ASKED), AIMessage("", tool_calls=[call])]
        model.invoke([*before, ToolMessage(ASKED, tool_call_id="1")])
        assert not mark_of(model.invoke([*before, ToolMessage(AGAIN, tool_call_id="1")]))
        assert dict(cache.stats().exact_only) == {"the last turn is not the user's": 2}


PROMPT = "Answer from these documents:\n{}\nQuestion: {}"


class TestSources:
    def both(self, ask: Callable[[str, str], AIMessage]) -> list[bool]:
        """Whether a paraphrase over the same, and over another document, was answered."""
        ask("The door is red.", ASKED)
        return [bool(mark_of(ask(doc, AGAIN))) for doc in ("The door is red.", "The door is blue.")]

    def test_by_the_options_of_a_block(self, cache) -> None:
        model = cached(CountingModel(), cache)

        def ask(document: str, question: str) -> AIMessage:
            with cache_options(question=question, sources=[Document(document)]):
                return model.invoke(PROMPT.format(document, question))

        assert self.both(ask) == [True, False]

    def test_by_functions_of_the_policy(self, open_cache) -> None:
        cache = open_cache(
            question=lambda messages: messages[-1].text.partition("Question: ")[2],
            sources=lambda messages: messages[-1].text.partition("Question: ")[0],
        )
        model = cached(CountingModel(), cache)
        asked = self.both(lambda *said: model.invoke(PROMPT.format(*said)))
        assert asked == [True, False]

    def test_by_functions_on_the_path_of_core(self, open_cache) -> None:
        cache = open_cache(question=lambda messages: messages[-1].text.partition("Question: ")[2])
        set_llm_cache(cache)
        try:
            model = CountingModel()
            asked = self.both(lambda *said: model.invoke(PROMPT.format(*said)))
        finally:
            set_llm_cache(None)
        assert asked == [True, False]

    def test_by_the_message_itself(self, cache) -> None:
        model = cached(CountingModel(), cache)

        def ask(document: str, question: str) -> AIMessage:
            told = {"llmops_question": question, "llmops_sources": [document]}
            text = PROMPT.format(document, question)
            return model.invoke([HumanMessage(text, additional_kwargs=told)])

        assert self.both(ask) == [True, False]

    @pytest.mark.parametrize(
        ("function", "reason"),
        [
            (lambda _: None, "`question` found none"),
            (lambda _: "elsewhere", "the question is not in the last turn"),
            (lambda messages: messages[99], "`question` or `sources` failed"),
        ],
    )
    def test_a_function_that_finds_nothing_leaves_the_exact_tier(
        self, open_cache, function, reason
    ) -> None:
        cache = open_cache(question=function)
        model = cached(CountingModel(), cache)
        answers = [model.invoke(text) for text in (ASKED, ASKED, AGAIN)]
        assert [bool(mark_of(each)) for each in answers] == [False, True, False]
        assert dict(cache.stats().exact_only) == {reason: 2}


class TestFreshness:
    def test_an_expired_answer_is_not_served(self, open_cache, clock) -> None:
        model = cached(CountingModel(), open_cache(ttl=60))
        model.invoke(ASKED)
        clock.advance(59)
        assert mark_of(model.invoke(AGAIN))
        clock.advance(1)
        assert not mark_of(model.invoke(AGAIN))

    def test_a_block_may_want_a_younger_answer(self, cache, clock) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        clock.advance(30)
        with cache_options(ttl=20):
            assert not mark_of(model.invoke(AGAIN))

    def test_an_invalidated_answer_is_gone(self, cache) -> None:
        model = cached(CountingModel(), cache)
        with cache_options(tags=["handbook"]):
            model.invoke(ASKED)
        cache.invalidate("handbook")
        assert not mark_of(model.invoke(AGAIN))

    def test_tags_of_a_hit_belong_to_the_answer_from_then_on(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        with cache_options(tags=["handbook"]):
            assert mark_of(model.invoke(AGAIN))
        cache.invalidate("handbook")
        assert not mark_of(model.invoke(ASKED))

    def test_clear_forgets_the_questions(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        cache.clear()
        assert not mark_of(model.invoke(AGAIN))

    def test_refresh_asks_and_is_found_from_then_on(self, cache) -> None:
        model = cached(CountingModel(), cache)
        with cache_options(refresh=True):
            assert not mark_of(model.invoke(ASKED))
            assert not mark_of(model.invoke(AGAIN))
        assert mark_of(model.invoke(ONCE_MORE))["tier"] == "semantic"

    def test_an_answer_that_was_cut_short_is_not_found(self, cache) -> None:
        model = cached(CountingModel(finish_reason="length"), cache)
        model.invoke(ASKED)
        assert not mark_of(model.invoke(AGAIN))


class TestProcesses:
    def test_a_question_of_another_process_is_found(self, open_cache) -> None:
        first, second = open_cache(), open_cache()
        asking, finding = cached(CountingModel(), first), cached(CountingModel(), second)
        finding.invoke("When do you open?")  # what it holds in memory is older than the question
        asking.invoke(ASKED)
        look_around(second)
        assert mark_of(finding.invoke(AGAIN))["matched_question"] == ASKED

    def test_an_invalidation_by_another_process_is_seen(self, open_cache) -> None:
        first, second = open_cache(), open_cache()
        model = cached(CountingModel(), first)
        with cache_options(tags=["handbook"]):
            model.invoke(ASKED)
        assert mark_of(model.invoke(AGAIN))
        second.invalidate("handbook")
        look_around(first)
        assert not mark_of(model.invoke(AGAIN))

    def test_a_changed_embedder_learns_what_the_other_knew(self, open_cache) -> None:
        cached(CountingModel(), open_cache()).invoke(ASKED)
        changed = open_cache(embeddings=HashedEmbeddings(dimensions=128))
        model = cached(CountingModel(), changed)
        model.invoke("When do you open?")
        look_around(changed)
        assert mark_of(model.invoke(AGAIN))["matched_question"] == ASKED

    def test_a_popular_paraphrase_holds_up_no_other_process(self, open_cache) -> None:
        first, second = (cached(CountingModel(), open_cache()) for _ in range(2))
        first.invoke(ASKED)
        for _ in range(20):
            assert mark_of(first.invoke(AGAIN))
            assert mark_of(second.invoke(AGAIN))
        assert first.calls + second.calls == 1

    def test_questions_whose_answers_had_to_go_are_dropped(self, cache, database) -> None:
        model = cached(CountingModel(), cache)
        with cache_options(tags=["ann"]):
            model.invoke("I am Ann. What do I owe?")
        cache.invalidate("ann")
        look_around(cache, times=120)
        for _ in range(5):  # what was due while another round was on its way
            look_around(cache)
        with database.begin(read_only=True) as connection:
            bodies = connection.execute(select(semantic_vectors.c.body)).scalars().all()
        assert bodies == [b""]

    def test_equal_calls_at_once_are_answered_by_one_look(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        together = threading.Barrier(16)

        def ask() -> AIMessage:
            with track(workspace="acme"):
                together.wait()
                return model.invoke(AGAIN)

        with ThreadPoolExecutor(16) as pool:
            answers = [each.result() for each in [pool.submit(ask) for _ in range(16)]]
        assert {mark_of(each)["tier"] for each in answers} == {"semantic"}
        assert model.calls == 1

    async def test_equal_calls_of_tasks_ask_once(self, cache) -> None:
        model = cached(CountingModel(), cache)
        await asyncio.gather(*(model.ainvoke(ASKED) for _ in range(16)))
        assert model.calls == 1


class Failing(Embeddings):
    """An embedder that is down until it is up again."""

    def __init__(self) -> None:
        self.is_down, self.asked, self._up = True, 0, HashedEmbeddings()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += 1
        if self.is_down:
            msg = f"no connection for {texts}"
            raise ConnectionError(msg)
        return self._up.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def failing(*_: object, **__: object) -> None:
    msg = "it is away"
    raise DatabaseUnavailableError(msg)


def written_in(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


class TestFailures:
    def test_an_embedder_that_is_down_leaves_the_exact_tier(
        self, open_cache, clock, caplog
    ) -> None:
        embeddings = Failing()
        cache = open_cache(embeddings=embeddings)
        model = cached(CountingModel(), cache)
        assert [bool(mark_of(model.invoke(text))) for text in (ASKED, ASKED)] == [False, True]
        model.invoke("When do you open?")
        asked = embeddings.asked
        model.invoke("When do you close?")
        assert embeddings.asked == asked  # it is left alone for a while
        assert cache.stats().semantic_errors >= 1
        assert "password" not in caplog.text
        embeddings.is_down = False
        clock.advance(5)
        model.invoke("What does it cost?")
        assert mark_of(model.invoke("what does it cost ?"))["tier"] == "semantic"

    def test_one_odd_question_says_nothing_of_the_others(self, open_cache) -> None:
        class Odd(HashedEmbeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                made = super().embed_documents(texts)
                odd = zip(texts, made, strict=True)
                return [
                    [0.0] * len(each) if "\N{PILE OF POO}" in text else each for text, each in odd
                ]

        cache = open_cache(embeddings=Odd())
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        for number in range(5):
            model.invoke(f"\N{PILE OF POO}{number}")
        assert mark_of(model.invoke(AGAIN))
        assert cache.stats().semantic_errors == 10

    def test_a_store_that_is_away_loses_no_question(self, open_cache, monkeypatch, clock) -> None:
        cache = open_cache(max_items=0)
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        store = cache._shelf._store
        with monkeypatch.context() as away:
            away.setattr(type(store), "get", failing)
            model.invoke(AGAIN)
        clock.advance(5)
        model.invoke(ASKED)
        assert mark_of(model.invoke(ONCE_MORE))

    def test_clear_and_feedback_need_no_embedder(self, open_cache, database) -> None:
        model = cached(CountingModel(), open_cache())
        model.invoke(ASKED)
        hit = model.invoke(AGAIN)
        embeddings = Failing()
        other = open_cache(embeddings=embeddings)
        assert other.feedback(hit, correct=True)
        other.clear()
        with database.begin(read_only=True) as connection:
            bodies = connection.execute(select(semantic_vectors.c.body)).scalars().all()
        assert not any(bodies)
        with pytest.raises(LLMOpsError, match="ConnectionError"):
            other.calibration()
        assert embeddings.asked == 1

    def test_switched_off_it_passes_through(self) -> None:
        settings = Settings(disabled=True)
        with LLMOps("sqlite:////nowhere/at/all.db", settings, semantic=policy()) as ops:
            assert ops.cached(CountingModel()).invoke(ASKED).content == "the answer"
            assert not ops.cache.feedback(uuid4(), correct=False)
            assert ops.cache.calibration().threshold is None

    @pytest.mark.parametrize("wrong", [True, "shipped", 0.02, {"max_error": 0.02}, SemanticPolicy])
    def test_what_is_no_policy_is_refused(self, wrong) -> None:
        with pytest.raises(ConfigurationError, match="SemanticPolicy"):
            LLMOps("sqlite://", semantic=wrong)

    def test_the_word_of_a_judge_that_says_no_in_words_does_not_count(self, open_cache) -> None:
        cache = open_cache(judge=lambda _: "no", start="shadow")
        model = cached(CountingModel(), cache)
        for text in (ASKED, AGAIN):
            model.invoke(text)
        assert cache.calibration(wait=30).labels == 0
        assert cache.stats().semantic_errors == 1

    def test_feedback_is_right_or_wrong(self, cache) -> None:
        with pytest.raises(ConfigurationError, match="correct"):
            cache.feedback("run", correct="no")

    def test_a_judge_that_fails_breaks_nothing(self, open_cache) -> None:
        def judge(_: object) -> bool:
            msg = "no idea"
            raise ValueError(msg)

        cache = open_cache(judge=judge, start="shadow")
        model = cached(CountingModel(), cache)
        assert [model.invoke(text).content for text in (ASKED, AGAIN)] == ["the answer"] * 2
        assert cache.calibration(wait=30).labels == 0
        assert cache.stats().semantic_errors == 1

    def test_a_database_that_is_away_leaves_the_model(self, clock) -> None:
        database = Database("sqlite:////nowhere/at/all.db")
        cache = ResponseCache(MemoryStore(), rows=database, semantic=policy(), clock=clock)
        model = cached(CountingModel(), cache)
        assert [model.invoke(text).content for text in (ASKED, AGAIN)] == ["the answer"] * 2
        assert model.calls == 2
        cache.close()

    def test_without_a_database_questions_live_in_memory(self, clock) -> None:
        cache = ResponseCache(MemoryStore(), semantic=policy(), clock=clock)
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        assert mark_of(model.invoke(AGAIN))["tier"] == "semantic"
        cache.close()

    @pytest.mark.parametrize("keys", [(), (Fernet.generate_key().decode(),)], ids=["none", "one"])
    def test_no_question_is_readable_where_encryption_is_required(self, tmp_path, keys) -> None:
        file = tmp_path / "a.db"
        settings = Settings(encryption_key=keys, require_encryption=True)
        with LLMOps(f"sqlite:///{file}", settings, semantic=policy()) as ops:
            model = ops.cached(CountingModel())
            with ops.track(workspace="acme"):
                model.invoke("Zanzibar?")
                assert mark_of(model.invoke("zanzibar ?"))["tier"] == "semantic"
        assert b"anzibar" not in written_in(tmp_path)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_error": 0},
            {"max_error": 1.5},
            {"max_error": "0.02"},
            {"confidence": 1},
            {"sampling": -0.1},
            {"start": "now"},
            {"embeddings": "openai"},
            {"judge": True},
            {"judge": asyncio.sleep},
            {"max_chars": 0},
        ],
    )
    def test_a_policy_that_makes_no_sense_is_refused(self, wrong) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            SemanticPolicy(**wrong)


def pairs(count: int) -> list[tuple[str, str]]:
    """Questions, each also with a slip of the pen."""
    things = [f"{name}{at}" for at in range(count // 20 + 1) for name in "abcdefghijklmnopqrst"]
    return [(f"How do I reset device {each}?", f"how do i reset device {each}") for each in things][
        :count
    ]


class TestTheBound:
    def test_in_shadow_nothing_is_served_and_answers_are_compared(self, open_cache) -> None:
        cache = open_cache(start="shadow")
        model = cached(CountingModel(), cache)
        assert not any(mark_of(model.invoke(text)) for text in (ASKED, AGAIN))
        assert model.calls == 2
        standing = cache.calibration(wait=30)
        assert (standing.state, standing.threshold) == ("shadow", None)
        assert dict(standing.evidence)["shadow"] == (1, 0)
        assert cache.stats().shadowed == cache.stats().judged == 1

    def test_it_opens_when_the_evidence_is_there(self, open_cache) -> None:
        cache = open_cache(start="shadow")
        model = cached(CountingModel(), cache)
        for asked, again in pairs(120):
            model.invoke(asked)
            model.invoke(again)
        standing = cache.calibration(wait=30)
        assert standing.state == "calibrated"
        model.invoke(ASKED)
        assert mark_of(model.invoke(AGAIN))["calibration"] == "calibrated"

    def test_it_closes_when_the_evidence_turns_bad(self, cache) -> None:
        model = cached(CountingModel(), cache)
        served = 0
        for asked, again in pairs(200):
            model.invoke(asked)
            answer = model.invoke(again)
            if not mark_of(answer):
                break
            served += 1
            assert cache.feedback(answer, correct=False)
        assert 0 < served <= 20
        assert cache.calibration(wait=30).state == "closed"

    def test_other_processes_see_the_same(self, open_cache) -> None:
        first, second = open_cache(start="shadow"), open_cache(start="shadow")
        model = cached(CountingModel(), first)
        for asked, again in pairs(30):
            model.invoke(asked)
            model.invoke(again)
        assert first.calibration(wait=30) == second.calibration()
        assert second.calibration().labels == 30

    def test_a_share_of_the_hits_is_asked_again(self, open_cache) -> None:
        cache = open_cache(sampling=0.3)
        model = cached(CountingModel(), cache)
        marks = []
        for asked, again in pairs(100):
            model.invoke(asked)
            marks.append(bool(mark_of(model.invoke(again))))
        assert 50 <= sum(marks) <= 90
        assert cache.calibration(wait=30).labels == 100 - sum(marks)


class TestFeedback:
    def test_by_the_run_id_the_app_gave(self, cache) -> None:
        model, run_id = cached(CountingModel(), cache), uuid4()
        model.invoke(ASKED)
        model.invoke(AGAIN, config={"run_id": run_id})
        assert cache.feedback(run_id, correct=True)
        assert dict(cache.calibration(wait=30).evidence)["feedback"] == (1, 0)

    def test_by_the_run_id_of_a_stream(self, cache) -> None:
        model, run_id = cached(StreamingModel(), cache), uuid4()
        list(model.stream(ASKED))
        list(model.stream(AGAIN, config={"run_id": run_id}))
        assert cache.feedback(str(run_id), correct=True)

    async def test_by_the_message(self, cache) -> None:
        model = cached(CountingModel(), cache)
        await model.ainvoke(ASKED)
        assert await cache.afeedback(await model.ainvoke(AGAIN), correct=True)

    def test_a_shadow_call_may_be_reviewed(self, open_cache) -> None:
        cache = open_cache(start="shadow", judge=lambda _: None)
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        answer = model.invoke(AGAIN)
        assert cache.calibration(wait=30).labels == 0
        assert cache.stats().undecided == 1
        assert cache.feedback(answer, correct=True)
        assert dict(cache.calibration(wait=30).evidence)["review"] == (1, 0)

    def test_a_wrong_answer_is_not_served_again(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        assert cache.feedback(model.invoke(AGAIN), correct=False)
        assert not mark_of(model.invoke(AGAIN))
        assert mark_of(model.invoke(ONCE_MORE))

    def test_unknown_runs_are_unknown(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        assert not cache.feedback(model.invoke(ASKED), correct=True)
        assert not cache.feedback(uuid4(), correct=False)

    def test_the_last_word_counts(self, cache) -> None:
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        answer = model.invoke(AGAIN)
        cache.feedback(answer, correct=True)
        cache.feedback(answer, correct=False)
        assert dict(cache.calibration(wait=30).evidence)["feedback"] == (0, 1)

    def test_a_judge_is_shown_both_sides(self, open_cache) -> None:
        shown = []
        cache = open_cache(start="shadow", judge=lambda comparison: bool(shown.append(comparison)))
        model = cached(CountingModel(), cache)
        model.invoke(ASKED)
        model.invoke(AGAIN)
        assert dict(cache.calibration(wait=30).evidence)["shadow"] == (0, 1)
        (comparison,) = shown
        assert (comparison.question, comparison.matched) == (AGAIN, ASKED)
        assert comparison.kept.content == comparison.fresh.content == "the answer"

    def test_on_the_path_of_core_a_shadow_call_is_known_once(self, open_cache, database) -> None:
        cache = open_cache(start="shadow")
        set_llm_cache(cache)
        try:
            for text in (ASKED, AGAIN):
                CountingModel().invoke(text)
        finally:
            set_llm_cache(None)
        cache.calibration(wait=30)
        with database.begin(read_only=True) as connection:
            rows = connection.execute(select(cache_feedback.c.correct)).scalars().all()
        assert rows == [True]

    async def test_the_judge_works_for_the_same_scope_and_for_no_run(self, open_cache) -> None:
        seen, loud = [], CountingModel(answer="the judge thinks aloud")

        def judge(_: object) -> bool:
            seen.append(current_scope().workspace)
            return bool(loud.invoke("Is it right?").content)

        cache = open_cache(start="shadow", judge=judge)
        model = cached(CountingModel(), cache)
        told = [
            event
            for text in (ASKED, AGAIN)
            async for event in RunnableLambda(model.ainvoke).astream_events(text, version="v2")
        ]
        assert (await cache.acalibration(wait=30)).labels == 1
        assert seen == ["acme"]
        assert "thinks aloud" not in str(told)

    def test_without_the_tier_it_says_how_to_switch_it_on(self) -> None:
        cache = ResponseCache(MemoryStore())
        for ask in (cache.calibration, lambda: cache.feedback("x", correct=True)):
            with pytest.raises(ConfigurationError, match="SemanticPolicy"):
                ask()
