"""A chat that outgrows its window: what leaves the prompt is kept in a running summary.

python examples/running_summary.py
"""

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from llmops_langchain import ContextWindow, LLMOps
from llmops_langchain.memory import Summarize

with LLMOps("sqlite://") as ops, ops.track(project="plants"):
    small = FakeListChatModel(responses=["Mira's order is 4711."])  # or `ChatOpenAI("gpt-5-nano")`
    window = ContextWindow("gpt-4o", 400, Summarize(ops.wrap(small), max_summary_tokens=60))

    talk: list[BaseMessage] = [HumanMessage("I am Mira, my order is 4711."), AIMessage("Hello!")]
    for number in range(60):
        talk.append(HumanMessage(f"How often do I water plant {number}?"))
        prompt = window.invoke(talk)
        talk.append(AIMessage("Once a week in summer, and less in winter."))

    ops.flush()
    print(f"{len(talk)} messages in the chat, {len(prompt)} in the last prompt. It begins with:")
    print(prompt[0].text)
    print(f"{ops.analytics.cost(project='plants').calls} calls wrote the summaries")
