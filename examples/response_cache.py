"""One answer, paid for once: streamed again, shared by who may see it, gone when it is outdated.

python examples/response_cache.py  # offline, with a model that says how often it was asked
"""

from langchain_core.language_models import FakeListChatModel

from llmops_langchain import LLMOps

QUESTION = "What does a mug cost?"

with LLMOps("sqlite://") as ops:  # in memory; "sqlite:///llmops.db" keeps it
    answers = [f"A mug costs 12.50. (answer {number})" for number in range(1, 9)]
    model = ops.cached(FakeListChatModel(responses=answers))

    with ops.track(workspace="acme"), ops.cache_options(ttl=600, tags=["prices"]):
        print("asked:   ", model.invoke(QUESTION).content)
        print("streamed:", "|".join(str(chunk.content) for chunk in model.stream(QUESTION)))

    with ops.track(workspace="rival"):
        print("rival:   ", model.invoke(QUESTION).content)
        print("why:     ", ops.cache.explain(model, QUESTION + "!"))

    ops.cache.invalidate("prices")  # the price list changed: acme's answer is outdated
    with ops.track(workspace="acme"):
        print("new list:", model.invoke(QUESTION).content)

    stats = ops.cache.stats()
    print(f"{stats.hits} hit, {stats.misses} calls of the model")
