"""An agent's runs are learnt from by themselves, and the next run is shown what they taught.

python examples/learning.py  # offline, with a model that says what a real one might
"""

from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel

from llmops_langchain import FinishedRun, LLMOps

TASK = "Refund order {number} of a customer"
LESSON = "Ask for the order's number before you refund."


def judge(run: FinishedRun) -> dict[str, object]:
    """Your own check: a test run, a rating, a rule."""
    asked = "which order" in run.text.lower()
    return {"success": asked, "failure": None if asked else "bad_input", "lessons": [LESSON]}


def main() -> None:
    """Learn from eight runs, look what is known, and run once more with lessons."""
    answers = ["Which order?", "Done, I refunded something.", "Which order is it?"]
    model = FakeListChatModel(responses=answers)
    with LLMOps("sqlite://") as ops:
        agent = create_agent(model, middleware=ops.middleware(lessons=True))
        recorder = ops.recorder(judge, tech_stack=["shop"])
        with ops.track(workspace="acme", project="refunds"):
            for number in range(8):
                question = {"messages": [("user", TASK.format(number=number))]}
                agent.invoke(question, {"callbacks": [recorder]})
            ops.flush()  # learning has a thread of its own

            (best, *_) = ops.learning.similar("Refund an order", ["shop"], k=1)
            print(f"{best.score:.2f}: {best.experience.task_description}")
            expected = ops.learning.predict_success("Refund an order", ["shop"])
            print(f"success {expected.probability:.0%} [{expected.low:.0%}, {expected.high:.0%}]")
            print(*(f"risk: {risk.category} {risk.share:.0%}" for risk in expected.risks))
            for suggestion in ops.learning.suggest("refunds"):
                print(suggestion.text)
            print(ops.lessons_node()({"messages": [("user", "Refund an order")]}, {})["lessons"])
            print(ops.learning.stats())


if __name__ == "__main__":
    main()
