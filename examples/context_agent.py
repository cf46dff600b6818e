"""An agent whose chat outgrows its context window: the state stays whole, the prompts fit.

python examples/context_agent.py
"""

from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from langgraph.checkpoint.memory import InMemorySaver

from llmops_langchain import ContextWindow
from llmops_langchain.middleware import ContextWindowMiddleware

window = ContextWindow(model="gpt-4o", max_tokens=300)
agent = create_agent(
    FakeListChatModel(responses=["It needs water once a week."]),  # or "openai:gpt-5-mini"
    system_prompt="You are the desk of a shop for plants.",
    middleware=[
        ContextWindowMiddleware(
            window, on_warning=lambda it: print(f"  {it.share:.0%} of the window is used")
        )
    ],
    checkpointer=InMemorySaver(),
)
thread = {"configurable": {"thread_id": "mira"}}

for number in range(1, 16):
    asked = {"messages": [("user", f"How often should I water plant number {number}?")]}
    for event in agent.stream(asked, thread, stream_mode="custom"):
        if event["type"] == "context.trim":
            print(f"  cut: {event['removed']} messages, {event['freed_tokens']} tokens")

messages = agent.get_state(thread).values["messages"]
print(f"{len(messages)} messages in the state, none lost")
