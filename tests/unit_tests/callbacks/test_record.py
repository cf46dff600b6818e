"""Spend that was made elsewhere, as the caller states it."""

from decimal import Decimal
from math import inf, nan
from uuid import uuid4

import numpy as np
import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from llmops_langchain import ConfigurationError
from llmops_langchain.ledger import track


def test_what_is_stated_is_recorded(book, clock) -> None:
    with track(project="p", tags={"env": "dev"}):
        made = book.handler.record(
            model="tested-model",
            input_tokens=10,
            output_tokens=5,
            cached_tokens=4,
            written_tokens=3,
            reasoning_tokens=2,
            provider="tested",
            tier="flex",
            latency=1.5,
            metadata={"user": "u", "project": "another"},
        )
    event = book.only()
    assert event == made
    assert (event.name, event.model, event.provider) == ("llm.call", "tested-model", "tested")
    assert (event.input_tokens, event.output_tokens, event.cost) == (10, 5, 60_000)
    assert (event.cached_tokens, event.written_tokens, event.reasoning_tokens) == (4, 3, 2)
    assert (event.project, event.user, event.tags) == ("p", "u", {"env": "dev"})
    assert (event.ts, event.latency, event.tier, event.status) == (clock(), 1.5, "flex", "ok")


@pytest.mark.parametrize("cost", [Decimal("0.25"), 0.25, "0.25"])
def test_a_stated_cost_wins_over_the_price_book(book, cost) -> None:
    book.handler.record(model="tested-model", input_tokens=10, cost=cost)
    event = book.only()
    assert (event.cost, event.price_version) == (250_000_000, "stated by the caller")


def test_a_stated_cost_of_nothing_is_a_price(book) -> None:
    book.handler.record(model="never heard of", input_tokens=10, cost=0)
    assert (book.only().cost, book.only().unpriced) == (0, False)


def test_a_model_without_a_price_is_flagged(book) -> None:
    book.handler.record(model="never heard of", input_tokens=10)
    assert (book.only().cost, book.only().unpriced) == (0, True)


def test_a_failure_that_spent_nothing(book) -> None:
    book.handler.record(model="never heard of", status="error", ts=1_700_000_000)
    event = book.only()
    assert (event.status, event.unpriced, event.ts) == ("error", False, 1_700_000_000)


def test_counts_of_numpy_are_counts(book) -> None:
    book.handler.record(model="tested-model", input_tokens=np.int64(10))
    assert book.only().input_tokens == 10


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "cached_tokens"])
@pytest.mark.parametrize("count", [-1, 1.5, 10.0, nan, "10", True, None, 2**31])
def test_a_count_that_is_none_is_refused(book, name, count) -> None:
    with pytest.raises(ConfigurationError, match=name):
        book.handler.record(model="tested-model", **{name: count})
    assert book.events() == []


@pytest.mark.parametrize("cost", [-1, "-0.01", nan, inf, "cheap", 10**10])
def test_a_cost_that_is_none_is_refused(book, cost) -> None:
    with pytest.raises(ConfigurationError, match=r"cost|amount"):
        book.handler.record(model="tested-model", cost=cost)


@pytest.mark.parametrize("seconds", [-1, nan, inf, "soon"])
@pytest.mark.parametrize("name", ["ts", "latency"])
def test_a_time_that_is_none_is_refused(book, name, seconds) -> None:
    with pytest.raises(ConfigurationError, match=name):
        book.handler.record(model="tested-model", **{name: seconds})


def test_a_status_that_is_none_is_refused(book) -> None:
    with pytest.raises(ConfigurationError, match="status"):
        book.handler.record(model="tested-model", status="done")


def test_the_same_run_counts_once(book) -> None:
    heard, run_id = [], uuid4()
    book.ledger.listen(heard.append)
    for _ in range(2):
        book.handler.record(model="tested-model", input_tokens=10, run_id=run_id)
    assert (book.only().id, book.only().run_id, len(heard)) == (run_id, run_id, 1)


def test_a_stated_end_of_a_call_under_way_is_its_end(book) -> None:
    run_id, reservation_id = uuid4(), uuid4()
    book.handler.on_chat_model_start({}, [[]], run_id=run_id)
    book.handler.settles(run_id, reservation_id)
    book.handler.record(model="tested-model", input_tokens=10, run_id=run_id)
    answer = ChatGeneration(message=AIMessage("a"))
    book.handler.on_llm_end(LLMResult(generations=[[answer]]), run_id=run_id)
    assert (book.only().input_tokens, book.only().reservation_id) == (10, reservation_id)
