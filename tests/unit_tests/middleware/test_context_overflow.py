"""A prompt that the provider refuses as too long is cut once more, and the counts learn from it."""

from collections.abc import Sequence
from typing import Any

import pytest
from history_judge import refusals
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from models import CountingModel
from pydantic import Field
from typing_extensions import override

from llmops_langchain import ContextWindowError
from llmops_langchain.memory import ContextWindow
from llmops_langchain.middleware import ContextWindowMiddleware
from llmops_langchain.tokens import count_tokens
from llmops_langchain.tokens.calibration import Calibration
from llmops_langchain.wrapping.overflow import Overflow, overflow

THREAD = {"configurable": {"thread_id": "1"}}


class StatusError(Exception):
    """As clients raise them: a text and the HTTP status."""

    def __init__(self, said: str, status: int | None = 400) -> None:
        self.status_code = status
        super().__init__(said)


SAID = """
8227 8192 This model's maximum context length is 8192 tokens. However, your messages resulted in \
8227 tokens. Please reduce the length of the messages.
3118 3096 This model's maximum context length is 4096 tokens. However, you requested 4118 tokens \
(3118 in the messages, 1000 in the completion). Please reduce the length of the messages.
300000 272000 Input tokens exceed the configured limit of 272000 tokens. Your messages resulted \
in 300000 tokens. Please reduce the length of the messages.
209353 199999 prompt is too long: 209353 tokens > 199999 maximum
178959 136000 input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000
1200293 1048576 The input token count (1200293) exceeds the maximum number of tokens allowed \
(1048576).
- - The input token count exceeds the maximum number of tokens allowed (1048576).
900 512 request (900 tokens) exceeds the available context size (512 tokens), try increasing it
40000 32768 Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 \
maximum context length
150000 131072 This model's maximum prompt length is 131072 but the request contains 150000 tokens.
4292 4081 too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292
- - Input is too long for requested model.
- - Your input exceeds the context window of this model.
- - Error code: 400 - {'code': 'context_length_exceeded'}
- - maximum context length is 4096 tokens. However, your messages resulted in 7 tokens
"""
"""Tokens and limit as they are to be read, and what providers say. The last line's figures do not
explain a refusal."""


@pytest.mark.parametrize("line", SAID.strip().splitlines())
def test_what_providers_say_is_understood(line) -> None:
    tokens, limit, said = line.split(" ", 2)
    figures = Overflow() if tokens == "-" else Overflow(tokens=int(tokens), limit=int(limit))
    assert overflow(StatusError(said)) == figures


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such plant"),
        StatusError("Invalid parameter: messages with role 'tool' must be a response"),
        StatusError("Rate limit reached: Limit 10000, Requested 12000 tokens", 429),
        StatusError("the maximum context length service is down", 503),
        ContextWindowError(needed_tokens=10, max_tokens=5),
    ],
    ids=str,
)
def test_other_errors_are_none(error) -> None:
    assert overflow(error) is None


def test_langchains_own_error_is_one_whatever_it_says() -> None:
    assert overflow(ContextOverflowError("no")) == Overflow()


class Strict(CountingModel):
    """Refuses what is longer than it likes, in tokens of its own; keeps the prompts."""

    model_name: str = "gpt-4o"
    may_have: int = 300
    tokens_each: float = 1.0
    tells: bool = True
    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    refused: list[int] = Field(default_factory=list)

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        tokens = int(count_tokens(messages, "gpt-4o") * self.tokens_each)
        if tokens > self.may_have:
            self.refused.append(tokens)
            figures = f": {tokens} tokens > {self.may_have} maximum" if self.tells else ""
            msg = f"prompt is too long{figures}"
            raise StatusError(msg)
        self.prompts.append(messages)
        usage = {"input_tokens": tokens, "output_tokens": 2, "total_tokens": tokens + 2}
        answer = AIMessage("Understood.", usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=answer)])


def agent(model: Strict, *middleware: Any, max_tokens: int = 600, **options: Any) -> Any:
    last = ContextWindowMiddleware(ContextWindow("gpt-4o", max_tokens), **options)
    return create_agent(model, middleware=[*middleware, last], checkpointer=InMemorySaver())


def ask(graph: Any, turns: int) -> Sequence[BaseMessage]:
    for turn in range(turns):
        state = graph.invoke({"messages": [("user", f"Tell me of plant number {turn}.")]}, THREAD)
    return state["messages"]


@pytest.mark.parametrize("tells", [True, False], ids=["with figures", "without"])
def test_a_refused_prompt_is_cut_and_sent_again(tells) -> None:
    model = Strict(tells=tells)
    assert len(ask(agent(model), 30)) == 60
    assert len(model.prompts) == 30
    assert model.refused
    assert [refusals(p) for p in model.prompts] == [[]] * 30


def test_a_limit_that_the_provider_told_is_kept_to() -> None:
    model = Strict()
    ask(agent(model), 60)
    assert len(model.refused) == 1


def test_a_model_that_counts_more_is_learnt_from() -> None:
    model, calibration = Strict(tokens_each=1.6), Calibration()
    ask(agent(model, calibration=calibration), 20)
    assert 1.5 < calibration.factor("gpt-4o") < 1.65


async def test_an_async_agent_sends_again_too() -> None:
    model = Strict()
    graph = agent(model)
    for turn in range(30):
        await graph.ainvoke({"messages": [("user", f"Tell me of plant number {turn}.")]}, THREAD)
    assert (len(model.prompts), len(model.refused)) == (30, 1)


def test_the_cut_of_the_second_prompt_is_the_one_that_is_kept() -> None:
    model = Strict(tells=False)
    ask(agent(model), 30)
    starts = [prompt[0].text for prompt in model.prompts]
    assert len(set(starts)) <= len(model.refused) + 1


def test_it_is_sent_again_only_once() -> None:
    model = Strict(may_have=5, tells=False)
    with pytest.raises(StatusError):
        ask(agent(model), 1)
    assert len(model.refused) <= 2


def test_what_nothing_can_be_cut_from_raises_the_providers_error() -> None:
    model = Strict(may_have=50)
    with pytest.raises(StatusError) as raised:
        agent(model).invoke({"messages": [("user", "fern " * 100)]}, THREAD)
    assert isinstance(raised.value.__cause__, ContextWindowError)
    assert len(model.refused) == 1


def test_a_fallback_hears_of_what_cannot_be_sent() -> None:
    small, large = Strict(may_have=50), Strict(may_have=500)
    graph = agent(small, ModelFallbackMiddleware(large))
    assert graph.invoke({"messages": [HumanMessage("fern " * 100)]}, THREAD)["messages"][-1].text
    assert len(large.prompts) == 1


def test_a_prompt_of_images_teaches_little() -> None:
    calibration, model = Calibration(), Strict(tokens_each=1.6, may_have=10_000)
    graph = agent(model, max_tokens=10_000, calibration=calibration)
    image = {"type": "image", "url": "https://plants.example/fern.png"}
    graph.invoke({"messages": [HumanMessage([image])]}, THREAD)
    assert calibration.factor("gpt-4o") < 1.1
