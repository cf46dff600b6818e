"""A person's answers are found and deleted; whoever was given one of them has left nothing."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from conftest import FakeClock
from langchain_core.embeddings import DeterministicFakeEmbedding
from models import CountingModel
from sqlalchemy import func, select

from llmops_langchain import Database, ResponseCache
from llmops_langchain.cache import MemoryStore, SemanticPolicy, cache_options, cached
from llmops_langchain.cache.evidence_rows import EvidenceRows, Found, MemoryEvidence
from llmops_langchain.cache.forgetting import Traces
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import Scope, track
from llmops_langchain.storage.kept import Subject
from llmops_langchain.storage.schema import cache_entries, cache_tags, semantic_vectors

ANNE, BEN, CHAT = Subject(user="anne"), Subject(user="ben"), Subject(thread="chat")


@pytest.fixture
def opened(database: Database, clock: FakeClock) -> Iterator[ResponseCache]:
    yield (cache := ResponseCache(database, clock=clock))
    cache.close()


def ask(question: str, model: CountingModel, **scope: str) -> None:
    with track(**scope):
        model.invoke(question)


class TestAnswers:
    def test_a_persons_answers_go_and_those_of_others_stay(self, opened: ResponseCache) -> None:
        model = cached(CountingModel(), opened)
        ask("one", model, user="anne", workspace="acme")
        ask("two", model, user="ben", workspace="acme")
        assert opened.forget(ANNE) == 1
        ask("two", model, user="ben", workspace="acme")
        assert model.calls == 2
        ask("one", model, user="anne", workspace="acme")
        assert model.calls == 3

    def test_answers_that_others_share_go_too(self, opened: ResponseCache) -> None:
        model = cached(CountingModel(), opened)
        ask("one", model, user="anne", workspace="acme")
        ask("one", model, user="ben", workspace="acme")
        assert (model.calls, opened.forget(BEN)) == (1, 0)
        assert opened.forget(ANNE) == 1
        ask("one", model, user="ben", workspace="acme")
        assert (model.calls, opened.forget(BEN)) == (2, 1)

    def test_a_conversation_is_forgotten_alone(self, opened: ResponseCache) -> None:
        model = cached(CountingModel(), opened)
        ask("one", model, user="anne", thread="chat")
        ask("two", model, user="anne", thread="another")
        assert opened.forget(CHAT) == 1
        assert opened.forget(ANNE) == 1

    def test_of_metadata_the_user_and_the_conversation_are_known_too(
        self, opened: ResponseCache
    ) -> None:
        config = {"metadata": {"user_id": "anne", "thread_id": "chat"}}
        cached(CountingModel(), opened).invoke("one", config)
        cached(CountingModel(), opened).invoke("two", config)
        assert (opened.forget(CHAT), opened.forget(ANNE)) == (2, 0)

    def test_what_is_under_way_while_it_is_forgotten_is_not_kept(
        self, opened: ResponseCache
    ) -> None:
        model = CountingModel()
        asked = opened.calls.of_core
        with track(user="anne"):
            call = asked("prompt", "model")
            assert opened.flow.find(call) is None
            opened.forget(ANNE)
            opened.flow.answered(call, model._generate([]).generations)
            assert opened.flow.find(call) is None

    def test_tags_of_the_app_work_beside_it(self, opened: ResponseCache) -> None:
        model = cached(CountingModel(), opened)
        with cache_options(tags=["prices"]):
            ask("one", model, user="anne")
        opened.invalidate("prices")
        assert opened.forget(ANNE) == 0

    def test_no_name_stands_in_the_tags(self, opened, database: Database) -> None:
        ask("one", cached(CountingModel(), opened), user="anne", thread="chat")
        told = " ".join(tag for (tag,) in database.read(select(cache_tags.c.tag)))
        assert told.count("llmops:") == 2
        assert "anne" not in told
        assert "chat" not in told

    def test_a_call_of_nobody_writes_no_tag(self, opened, database: Database) -> None:
        ask("one", cached(CountingModel(), opened), workspace="acme", project="shop")
        assert database.read(select(cache_tags.c.tag)) == []

    def test_a_disabled_cache_touches_nothing(self) -> None:
        cache = ResponseCache(Database("sqlite://"), disabled=True)
        assert (cache.forget(ANNE), cache.maintain(0.0)) == (0, {})

    def test_answers_in_memory_are_forgotten(self, clock: FakeClock) -> None:
        cache = ResponseCache(MemoryStore(), clock=clock)
        model = cached(CountingModel(), cache)
        ask("one", model, user="anne")
        assert cache.forget(ANNE) == 1
        ask("one", model, user="anne")
        assert model.calls == 2


class TestTraces:
    def test_a_key_hides_who_it_was(self) -> None:
        plain, keyed = (Traces(keys).of(Scope(user="anne")) for keys in ((), ("secret",)))
        assert not plain & keyed

    def test_what_was_kept_under_an_earlier_key_or_none_is_found(self) -> None:
        now = Traces(("new", "old")).to_forget(ANNE)
        for keys in (("new",), ("old",), ()):
            assert Traces(keys).of(Scope(user="anne")) <= now

    def test_a_user_and_a_conversation_of_one_name_are_two(self) -> None:
        traces = Traces()
        assert not traces.of(Scope(user="x")) & traces.of(Scope(thread="x"))

    @pytest.mark.parametrize("named", [{}, {"user": "a", "thread": "b"}, {"user": ""}])
    def test_exactly_one_is_named(self, named: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="either a `user` or a `thread`"):
            Subject(**named, workspace="acme")


class TestMaintenance:
    def test_stale_answers_are_deleted(self, opened, database: Database, clock: FakeClock) -> None:
        ask("one", cached(CountingModel(), opened))
        clock.advance(3_600)
        assert opened.maintain(clock()) == {"expired": 1, "questions": 0, "feedback": 0}
        assert database.read(select(func.count()).select_from(cache_entries)) == [(0,)]


class TestQuestions:
    """Of the semantic tier, whose rows may be another process's."""

    @pytest.fixture
    def by_meaning(self, database: Database, clock: FakeClock) -> Iterator[ResponseCache]:
        policy = SemanticPolicy(embeddings=DeterministicFakeEmbedding(size=8))
        yield (cache := ResponseCache(database, semantic=policy, clock=clock))
        cache.close()

    def bodies(self, database: Database) -> int:
        filled = select(func.count()).where(semantic_vectors.c.body != b"")
        return database.read(filled)[0][0]

    def test_the_questions_go_with_the_answers(self, by_meaning, database, opened) -> None:
        model = cached(CountingModel(), by_meaning)
        ask("What is one?", model, workspace="acme", user="anne")
        ask("What is two?", model, workspace="acme", user="ben")
        assert self.bodies(database) == 2
        assert opened.forget(ANNE) == 2  # by a process that compares nothing
        assert self.bodies(database) == 1
        assert by_meaning.forget(BEN) == 2
        assert self.bodies(database) == 0

    def test_housekeeping_drops_questions_whose_answers_are_gone(
        self, by_meaning, database, opened, clock: FakeClock
    ) -> None:
        ask("What is one?", cached(CountingModel(), by_meaning), workspace="acme")
        with database.begin() as connection:
            connection.execute(cache_entries.delete())
        assert opened.maintain(clock())["questions"] == 1
        assert self.bodies(database) == 0

    def test_what_a_person_said_of_answers_goes(self, opened, database, clock) -> None:
        rows = EvidenceRows(database)
        for run, by, workspace in (("1", "anne", "acme"), ("2", "anne", "b"), ("3", "ben", "b")):
            rows.note(found(run, workspace=workspace))
            rows.judge(run, correct=True, source="feedback", by=by, now=clock())
        assert opened.forget(Subject(user="anne", workspace="acme")) == 1
        assert opened.forget(ANNE) == 1
        assert [each.by for each in rows.labels("pool", 0)[0]] == ["ben"]

    def test_evidence_about_a_persons_answers_goes(self, opened, database) -> None:
        with track(user="anne"):
            call = opened.calls.of_core("prompt", "model")
            opened.flow.answered(call, CountingModel()._generate([]).generations)
        rows = EvidenceRows(database)
        rows.note(found("1", call_key=call.key))
        rows.note(found("2", matched=call.key))
        rows.note(found("3"))
        assert opened.forget(ANNE) == 3  # the answer, and two rows about it

    def test_in_memory_every_question_goes(self, clock: FakeClock) -> None:
        policy = SemanticPolicy(embeddings=DeterministicFakeEmbedding(size=8))
        cache = ResponseCache(MemoryStore(), semantic=policy, clock=clock)
        model = cached(CountingModel(), cache)
        ask("What is one?", model, workspace="acme", user="anne")
        assert cache.forget(ANNE) == 1
        cache.close()


def found(run: str, **fields: object) -> Found:
    given = {"call_key": uuid4().bytes * 2, "matched": uuid4().bytes * 2, "workspace": None}
    named = {"score": 0.5, "cosine": 0.5, "kind": "served", "ts": FakeClock().now}
    return Found(run_id=run, pool="pool", **{**given, **named, **fields})


def test_evidence_in_memory_is_forgotten_as_rows_are() -> None:
    memory = MemoryEvidence()
    for run, by in (("1", "anne"), ("2", "ben"), ("3", None)):
        memory.note(found(run, call_key=run.encode() * 32, workspace="acme"))
        if by:
            memory.judge(run, correct=True, source="feedback", by=by, now=0.0)
    assert memory.forget(Subject(user="anne", workspace="b"), []) == 0
    assert memory.forget(ANNE, []) == 1
    assert memory.forget(CHAT, [b"3" * 32]) == 1
    assert memory.judge("3", correct=True, source="feedback", by=None, now=0.0) is None
    assert [each.by for each in memory.labels("pool", 0)[0]] == ["ben"]
