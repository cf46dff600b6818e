"""A whole `invoke` with the semantic tier on: a hit by meaning, and what the tier adds to a miss.

The same calls are made on a cache without the tier, and each must be answered by the right one.

    python benchmarks/semantic_hit.py
"""

import sys
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import BaseMessage
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized

from llmops_langchain import Database, ResponseCache, SemanticPolicy
from llmops_langchain.cache import cached
from llmops_langchain.embeddings import HashedEmbeddings, MiniLMEmbeddings, WordLlamaEmbeddings
from llmops_langchain.ledger import track

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from minilm import minilm_directory

SMALL, LARGE = sized((1_000, 10_000), quick=(20, 40))
CALLS = sized(200, quick=4)
VERBS, THINGS, PLACES = (
    words.split()
    for words in (
        """clean repair open move replace paint measure sell light cool empty label fill lock weigh
        photograph insure rent""",
        """lamp boiler window cupboard carpet mirror radiator safe freezer clock printer oven sofa
        bath piano ladder fence engine curtain vase statue kettle camera bicycle""",
        """kitchen cellar garage garden office school hotel museum library hospital theatre station
        bakery church stadium harbour airport factory castle prison tower tunnel shop attic""",
    )
)


def embedders() -> Iterator[tuple[str, Embeddings, tuple[int, ...]]]:
    """Those of this machine, and at how many known questions they are timed."""
    yield "hashed words", HashedEmbeddings(), (SMALL, LARGE)
    yield "wordllama", WordLlamaEmbeddings(), (SMALL, LARGE)
    if directory := minilm_directory():
        yield "MiniLM", MiniLMEmbeddings(directory), (SMALL,)


def known(count: int) -> list[str]:
    """Questions of one form about different things."""
    named = islice(product(VERBS, THINGS, PLACES), count)
    return [f"How do I {verb} the {thing} in the {place}?" for verb, thing, place in named]


def timed(embeddings: Embeddings, count: int) -> dict[str, Timing]:
    """Time hits and misses among so many known questions."""
    policy = SemanticPolicy(embeddings=embeddings, start="shipped", sampling=0.0)
    with (
        Database("sqlite://") as database,
        Database("sqlite://") as other,
        track(workspace="bench"),
    ):
        cache, plain = ResponseCache(database, semantic=policy), ResponseCache(other)
        model, without = (cached(answering(), each) for each in (cache, plain))
        questions = known(count)
        for question in questions:
            model.invoke(question)
        again = [question.lower().rstrip("?") for question in questions[-CALLS:]]
        for question in again[:3]:
            check(model.invoke(question), question)
        hits = in_turn({"hit": model.invoke}, again)
        new = [f"May I bring guest {at} to the party?" for at in range(CALLS)]
        misses = in_turn({"miss": model.invoke, "miss without": without.invoke}, new)
        assert cache.stats().hits_by_tier["semantic"] == len(again) + 3
        cache.close()
        plain.close()
    return hits | misses


def answering() -> BaseChatModel:
    """A model that answers at once."""
    return FakeListChatModel(responses=["the answer"])


def check(answer: BaseMessage, question: str) -> None:
    """The hit must be that of the very same question, typed otherwise."""
    matched = answer.response_metadata["llmops_cache"]["matched_question"]
    assert matched.lower().rstrip("?") == question


def main() -> None:
    """Check, then time."""
    rows, hits = [], {}
    for name, embeddings, sizes in embedders():
        for count in sizes:
            spent = timed(embeddings, count)
            added = spent["miss"].p50 - spent["miss without"].p50
            hits[name, count] = spent["hit"].p50 / 1_000
            rows.append((name, count, hits[name, count], added / 1_000))
    header = ("embedder", "known questions", "hit, ms", "added to a miss, ms")
    print_table("A hit by meaning, and what looking for one costs", header, rows)
    print_claims(
        Claim(
            what=f"a hit by meaning among {count:,} questions, {name}",
            against="without the model's own time",
            result=hits[name, count],
            goal=10.0,
            unit="ms",
            at_most=True,
        )
        for name, count in hits
    )


if __name__ == "__main__":
    main()
