"""Experiences as any LangChain retriever gives documents."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from llmops_langchain import ConfigurationError, LLMOps
from llmops_langchain.errors import DatabaseUnavailableError
from llmops_langchain.learning import LearningRetriever

LOGIN, PAY = "Build the login page", "Stripe checkout for the shop"


def filled(url: str) -> LLMOps:
    ops = LLMOps(url)
    for number in range(6):
        ops.learning.learn(
            project_id=f"p{number}",
            task_description=f"{LOGIN if number % 2 else PAY} {number}",
            success=number % 3 != 0,
            failure="timeout" if number % 3 == 0 else None,
            lessons=["Write the test first."],
            tech_stack=["react"],
        )
    return ops


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _ops(self, database_url: str) -> Iterator[None]:
        with filled(database_url) as self.ops:
            yield

    @property
    def retriever_constructor(self) -> type[LearningRetriever]:
        return LearningRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"learning": self.ops.learning}

    @property
    def retriever_query_example(self) -> str:
        return "login"


@pytest.fixture
def ops(database_url: str) -> Iterator[LLMOps]:
    with filled(database_url) as ops:
        yield ops


def test_a_document_tells_the_task_how_it_went_and_its_lessons(ops) -> None:
    found = ops.retriever(k=6, filter={"project_id": "p3"}).invoke(LOGIN)
    (document,) = found
    assert isinstance(document, Document)
    assert document.page_content.splitlines() == [
        f"{LOGIN} 3",
        "It failed: timeout.",
        "Write the test first.",
    ]
    said = document.metadata
    assert (said["success"], said["failure"], said["tech_stack"]) == (False, "timeout", ["react"])
    assert 0 <= said["score"] <= 1
    assert document.id == said["id"]


async def test_what_a_call_says_wins_over_the_constructor(ops) -> None:
    retriever = ops.retriever(k=2, filter={"success": True})
    assert len(retriever.invoke(LOGIN)) == len(await retriever.ainvoke(LOGIN)) == 2
    everything = {"k": 9, "filter": {}}
    assert len(retriever.invoke(LOGIN, **everything)) == 6
    assert await retriever.ainvoke(LOGIN, **everything) == retriever.invoke(LOGIN, **everything)
    assert retriever.invoke(LOGIN, min_score=1.1) == []


def test_it_works_in_a_chain(ops) -> None:
    from langchain_core.runnables import RunnableLambda

    chain = ops.retriever(k=1) | RunnableLambda(len)
    assert chain.batch(["login", "checkout"]) == [1, 1]


def test_nothing_is_found_for_nothing(ops) -> None:
    assert ops.retriever().invoke("  ") == []


def test_a_database_that_is_away_finds_nothing_and_is_told_once(ops, monkeypatch, caplog) -> None:
    def away(*_: object, **__: object) -> None:
        msg = "no connection"
        raise DatabaseUnavailableError(msg)

    monkeypatch.setattr(ops.learning, "similar", away)
    retriever = ops.retriever()
    assert [retriever.invoke(LOGIN) for _ in range(2)] == [[], []]
    assert caplog.text.count("no experiences are found") == 1


@pytest.mark.parametrize("wrong", [{"k": 0}, {"outcome_weight": 2}, {"half_life": -1}])
def test_a_retriever_that_makes_no_sense_is_refused(ops, wrong) -> None:
    with pytest.raises(ValidationError):
        ops.retriever(**wrong)
    with pytest.raises(ConfigurationError):
        ops.retriever().invoke(LOGIN, **wrong)


def test_it_finds_the_workspace_of_the_call(ops) -> None:
    retriever = ops.retriever()
    with ops.track(workspace="acme"):
        assert retriever.invoke(LOGIN) == []
        assert retriever.invoke(LOGIN, {"metadata": {"workspace": "other"}}) == []
    assert retriever.invoke(LOGIN, {"metadata": {"workspace": "acme"}}) == []
    assert len(retriever.invoke(LOGIN)) == 5
