"""An agent's state keeps the conversation; its model is sent what fits, valid and with its cut."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from history_judge import refusals
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRequest,
    ModelResponse,
    SummarizationMiddleware,
    ToolRetryMiddleware,
    dynamic_prompt,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from models import CountingModel
from pydantic import BaseModel, Field
from typing_extensions import override

from llmops_langchain import Budget, ContextWindowError, LLMOps, Settings
from llmops_langchain.memory import ContextWindow
from llmops_langchain.middleware import BudgetMiddleware, ContextWindowMiddleware
from llmops_langchain.tokens import count_tokens

THREAD = {"configurable": {"thread_id": "1"}}
SYSTEM = "You are the desk of a shop for plants."
CALL = {"name": "stock", "args": {"plant": "fern"}, "type": "tool_call"}


class Recording(CountingModel):
    """Asks for a tool, then answers; keeps the prompts it was sent and the tools it was given."""

    model_name: str = "gpt-4o"
    usage: dict[str, Any] | None = None
    uses_tools: bool = True
    prompts: list[list[BaseMessage]] = Field(default_factory=list)
    bound: list[Any] = Field(default_factory=list)

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self._ask("generate")
        self.prompts.append(messages)
        self.bound.append(kwargs.get("tools"))
        calls = []
        if self.uses_tools and messages[-1].type == "human":
            calls = [{**CALL, "id": f"call-{len(self.prompts)}"}]
        said = AIMessage("" if calls else "We have some left.", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=said)])

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=list(tools), **kwargs)


@tool
def stock(plant: str) -> str:
    """How many of a plant are left."""
    return f"There are 12 of {plant} in the house and 30 more in the garden behind it."


def agent(
    model: Any = None, *middleware: AgentMiddleware, window: Any = None, **options: Any
) -> tuple[Any, Recording]:
    """An agent with a window of 600 tokens, put last, and its model."""
    asked = Recording() if model is None else model
    last = ContextWindowMiddleware(ContextWindow("gpt-4o", 600) if window is None else window)
    given = {"tools": [stock], "system_prompt": SYSTEM, "checkpointer": InMemorySaver(), **options}
    return create_agent(asked, middleware=[*middleware, last], **given), asked


def ask(graph: Any, turns: int, config: Any = THREAD) -> list[BaseMessage]:
    """The state after so many more turns."""
    for turn in range(turns):
        state = graph.invoke({"messages": [("user", f"How many ferns, number {turn}?")]}, config)
    return state["messages"]


def shape(messages: Sequence[BaseMessage]) -> list[tuple[str, str]]:
    return [(m.type, m.text) for m in messages]


def moves(prompts: Sequence[Sequence[BaseMessage]]) -> int:
    """How often a prompt does not begin like the one before."""
    return sum(shape(b)[: len(a)] != shape(a) for a, b in pairwise(prompts))


def test_the_state_is_that_of_an_agent_without_the_middleware() -> None:
    graph, model = agent()
    plain = create_agent(Recording(), [stock], system_prompt=SYSTEM, checkpointer=InMemorySaver())
    assert shape(ask(graph, 30)) == shape(ask(plain, 30))
    assert len(model.prompts[-1]) < 40


def test_every_prompt_is_valid_and_fits_with_its_tools() -> None:
    graph, model = agent()
    ask(graph, 30)
    assert [refusals(prompt) for prompt in model.prompts] == [[]] * 60
    assert all(prompt[0] == SystemMessage(SYSTEM) for prompt in model.prompts)
    assert max(count_tokens(p, "gpt-4o", [stock]) for p in model.prompts) <= 600


def test_the_prefix_stays_equal_over_30_turns_until_the_cut_moves() -> None:
    graph, model = agent()
    ask(graph, 30)
    assert 3 < moves(model.prompts) < 15


def test_the_cut_is_found_again_in_every_process_with_the_same_checkpointer() -> None:
    one, model = agent()
    ask(one, 30)
    saver, prompts = InMemorySaver(), []
    for turn in range(30):
        graph, anew = agent(checkpointer=saver)
        graph.invoke({"messages": [("user", f"How many ferns, number {turn}?")]}, THREAD)
        prompts += anew.prompts
    assert list(map(shape, prompts)) == list(map(shape, model.prompts))


def test_a_checkpoint_without_a_cut_is_cut_to_the_same_effect() -> None:
    one, model = agent()
    ask(one, 30)
    saver = InMemorySaver()
    plain = create_agent(Recording(), [stock], system_prompt=SYSTEM, checkpointer=saver)
    ask(plain, 29)
    graph, late = agent(checkpointer=saver)
    graph.invoke({"messages": [("user", "How many ferns, number 29?")]}, THREAD)
    assert list(map(shape, late.prompts)) == list(map(shape, model.prompts[-2:]))


def test_no_caller_sees_what_is_kept_and_a_short_chat_keeps_nothing() -> None:
    graph, _ = agent()
    ask(graph, 2)
    assert "llmops_context" not in graph.get_state(THREAD).values
    ask(graph, 28)
    assert list(graph.get_state(THREAD).values["llmops_context"]) == ["gpt-4o"]
    assert list(graph.invoke({"messages": [("user", "?")]}, THREAD)) == ["messages"]
    assert "llmops_context" not in graph.get_input_jsonschema()["properties"]
    assert "llmops_context" not in graph.get_output_jsonschema()["properties"]


async def test_an_async_agent_sends_the_same() -> None:
    graph, model = agent()
    ask(graph, 15)
    again, asynchronous = agent()
    for turn in range(15):
        await again.ainvoke({"messages": [("user", f"How many ferns, number {turn}?")]}, THREAD)
    assert list(map(shape, asynchronous.prompts)) == list(map(shape, model.prompts))


def test_an_interrupt_does_not_move_the_cut() -> None:
    graph, model = agent(None, HumanInTheLoopMiddleware(interrupt_on={"stock": True}))
    for turn in range(20):
        graph.invoke({"messages": [("user", f"How many ferns, number {turn}?")]}, THREAD)
        graph.invoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    straight, other = agent()
    ask(straight, 20)
    assert list(map(shape, model.prompts)) == list(map(shape, other.prompts))


@pytest.mark.parametrize("asked", ["invoke", "ainvoke"])
def test_what_cannot_fit_raises_with_the_figures_of_the_whole_request(asked) -> None:
    graph, model = agent(window=ContextWindow("gpt-4o", 200))
    too_long = {"messages": [("user", "fern " * 300)]}
    with pytest.raises(ContextWindowError) as raised:
        invoked(graph, asked, too_long)
    needed = count_tokens([SystemMessage(SYSTEM), HumanMessage("fern " * 300)], "gpt-4o", [stock])
    assert (raised.value.needed_tokens, raised.value.max_tokens) == (needed, 200)
    assert model.calls == 0


def invoked(graph: Any, how: str, given: Any, config: Any = THREAD) -> Any:
    """The state, by either face of the graph."""
    if how == "invoke":
        return graph.invoke(given, config)
    return asyncio.run(graph.ainvoke(given, config))


def test_tools_that_fill_the_window_raise() -> None:
    graph, model = agent(window=ContextWindow("gpt-4o", 30))
    with pytest.raises(ContextWindowError) as raised:
        ask(graph, 1)
    assert raised.value.max_tokens == 30 < raised.value.needed_tokens
    assert model.calls == 0


def request(history: Sequence[BaseMessage], **parts: Any) -> ModelRequest[Any]:
    return ModelRequest(model=Recording(), messages=list(history), **parts)


def sent(middleware: ContextWindowMiddleware, asked: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request as it reaches the model."""
    seen: list[ModelRequest[Any]] = []
    middleware.wrap_model_call(asked, lambda r: seen.append(r) or ModelResponse([AIMessage("")]))
    return seen[0]


def chat(turns: int) -> list[BaseMessage]:
    told = [
        (HumanMessage(f"hello {i}", id=f"h{i}"), AIMessage("hi", id=f"a{i}")) for i in range(turns)
    ]
    return [*(m for pair in told for m in pair), HumanMessage("and now?", id="now")]


class Report(BaseModel):
    """How the plants of the house are, one by one, in the words of whoever waters them."""

    plants: list[str] = Field(description="The names of all plants, as they stand on their labels.")
    thirst: float = Field(description="How dry they are on average, from 0 to 1, as far as known.")


@pytest.mark.parametrize(
    "parts",
    [
        {"system_prompt": "You are the desk of a shop for plants. " * 10},
        {
            "tools": [
                stock,
                {"type": "function", "function": {"name": "f", "description": "x " * 60}},
            ]
        },
        {"response_format": ToolStrategy(Report)},
        {"response_format": ProviderStrategy(Report)},
        {"response_format": Report},
    ],
    ids=["system", "tools", "tool strategy", "provider strategy", "bare schema"],
)
def test_what_stands_beside_the_messages_counts(parts) -> None:
    middleware = ContextWindowMiddleware(ContextWindow("gpt-4o", 300))
    alone = sent(middleware, request(chat(60)))
    fewer = sent(middleware, request(chat(60), **parts))
    assert 0 < len(fewer.messages) < len(alone.messages)


def test_tools_that_the_window_declares_count_once() -> None:
    declared = ContextWindowMiddleware(ContextWindow("gpt-4o", 300, tools=[stock]))
    told = ContextWindowMiddleware(ContextWindow("gpt-4o", 300))
    asked = request(chat(60), tools=[stock])
    assert abs(len(sent(declared, asked).messages) - len(sent(told, asked).messages)) <= 2


def test_a_request_that_fits_is_sent_as_it_is() -> None:
    asked = request(chat(3), system_prompt=SYSTEM)
    assert sent(ContextWindowMiddleware(ContextWindow("gpt-4o", 300)), asked) is asked


def test_an_outer_middleware_says_what_the_system_prompt_is() -> None:
    turns: list[int] = []

    @dynamic_prompt
    def prompt(asked: ModelRequest[Any]) -> str:
        turns.append(len(asked.messages))
        return f"There were {len(turns)} calls. " * 20

    graph, model = agent(None, prompt)
    ask(graph, 15)
    assert [p[0].text for p in model.prompts] == [
        f"There were {i} calls. " * 20 for i in range(1, 31)
    ]
    assert max(count_tokens(p, "gpt-4o", [stock]) for p in model.prompts) <= 600


def test_without_a_window_each_model_has_its_own_limit() -> None:
    small = Recording(profile={"max_input_tokens": 800}, max_tokens=200, uses_tools=False)
    large = Recording(profile={"max_input_tokens": 100_000}, model_name="gpt-4.1")
    middleware = ContextWindowMiddleware()
    assert len(sent(middleware, request(chat(100)).override(model=small)).messages) < 100
    assert len(sent(middleware, request(chat(100)).override(model=large)).messages) == 201


def test_a_fallback_with_a_smaller_window_is_cut_for_itself() -> None:
    broken = Recording(error=ConnectionError("down"), profile={"max_input_tokens": 100_000})
    small = Recording(model_name="gpt-4o-mini", profile={"max_input_tokens": 1000})
    graph, _ = agent(broken, ModelFallbackMiddleware(small), window=ContextWindow)
    ask(graph, 30)
    kept = graph.get_state(THREAD).values["llmops_context"]
    assert list(kept) == ["gpt-4o-mini"]
    assert max(count_tokens(p, "gpt-4o", [stock]) for p in small.prompts) <= 500
    assert moves(small.prompts) < 30


def test_each_model_keeps_a_cut_of_its_own() -> None:
    small = Recording(model_name="gpt-4o-mini", profile={"max_input_tokens": 2000})
    large = Recording(profile={"max_input_tokens": 4000})
    models = [small, large]

    class Alternates(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Callable[..., Any]) -> Any:
            models.reverse()
            return handler(request.override(model=models[0]))

    graph, _ = agent(small, Alternates(), window=ContextWindow)
    ask(graph, 60)
    assert set(graph.get_state(THREAD).values["llmops_context"]) == {"gpt-4o", "gpt-4o-mini"}
    assert len(large.prompts[-1]) > len(small.prompts[-1]) + 5
    assert max(moves(small.prompts), moves(large.prompts)) < 15


def test_a_budget_that_downgrades_has_the_cheaper_models_window() -> None:
    cheap = Recording(model_name="cheap", profile={"max_input_tokens": 1000}, uses_tools=False)
    dear = Recording(usage={"input_tokens": 10, "output_tokens": 1024, "total_tokens": 1034})
    with LLMOps("sqlite://", Settings()) as ops, ops.track(project="p"):
        ops.prices.set("gpt-4o", input_per_million=1, output_per_million=10)
        ops.prices.set("cheap", input_per_million="0.01", output_per_million="0.01")
        ops.budgets.set(Budget(project="p", limit="0.005"))
        budget = BudgetMiddleware(ops.guard, exit_behavior="downgrade", downgrade_to=cheap)
        graph, _ = agent(dear, budget, window=ContextWindow)
        ask(graph, 60)
    assert dear.calls == 0
    assert max(count_tokens(p, "gpt-4o", [stock]) for p in cheap.prompts) <= 500


@pytest.mark.parametrize(
    "other",
    [
        SummarizationMiddleware(
            FakeListChatModel(responses=["They asked about ferns."]),
            trigger=("messages", 12),
            keep=("messages", 5),
        ),
        ContextEditingMiddleware(),
        ToolRetryMiddleware(),
    ],
    ids=lambda it: type(it).__name__,
)
def test_it_goes_with_langchains_own(other) -> None:
    graph, model = agent(None, other, window=ContextWindow("gpt-4o", 300))
    ask(graph, 30)
    assert len(model.prompts) == 60
    assert max(count_tokens(p, "gpt-4o", [stock]) for p in model.prompts) <= 300
    assert [refusals(p) for p in model.prompts] == [[]] * 60


def test_structured_output_comes_through() -> None:
    class Reports(Recording):
        @override
        def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
            self.prompts.append(messages)
            args_ = {"plants": ["fern"], "thirst": 0.5}
            calls = [{"name": "Report", "args": args_, "id": f"r{len(self.prompts)}"}]
            return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=calls))])

    graph, model = agent(Reports(), response_format=ToolStrategy(Report))
    for _ in range(30):
        state = graph.invoke({"messages": [("user", "How are they?")]}, THREAD)
        assert state["structured_response"] == Report(plants=["fern"], thirst=0.5)
    assert len(state["messages"]) == 90
    assert len(model.prompts[-1]) < 60
    assert [refusals(p) for p in model.prompts] == [[]] * 30


def test_a_sub_agent_has_a_window_and_a_cut_of_its_own() -> None:
    inner, inner_model = agent(Recording(uses_tools=False), checkpointer=None)

    @tool
    def stock(plant: str) -> str:
        """Ask another agent how many of a plant are left."""
        told = [("user", f"How many {plant}, {i}?") for i in range(80)]
        return inner.invoke({"messages": told})["messages"][-1].text

    graph, model = agent(tools=[stock])
    assert len(ask(graph, 30)) == 120
    assert all(len(p) < 60 for p in (*inner_model.prompts, *model.prompts))
    assert moves(model.prompts) < 15


def test_outputs_that_gave_way_to_a_note_stay_so_and_their_artifacts_stay_in_the_state() -> None:
    @tool(response_format="content_and_artifact")
    def stock(plant: str) -> tuple[str, object]:
        """How many of a plant are left."""
        return f"There are 12 of {plant}. " * 20, {plant: object}

    class Loops(Recording):
        """Asks for the tool again and again."""

        @override
        def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
            self.prompts.append(messages)
            calls = [{**CALL, "id": f"c{len(self.prompts)}"}] if len(self.prompts) < 25 else []
            answer = AIMessage("", tool_calls=calls)
            return ChatResult(generations=[ChatGeneration(message=answer)])

    graph, model = agent(Loops(), tools=[stock], checkpointer=None)
    state = graph.invoke({"messages": [("user", "Count them all.")]}, {"recursion_limit": 100})
    outputs = [m for m in state["messages"] if m.type == "tool"]
    assert {(len(m.text), *m.artifact) for m in outputs} == {(440, "fern")}
    noted = [sum("removed" in m.text for m in p) for p in model.prompts]
    assert max(noted) > 1
    assert moves(model.prompts) < 24 / 2
    assert [refusals(p) for p in model.prompts] == [[]] * 25


def test_a_model_bound_to_settings_is_seen() -> None:
    small = Recording(profile={"max_input_tokens": 800}, max_tokens=200)
    asked = request(chat(100)).override(model=small.bind(stop=["x"]))
    assert len(sent(ContextWindowMiddleware(), asked).messages) < 100


def test_another_model_can_be_counted_as() -> None:
    middleware = ContextWindowMiddleware(
        lambda model: ContextWindow(model, {"small": 100, "gpt-4o": 10_000}[str(model)]),
        model="small",
    )
    assert len(sent(middleware, request(chat(60))).messages) < 60


def test_a_question_larger_than_the_window_is_cut_in_the_middle_where_that_is_allowed() -> None:
    window = ContextWindow("gpt-4o", 300, on_oversize="cut")
    graph, model = agent(Recording(uses_tools=False), window=window)
    state = graph.invoke({"messages": [("user", "How many? " + "fern " * 600)]}, THREAD)
    assert len(state["messages"][0].text) > 3000
    [[_, question]] = model.prompts
    assert question.text.startswith("How many? fern")
    assert count_tokens(model.prompts[0], "gpt-4o", [stock]) <= 300


def summing_up(history: Sequence[BaseMessage], _room: Any) -> list[BaseMessage]:
    """A strategy that says in one message what it takes away."""
    told = HumanMessage("So far: ferns.", additional_kwargs={"llmops_summary": {"covers": 1}})
    head = 1 if history[0].type == "system" else 0
    questions = [at for at, m in enumerate(history) if m.type == "human"]
    return [*history[:head], told, *history[questions[-2] :]]


@pytest.mark.parametrize("persist", [False, True])
def test_a_summary_is_carried_from_turn_to_turn(persist) -> None:
    model = Recording()
    last = ContextWindowMiddleware(ContextWindow("gpt-4o", 600, summing_up), persist=persist)
    saver = InMemorySaver()
    graph = create_agent(
        model, [stock], system_prompt=SYSTEM, middleware=[last], checkpointer=saver
    )
    assert (len(ask(graph, 30)) < 40) == persist
    later = [p for p in model.prompts if len(p) > 1 and p[1].text == "So far: ferns."]
    assert len(later) > 40
    assert moves(model.prompts) < 15
    assert [refusals(p) for p in model.prompts] == [[]] * 60


def test_a_window_of_the_users_own_warns_once_a_crossing_too() -> None:
    heard: list[Any] = []
    graph, model = agent(window=ContextWindow("gpt-4o", 800, on_warning=heard.append))
    ask(graph, 40)
    assert 0 < len(heard) <= 2 * (moves(model.prompts) + 1)


class TestPersist:
    """`persist=True` removes from the state what is not sent any more."""

    def graph(self, **options: Any) -> tuple[Any, Recording]:
        model = Recording()
        middleware = ContextWindowMiddleware(ContextWindow("gpt-4o", 600), persist=True)
        graph = create_agent(
            model,
            [stock],
            system_prompt=SYSTEM,
            middleware=[middleware],
            checkpointer=InMemorySaver(),
            **options,
        )
        return graph, model

    def test_the_state_shrinks_to_what_is_sent(self) -> None:
        graph, model = self.graph()
        kept = ask(graph, 30)
        assert shape(kept) == [*shape(model.prompts[-1])[1:], ("ai", "We have some left.")]
        assert len(kept) < 40

    def test_the_model_is_sent_what_it_would_be_otherwise(self) -> None:
        graph, model = self.graph()
        other, whole = agent()
        ask(graph, 30)
        ask(other, 30)
        assert list(map(shape, model.prompts)) == list(map(shape, whole.prompts))

    async def test_an_async_agent_removes_too(self) -> None:
        graph, _ = self.graph()
        for _ in range(30):
            state = await graph.ainvoke({"messages": [("user", "How many ferns?")]}, THREAD)
        assert len(state["messages"]) < 40

    def test_what_an_outer_middleware_made_of_the_answer_stays(self) -> None:
        class Shouts(AgentMiddleware):
            def wrap_model_call(self, request: Any, handler: Callable[..., Any]) -> Any:
                answer = handler(request)
                answer.result[-1].content = answer.result[-1].text.upper()
                return answer

        model = Recording(uses_tools=False)
        last = ContextWindowMiddleware(ContextWindow("gpt-4o", 200), persist=True)
        graph = create_agent(model, middleware=[Shouts(), last], checkpointer=InMemorySaver())
        answers = [m.text for m in ask(graph, 30) if m.type == "ai"]
        assert set(answers) == {"WE HAVE SOME LEFT."}
        assert len(answers) < 20

    def test_only_who_asks_for_it_pays_a_step_a_turn(self) -> None:
        assert "ContextWindowMiddleware.after_model" in self.graph()[0].nodes
        assert list(agent()[0].nodes) == ["__start__", "model", "tools"]


class TestHelpFailsOpen:
    def test_a_strategy_that_fails_leaves_the_prompt_whole_and_is_logged_once(self, caplog) -> None:
        def broken(_history: Any, _room: Any) -> Any:
            msg = "secret words of a user"
            raise RuntimeError(msg)

        graph, model = agent(window=ContextWindow("gpt-4o", 600, broken))
        assert len(ask(graph, 30)) == 120
        assert len(model.prompts[-1]) == 120
        [record] = caplog.records
        assert "RuntimeError" in record.message
        assert "secret" not in caplog.text

    def test_a_window_that_cannot_be_made_leaves_the_prompt_whole(self) -> None:
        def broken(_model: Any) -> Any:
            msg = "no such model"
            raise ValueError(msg)

        graph, model = agent(window=broken)
        ask(graph, 30)
        assert len(model.prompts[-1]) == 120

    def test_an_error_of_the_model_is_the_callers(self) -> None:
        graph, model = agent(Recording(error=ConnectionError("down")))
        with pytest.raises(ConnectionError):
            ask(graph, 1)
        assert model.calls == 1


def test_a_strategy_that_waits_does_not_hold_up_the_event_loop() -> None:
    seen: list[int] = []

    def strategy(history: Any, _room: Any) -> Any:
        seen.append(threading.get_ident())
        return history[-1:]

    strategy.blocks = True
    graph, _ = agent(window=ContextWindow("gpt-4o", 200, strategy))

    async def talk() -> int:
        for turn in range(10):
            await graph.ainvoke({"messages": [("user", f"How many, {turn}?")]}, THREAD)
        return threading.get_ident()

    assert asyncio.run(talk()) not in seen
    assert seen


MESSAGES = st.lists(
    st.sampled_from(["ask", "call", "result", "answer", "orphan", "system"]), max_size=30
)


def history(kinds: Sequence[str], size: int) -> list[BaseMessage]:
    """Whatever an agent may leave behind, and a question."""
    told: list[BaseMessage] = []
    for at, kind in enumerate(kinds):
        words = "fern " * (size + at % 7)
        told.append(
            {
                "ask": HumanMessage(words),
                "call": AIMessage("", tool_calls=[{**CALL, "id": f"c{at}"}]),
                "result": ToolMessage(words, tool_call_id=f"c{at - 1}"),
                "answer": AIMessage(words),
                "orphan": ToolMessage(words, tool_call_id="gone"),
                "system": SystemMessage("Be brief."),
            }[kind]
        )
    told.append(HumanMessage("And now?"))
    return [m.model_copy(update={"id": f"m{at}"}) for at, m in enumerate(told)]


@given(kinds=MESSAGES, size=st.integers(1, 60), max_tokens=st.integers(250, 800))
@settings(max_examples=100, deadline=None)
def test_of_any_history_a_cut_prompt_is_valid_fits_and_asks_the_question(
    kinds, size, max_tokens
) -> None:
    asked = request(history(kinds, size), system_prompt=SYSTEM, tools=[stock])
    made = sent(ContextWindowMiddleware(ContextWindow("gpt-4o", max_tokens)), asked)
    prompt = [made.system_message, *made.messages]
    assert made.messages[-1].text == "And now?"
    assert count_tokens(prompt, "gpt-4o", [stock]) <= max_tokens
    if made is not asked:
        assert refusals(prompt) == []
