"""A context window is a Runnable that leaves alone what fits and cuts what does not."""

import asyncio
import logging
from itertools import pairwise

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from llmops_langchain.errors import ConfigurationError, ContextWindowError
from llmops_langchain.memory import ContextWindow, Trim
from llmops_langchain.models import context_limits
from llmops_langchain.tokens import count_tokens

SYSTEM, NOW = SystemMessage("Be brief."), HumanMessage("And now?")
HELLO, HI = "hello there", "hi, what is it?"
CHAT = [SYSTEM, *[m for _ in range(20) for m in (HumanMessage(HELLO), AIMessage(HI))], NOW]


def window(max_tokens: int | None = 100, **settings) -> ContextWindow:
    return ContextWindow("gpt-4o", max_tokens, **settings)


def search(query: str) -> str:
    """Search for pages about a query."""
    return query


def test_a_history_that_fits_is_left_as_it_is() -> None:
    exactly = count_tokens(CHAT, "gpt-4o")
    kept = window(exactly).invoke(CHAT)
    assert all(a is b for a, b in zip(kept, CHAT, strict=True))
    assert len(window(exactly - 1).invoke(CHAT)) < len(CHAT)


def test_a_history_that_does_not_fit_is_cut_to_its_newest_turns() -> None:
    kept = window().invoke(CHAT)
    assert kept == [SYSTEM, *CHAT[-len(kept) + 1 :]]
    assert 80 < count_tokens(kept, "gpt-4o") <= 100


def test_the_result_may_be_changed_without_changing_the_history() -> None:
    history = [SYSTEM, NOW]
    window().invoke(history).append(NOW)
    assert history == [SYSTEM, NOW]


def test_tool_schemas_take_their_share() -> None:
    plain, bound = window(200), window(200, tools=[search])
    assert len(bound.invoke(CHAT)) < len(plain.invoke(CHAT))
    assert bound.check(bound.invoke(CHAT)).share <= 1
    assert bound.check(CHAT).current_tokens == count_tokens(CHAT, "gpt-4o", [search])


def test_prompt_window_model_is_a_chain() -> None:
    prompt = ChatPromptTemplate([("system", "Be brief."), MessagesPlaceholder("chat")])
    seen: list[list[BaseMessage]] = []
    model = FakeListChatModel(responses=["yes"])
    chain = prompt | window() | (lambda messages: seen.append(messages) or messages) | model
    assert chain.invoke({"chat": CHAT[1:]}).content == "yes"
    assert 80 < count_tokens(seen[0], "gpt-4o") <= 100


def test_the_chain_streams() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("one two")]))
    chain = ChatPromptTemplate([("placeholder", "{chat}")]) | window() | model
    assert "".join(str(c.content) for c in chain.stream({"chat": CHAT})) == "one two"


async def test_async_and_batch_give_the_same() -> None:
    kept = window().invoke(CHAT)
    assert await window().ainvoke(CHAT) == kept
    assert window().batch([CHAT, "short"]) == [kept, [HumanMessage("short")]]
    assert await asyncio.gather(*[window().ainvoke(CHAT)] * 2) == [kept, kept]


@pytest.mark.parametrize("max_tokens", [100, 10_000])
def test_any_form_of_messages_will_do(max_tokens) -> None:
    as_tuples = [(m.type, m.content) for m in CHAT]
    mixed = [*as_tuples[:20], *CHAT[20:-1], {"role": "user", "content": NOW.content}]
    kept = window(max_tokens).invoke(CHAT)
    assert window(max_tokens).invoke(as_tuples) == kept
    assert window(max_tokens).invoke(mixed) == kept
    assert window(max_tokens).invoke("And now?") == [NOW]


def test_a_trace_shows_the_window_with_what_went_in_and_out() -> None:
    class Trace(BaseCallbackHandler):
        def on_chain_start(self, _serialized, inputs, *, tags, **more) -> None:
            self.start = (more["name"], inputs, tags)

        def on_chain_end(self, outputs, **_more) -> None:
            self.end = outputs

    trace = Trace()
    kept = window().invoke(CHAT, {"callbacks": [trace], "tags": ["mine"]})
    assert (trace.start, trace.end) == (("ContextWindow", CHAT, ["mine"]), kept)


def test_too_long_a_question_is_refused_before_the_model_is_called() -> None:
    with pytest.raises(ContextWindowError) as refused:
        window(20, tools=[search]).invoke([SYSTEM, HumanMessage("long " * 50)])
    needed = count_tokens([SYSTEM, HumanMessage("long " * 50)], "gpt-4o", [search])
    assert (refused.value.needed_tokens, refused.value.max_tokens) == (needed, 20)


@pytest.mark.parametrize(
    ("tokens", "status"),
    [(0, "ok"), (74, "ok"), (75, "warning"), (84, "warning"), (85, "critical"), (200, "critical")],
)
def test_check_tells_how_full_the_window_is(tokens, status) -> None:
    found = window(100).check(tokens)
    assert (found.status, found.current_tokens, found.limit) == (status, tokens, 100)
    assert (found.share, found.estimated) == (tokens / 100, False)


def test_check_counts_messages_of_any_form() -> None:
    assert window().check(CHAT).current_tokens == count_tokens(CHAT, "gpt-4o")
    assert window().check("hi") == window().check([("human", "hi")])
    assert ContextWindow("claude-sonnet-4-5", 100).check("hi").estimated


def test_without_max_tokens_the_limit_is_the_models_less_a_reserve() -> None:
    limit = context_limits("gpt-4o").max_input_tokens
    assert window(None).max_tokens == limit - 4096
    assert window(None, output_reserve=1000).max_tokens == limit - 1000


class Small(FakeListChatModel):
    max_tokens: int | None = None
    max_output_tokens: int | None = None


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, 5904),
        ({"max_tokens": 1000}, 9000),
        ({"max_output_tokens": 2000}, 8000),
        ({"max_tokens": 9000}, 5000),
    ],
)
def test_a_models_own_answer_length_is_the_reserve(settings, limit) -> None:
    model = Small(responses=[""], profile={"max_input_tokens": 10_000}, **settings)
    assert ContextWindow(model).max_tokens == limit


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 0},
        {"max_tokens": None, "output_reserve": 10_000_000},
        {"max_tokens": 100, "output_reserve": 10},
        {"strategy": "newest"},
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(settings) -> None:
    with pytest.raises(ConfigurationError):
        window(**settings)


def test_an_unknown_strategy_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'newest'.*sliding_window"):
        window(strategy="newest")


def test_a_callable_is_a_strategy() -> None:
    kept = window(strategy=lambda messages, _: messages[1:3]).invoke(CHAT)
    assert kept == [SYSTEM, *CHAT[1:3], NOW]


def test_on_trim_is_called_when_something_was_cut() -> None:
    trims: list[Trim] = []
    for history in (CHAT, [SYSTEM, NOW], CHAT):
        window(on_trim=trims.append).invoke(history)
    assert [len(t.removed) + len(t.messages) for t in trims] == [len(CHAT)] * 2


def test_an_error_in_on_trim_is_logged_once_by_its_class(caplog) -> None:
    def broken(trim: Trim) -> None:
        raise OSError("secret " + str(trim.messages[0].content))

    one = window(on_trim=broken)
    with caplog.at_level(logging.WARNING, "llmops_langchain.memory"):
        assert one.invoke(CHAT) == one.invoke(CHAT) == window().invoke(CHAT)
    assert len(caplog.records) == 1
    assert "OSError" in caplog.text
    assert "secret" not in caplog.text


def test_a_sticky_trim_tells_a_cut_that_moves_from_one_that_is_kept() -> None:
    trims: list[Trim] = []
    one, prompts = window(200, on_trim=trims.append), [[SYSTEM]]
    for length in range(2, len(CHAT) + 1, 2):
        prompts.append(one.trim_sticky(CHAT[:length], previous=prompts[-1]).messages)
    moved = [after for before, after in pairwise(prompts) if after[: len(before)] != before]
    assert [trim.messages for trim in trims if trim.moved] == moved != []
    shorter = [prompt for n, prompt in enumerate(prompts) if len(prompt) < 2 * n]
    assert [trim.messages for trim in trims] == shorter
    assert len(shorter) > len(moved)


def test_a_state_is_not_taken_for_messages() -> None:
    with pytest.raises(ConfigurationError, match="trim_node"):
        window().invoke({"messages": CHAT})


def test_a_limit_that_nobody_knows_is_said(caplog) -> None:
    ContextWindow("no-such-model")
    assert "no-such-model" in caplog.text
