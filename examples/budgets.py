"""Two budgets stop an agent that would never stop: once for good, once with a cheaper model.

python examples/budgets.py  # offline, with models that say what real ones might
"""

from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import tool

from llmops_langchain import Budget, BudgetAlert, LLMOps, count_tokens


class Researcher(BaseChatModel):
    """Wants one more search, for ever; or has an answer."""

    model_name: str = "big-model"
    max_tokens: int = 1000
    answer: str | None = None

    @property
    def _llm_type(self) -> str:
        return "offline"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable:
        """As every model that calls tools."""
        return self.bind(tools=[{"name": each.name} for each in tools], **kwargs)

    def _generate(self, messages: list[BaseMessage], *_args: Any, **_kwargs: Any) -> ChatResult:
        search = {"name": "search", "args": {"words": "ferns"}, "id": f"call-{len(messages)}"}
        read, wrote = count_tokens(messages, self.model_name), 500
        said = AIMessage(
            self.answer or "",
            tool_calls=[] if self.answer else [search],
            usage_metadata=UsageMetadata(
                input_tokens=read, output_tokens=wrote, total_tokens=read + wrote
            ),
            response_metadata={"model_name": self.model_name},
        )
        return ChatResult(generations=[ChatGeneration(message=said)])


@tool
def search(words: str) -> str:
    """Search the web."""
    return f"12 pages about {words}. " * 20


alerts: list[BudgetAlert] = []

with LLMOps("sqlite://") as ops:  # in memory; "sqlite:///llmops.db" keeps it
    ops.prices.set("big-model", input_per_million=3, output_per_million=15)
    ops.prices.set("small-model", input_per_million="0.1", output_per_million="0.4")
    ops.budgets.set(Budget(user="mira", limit="0.05", period="day"))
    ops.budgets.set(Budget(project="plants", limit="0.10", period="month"))
    ops.budgets.on_alert(alerts.append)

    small = Researcher(model_name="small-model", answer="Water it twice a week.")
    stops = ops.budget_middleware()
    goes_on = ops.budget_middleware(exit_behavior="downgrade", downgrade_to=small)

    for user, middleware in (("mira", stops), ("jonas", goes_on)):
        agent = create_agent(Researcher(), [search], middleware=[middleware])
        with ops.track(project="plants", user=user):
            said = agent.invoke({"messages": ["How often do I water a fern?"]})["messages"]
        asked = sum(message.type == "tool" for message in said)
        print(f"{user}: {asked} searches, then: {said[-1].text}")

    print()
    for status in ops.budgets.list():
        budget = status.budget
        print(f"{budget.name}: ${status.spent:.4f} of ${status.limit:.2f} ({budget.period})")
    for alert in alerts:
        print(f"  told at {alert.threshold:.0%}: {alert.budget.name}")
