"""Cache and accounting over a real model: what is counted is what the model's server reported."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from llmops_langchain import CostReport, LLMOps
from llmops_langchain.cli.local_model import LocalModel
from llmops_langchain.cli.support_desk import support_graph, take_turn

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

QUESTION = "Name one houseplant, in one word."


@pytest.fixture
def ops(local_model: LocalModel) -> Iterator[LLMOps]:
    with LLMOps("sqlite://") as ops:
        ops.prices.set(local_model.model_name, input_per_million=1, output_per_million=2)
        yield ops


def counted(ops: LLMOps) -> CostReport:
    ops.flush()
    return ops.analytics.cost(days=1, workspace="test")


def used(message: AIMessage) -> tuple[int, int]:
    """Tokens in and out, as the server reported them."""
    return message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]


def test_invoke_is_counted_as_the_server_says_and_answered_once(ops, local_model) -> None:
    model = ops.cached(local_model.chat_model())
    with ops.track(workspace="test"):
        answer, again = model.invoke(QUESTION), model.invoke(QUESTION)
    cost = counted(ops)
    assert (cost.input_tokens, cost.output_tokens) == used(answer)
    assert (cost.calls, cost.cache_hits, cost.estimated_calls) == (2, 1, 0)
    assert again.text == answer.text
    assert again.text


def test_a_hit_saves_what_the_answer_cost(ops, local_model) -> None:
    model = ops.cached(local_model.chat_model())
    with ops.track(workspace="test"):
        tokens_in, tokens_out = used(model.invoke(QUESTION))
        model.invoke(QUESTION)
    cost = counted(ops)
    assert cost.total * 1_000_000 == tokens_in + 2 * tokens_out
    assert cost.saved_by_cache == cost.total


async def test_ainvoke_is_answered_from_what_invoke_kept(ops, local_model) -> None:
    model = ops.cached(local_model.chat_model())
    with ops.track(workspace="test"):
        answer, again = model.invoke(QUESTION), await model.ainvoke(QUESTION)
    assert again.text == answer.text
    assert counted(ops).cache_hits == 1


def test_a_stream_is_counted_as_the_server_says_and_served_again_for_nothing(
    ops, local_model
) -> None:
    model = ops.cached(local_model.chat_model())
    with ops.track(workspace="test"):
        first, second = (sum_of(model.stream(QUESTION)) for _ in range(2))
        third = model.invoke(QUESTION)
    cost = counted(ops)
    assert first.text == second.text == third.text
    assert (cost.input_tokens, cost.output_tokens) == used(first)
    assert (cost.calls, cost.cache_hits, cost.estimated_calls) == (3, 2, 0)


def test_a_graph_answers_an_equal_thread_from_the_cache(ops, local_model) -> None:
    model = local_model.chat_model()
    trim = ops.trim_node(ops.context_window(model, 1000))
    desk = support_graph(ops.cached(model), trim)
    with ops.track(workspace="test"):
        turns = [take_turn(desk, name, q) for name in "ab" for q in (QUESTION, "And another?")]
    assert [turn.cached for turn in turns] == [False, False, True, True]
    assert counted(ops).cache_hits == 2


def test_a_long_thread_is_cut_and_still_answered(ops, local_model) -> None:
    model = local_model.chat_model(max_tokens=8)
    trim = ops.trim_node(ops.context_window(model, 400))
    desk = support_graph(ops.cached(model), trim)
    with ops.track(workspace="test"):
        turns = [take_turn(desk, "a", f"{QUESTION} " * 10) for _ in range(5)]
    cuts = [turn.messages_cut for turn in turns]
    assert all(before <= after for before, after in pairwise(cuts))
    assert counted(ops).trimmed_tokens > 0
    assert all(turn.answer for turn in turns)


def sum_of(chunks: Iterator[AIMessageChunk]) -> AIMessageChunk:
    whole = next(chunks)
    for chunk in chunks:
        whole += chunk
    return whole
