"""A router asks the cheap model what is easy, the dear one what is hard, checks, and learns.

python examples/router.py  # offline, with models that say what real ones might
"""

from typing import Any
from uuid import uuid4

from langchain_core.language_models import FakeListChatModel

from llmops_langchain import LLMOps, ModelChoice

EASY = "Capital of France?"
HARD = (
    "Suppose a sensor fails with probability 0.02 a day, and never twice in 7 days. If 3 of 40 "
    "sensors failed in the first 10 days, how many spare ones must we not fall below, and why?"
)


def choice(name: str, answer: str, price: float) -> ModelChoice:
    """A model that answers always the same, under a name and a price."""
    return ModelChoice(
        FakeListChatModel(responses=[answer]),
        name=name,
        input_per_million=price,
        output_per_million=4 * price,
    )


def judged() -> list[dict[str, Any]]:
    """Answers that somebody scored: sums are for everybody, poems for the large model."""
    poems = [f"Translate poem {number}" for number in range(150)]
    sums = [f"What is {number} + {number}?" for number in range(150)]
    return [
        *({"prompt": poem, "scores": {"small": 0, "large": 1}} for poem in poems),
        *({"prompt": sum_, "scores": {"small": 1, "large": 1}} for sum_ in sums),
    ]


def main() -> None:
    """Ask, look at why, teach, and ask again; then ask with a check."""
    with LLMOps("sqlite://") as ops:
        router = ops.router(choice("small", "Paris.", 0.15), choice("large", "At least 2: …", 5))
        with ops.track(project="quiz"):
            for question in (EASY, HARD):
                answer = router.invoke(question)
                print(answer.response_metadata["llmops_route"]["choice"], "answered:", answer.text)
            print(*router.decide(HARD).reasons, sep="\n")

            run_id = uuid4()
            router.invoke(EASY, {"run_id": run_id})
            router.feedback(run_id, 1.0)
            print(f"{router.explain(run_id).choice.name} was right")

            print(router.evaluate(judged()).advice)
            router.learn(judged())
            print("a poem goes to", router.decide("Translate poem 7").choice.name)

            careful = ops.router(*router.choices, verify=lambda answer: "least" in answer.text)
            mark = careful.invoke(EASY).response_metadata["llmops_route"]
            print(f"checked: {mark['choice']} after {mark['attempts']} attempts")
        ops.flush()
        print(f"spent ${ops.analytics.cost(days=1, project='quiz').total}")


if __name__ == "__main__":
    main()
