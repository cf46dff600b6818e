"""The same question in other words is answered once; another one in nearly the same words is not.

python examples/semantic_cache.py  # offline, with the best embedder that is on this machine
"""

from langchain_core.language_models import FakeListChatModel

from llmops_langchain import LLMOps, SemanticPolicy

ASKED = (
    ("How do I reset my password?", "how do i reset my password"),
    ("How do I lock my card?", "How do I unlock my card?"),
    ("Who won the cup in 2014?", "Who won the cup in 2018?"),
)

# `shadow`, the default, serves nothing until it has seen that at most 2 % would be wrong.
policy = SemanticPolicy(max_error=0.02, start="shipped")

with LLMOps("sqlite://", semantic=policy) as ops, ops.track(workspace="acme"):
    model = ops.cached(FakeListChatModel(responses=[f"answer {at}" for at in range(1, 9)]))
    for first, again in ASKED:
        model.invoke(first)
        answer = model.invoke(again)
        hit = answer.response_metadata.get("llmops_cache")
        told = f"answered, score {hit['score']:.3f}" if hit else "asked"
        print(f"{again:32} {told}")
        if hit:
            ops.cache.feedback(answer, correct=True)  # evidence for the bound

    print()
    print(ops.cache.calibration())
