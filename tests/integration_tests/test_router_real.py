"""A router over real clients: one whose server is gone, one on a small model of this machine."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from llmops_langchain import Budget, LLMOps, ModelChoice

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def ops() -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        ops.budgets.set(Budget(project="p", limit="1", period="total"))
        yield ops


@pytest.fixture
def gone() -> ModelChoice:
    """Its port was free a moment ago, and nobody listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    model = ChatOpenAI(model="gone", base_url=url, api_key="none", max_retries=0)
    return ModelChoice(model, input_per_million=1, output_per_million=1)


# Both async ways in one: a client's connections belong to the event loop of their test.
@pytest.mark.parametrize("ways", [["invoke"], ["stream"], ["ainvoke", "astream"]])
async def test_the_model_that_is_there_answers_and_is_counted(ops, gone, local_model, ways) -> None:
    model = local_model.chat_model(max_tokens=8)
    there = ModelChoice(model, input_per_million=2, output_per_million=2)
    router = ops.wrap(ops.router(gone, there))
    with ops.track(project="p"):
        for way in ways:
            assert await _answer(router, way, f"hello, {way}")
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        told = connection.exec_driver_sql(
            "select model, status, error_class, input_tokens, estimated, cost from llmops_events"
        )
        rows = list(told.mappings())
    failed = [row for row in rows if row["status"] == "error"]
    answered = [row for row in rows if row["status"] == "ok"]
    assert len(failed) == len(answered) == len(ways)
    assert {(row["model"], row["input_tokens"], row["cost"]) for row in failed} == {("gone", 0, 0)}
    assert all(row["error_class"].endswith("ConnectionError") for row in failed)
    assert {row["model"] for row in answered} == {local_model.model_name}
    assert all(row["input_tokens"] > 0 and not row["estimated"] for row in answered)
    budget = ops.budgets.get(project="p")
    assert budget.reserved == 0
    assert budget.spent * 10**9 == sum(row["cost"] for row in answered) > 0


async def _answer(router: Any, way: str, question: str) -> str:
    if way == "invoke":
        return router.invoke(question).text
    if way == "ainvoke":
        return (await router.ainvoke(question)).text
    if way == "stream":
        return "".join(chunk.text for chunk in router.stream(question))
    return "".join([chunk.text async for chunk in router.astream(question)])
