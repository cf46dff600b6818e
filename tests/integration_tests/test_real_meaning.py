"""The semantic tier over a real model and a real embedder, from the question to the evidence."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmops_langchain import LLMOps
from llmops_langchain.cache import SemanticPolicy
from llmops_langchain.embeddings import MiniLMEmbeddings

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

ASKED, AGAIN = "How do I send a pot back?", "how do i send a pot back"
TRAPS = (
    "How do I not send a pot back?",
    "How do I send two pots back?",
    "Who sends a pot back?",
    "How do I send a plant back?",
)


@pytest.fixture
def embeddings(minilm_files: Path) -> MiniLMEmbeddings:
    return MiniLMEmbeddings(minilm_files)


@pytest.fixture
def open_ops(embeddings: MiniLMEmbeddings) -> Iterator[Callable[..., LLMOps]]:
    opened = []

    def make(**kwargs: object) -> LLMOps:
        policy = SemanticPolicy(embeddings=embeddings, max_error=0.05, **kwargs)
        opened.append(LLMOps("sqlite://", semantic=policy))
        return opened[-1]

    yield make
    for ops in opened:
        ops.close()


def test_what_means_the_same_is_answered_and_what_does_not_is_asked(open_ops, local_model) -> None:
    ops = open_ops(start="shipped", sampling=0.0)
    model = ops.cached(local_model.chat_model(max_tokens=64)).bind(stop=["."])
    with ops.track(workspace="shop"):
        answer, again = model.invoke(ASKED), model.invoke(AGAIN)
        streamed = "".join(chunk.text for chunk in model.stream(AGAIN))
        others = [model.invoke(trap) for trap in TRAPS]
    assert again.text == streamed == answer.text
    assert again.response_metadata["llmops_cache"]["matched_question"] == ASKED
    assert again.usage_metadata["total_tokens"] == 0
    assert not any("llmops_cache" in other.response_metadata for other in others)
    ops.flush()
    cost = ops.analytics.cost(days=1, workspace="shop")
    assert (cost.calls, cost.cache_hits) == (7, 2)


def test_in_shadow_the_answers_of_the_model_are_the_evidence(open_ops, local_model) -> None:
    ops = open_ops()
    model = ops.cached(local_model.chat_model(max_tokens=64)).bind(stop=["."])
    with ops.track(workspace="shop"):
        for question in (ASKED, AGAIN):
            assert "llmops_cache" not in model.invoke(question).response_metadata
    standing = ops.cache.calibration(wait=30)
    assert (standing.state, standing.labels) == ("shadow", 1)
