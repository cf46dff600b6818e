"""Messages and tools are counted by one law, and as OpenAI's own client does where it counts."""

import gc
import json
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import ne

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.tools import tool

from llmops_langchain.tokens import TokenCounter, count_tokens, counter_for, tools
from llmops_langchain.tokens.memo import CountMemo

COUNTER = counter_for("gpt-4o")


@tool
def get_weather(city: str) -> str:
    """Tell the weather."""
    return city


CALL = {"name": "get_weather", "args": {"city": "Köln"}, "id": "1", "type": "tool_call"}
TEXTS = st.text(max_size=30)
BLOCKS = st.lists(
    TEXTS.map(lambda text: {"type": "text", "text": text})
    | TEXTS
    | st.sampled_from(
        [
            {"type": "image_url", "image_url": {"url": "x"}},
            {"type": "audio", "base64": "x"},
            {"type": "unheard_of", "value": [1]},
        ]
    ),
    max_size=3,
)
CONTENTS = TEXTS | BLOCKS
MESSAGES = st.lists(
    st.builds(HumanMessage, content=CONTENTS, name=st.none() | st.just("ann"))
    | st.builds(SystemMessage, content=CONTENTS)
    | st.builds(AIMessage, content=CONTENTS, tool_calls=st.sampled_from([[], [CALL], [CALL] * 2]))
    | st.builds(ToolMessage, content=CONTENTS, tool_call_id=st.just("1"))
    | st.tuples(st.sampled_from(["user", "ai"]), TEXTS)
    | TEXTS,
    max_size=6,
)
TOOLS = st.lists(st.sampled_from([get_weather, {"type": "web_search"}]), max_size=2)


@settings(deadline=None)
@given(MESSAGES, TOOLS, st.sampled_from(["gpt-5", "gpt-4", "claude-opus-4-5"]))
def test_a_request_is_the_sum_of_its_parts(messages, tools, model) -> None:
    counter = counter_for(model)
    parts = counter.tools(tools) + sum(counter.message(message) for message in messages)
    assert counter.messages(messages, tools) == counter.reply_overhead + parts
    assert count_tokens(messages, model, tools) == counter.messages(messages, tools)


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
def test_messages_count_as_the_openai_client_counts_them(
    model, tiktoken_cache, monkeypatch
) -> None:
    openai = pytest.importorskip("langchain_openai")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tiktoken_cache))
    messages = [
        SystemMessage("Answer in rhymes."),
        HumanMessage("What is the weather in Köln?", name="ann"),
        HumanMessage([{"type": "text", "text": "And in "}, {"type": "text", "text": "Rome?"}]),
        HumanMessage([{"type": "image_url", "image_url": {"url": "x", "detail": "low"}}]),
        AIMessage("It rains."),
        ToolMessage("12 °C", tool_call_id="1"),
    ]
    theirs = openai.ChatOpenAI(model=model, api_key="none").get_num_tokens_from_messages(messages)
    assert counter_for(model).messages(messages) == theirs


def test_a_text_is_counted_without_a_format_around_it() -> None:
    assert count_tokens("Hello, world!", "gpt-5") == 4
    tools = COUNTER.tools([get_weather])
    assert count_tokens("Hello, world!", "gpt-5", [get_weather]) == 4 + tools


def test_a_tool_call_counts_its_name_and_arguments() -> None:
    plain, calling = AIMessage("ok"), AIMessage("ok", tool_calls=[CALL])
    arguments = json.dumps(CALL["args"], ensure_ascii=False)
    expected = 3 + COUNTER.text("get_weather") + COUNTER.text(arguments)
    assert COUNTER.message(calling) - COUNTER.message(plain) == expected


def test_a_broken_tool_call_counts_what_the_model_wrote() -> None:
    broken = {"name": None, "args": '{"city": "Kö', "id": "1", "error": "cut off"}
    message = AIMessage("ok", invalid_tool_calls=[broken])
    expected = 3 + COUNTER.text('{"city": "Kö')
    assert COUNTER.message(message) - COUNTER.message(AIMessage("ok")) == expected


def test_a_call_that_stands_in_the_content_too_counts_once() -> None:
    block = {"type": "tool_use", "name": "get_weather", "input": CALL["args"], "id": "1"}
    both = AIMessage([{"type": "text", "text": "ok"}, block], tool_calls=[CALL])
    assert COUNTER.message(both) == COUNTER.message(AIMessage("ok", tool_calls=[CALL]))


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        ({"type": "image_url", "image_url": {"url": "x", "detail": "low"}}, 85),
        ({"type": "image_url", "image_url": {"url": "x", "detail": "high"}}, 765),
        ({"type": "image_url", "image_url": "x"}, 765),
        ({"type": "image", "base64": "x" * 99_999, "mime_type": "image/png"}, 765),
        ({"type": "input_image", "image_url": "x", "detail": "low"}, 85),
        ({"type": "input_audio", "input_audio": {"data": "x"}}, 1_000),
        ({"type": "video", "url": "x"}, 8_000),
        ({"type": "file", "base64": "x"}, 2_000),
        ({"type": "thinking", "thinking": "Hello, world!", "signature": "x" * 999}, 4),
        ({"type": "reasoning", "encrypted_content": "x" * 1_600}, 300),
        ({"type": "tool_result", "content": [{"type": "text", "text": "Hello, world!"}]}, 4),
        ({"type": "tool_result", "tool_use_id": "1"}, 0),
    ],
)
def test_a_block_counts_its_text_or_a_flat_estimate(block, tokens) -> None:
    assert COUNTER.message(HumanMessage([block])) == 4 + tokens


def test_a_block_of_an_unknown_kind_counts_as_its_json() -> None:
    block = {"type": "unheard_of", "value": {1}}
    tokens = COUNTER.message(HumanMessage([block]))
    assert tokens == 4 + COUNTER.text('{"type": "unheard_of", "value": "{1}"}')


def test_a_streamed_answer_counts_as_the_whole_one() -> None:
    streamed = AIMessageChunk("It ") + AIMessageChunk("rains.")
    assert COUNTER.message(streamed) == COUNTER.message(AIMessage("It rains."))


@settings(deadline=None)
@given(st.lists(TEXTS.map(HumanMessage), max_size=20), st.integers(0, 100))
def test_trim_messages_keeps_what_fits(messages, max_tokens) -> None:
    kept: list[BaseMessage] = trim_messages(
        messages, max_tokens=max_tokens, token_counter=COUNTER.messages, strategy="last"
    )
    fits = [
        n for n in range(len(messages) + 1) if COUNTER.messages(messages[-n or 999 :]) <= max_tokens
    ]
    assert len(kept) == max(fits, default=0)


@pytest.mark.parametrize("model", ["gpt-4o", "claude-opus-4-5"])
def test_langchains_summary_takes_it_for_its_counter(model) -> None:
    middleware = pytest.importorskip("langchain.agents.middleware")
    count = counter_for(model).messages
    history = [HumanMessage("word " * 100, id=str(at)) for at in range(10)]
    limit = count(history)
    for trigger, expected in ((limit, True), (limit + 1, False)):
        summarizing = middleware.SummarizationMiddleware(
            FakeListChatModel(responses=["a summary"]),
            trigger=("tokens", trigger),
            keep=("messages", 2),
            token_counter=count,
        )
        changed = summarizing.before_model({"messages": history}, None)
        assert (changed is not None) is expected


def changes(message: AIMessage) -> Iterator[None]:
    """Change a message that was counted, in every way that its count should notice."""
    message.tool_calls[0]["args"]["city"] = "a much longer name of a city"
    yield
    message.tool_calls.append({**CALL, "id": "2"})
    yield
    message.tool_calls = []
    yield
    message.content = "another answer, and a longer one"
    yield
    message.content = [{"type": "text", "text": "in blocks"}]
    yield
    message.content[0]["text"] = "in blocks that are changed where they are"
    yield
    message.content.append({"type": "text", "text": "one more"})
    yield
    message.name = "ann"
    yield


def test_a_changed_message_is_counted_anew() -> None:
    message = AIMessage("ok", tool_calls=[{**CALL, "args": {"city": "Köln"}}])
    counts = [COUNTER.message(message)]
    for _ in changes(message):
        counts.append(COUNTER.message(message))
        assert counts[-1] == COUNTER.message(message.model_copy(deep=True))
    assert all(map(ne, counts, counts[1:]))


def test_a_message_that_is_counted_may_go() -> None:
    message = AIMessage("ok", tool_calls=[CALL])
    COUNTER.message(message)
    gone, known = weakref.ref(message), len(COUNTER._others._known)
    del message
    gc.collect()
    assert gone() is None
    assert len(COUNTER._others._known) < known


def test_a_tool_is_written_out_once_unless_it_changes(monkeypatch) -> None:
    written = []
    convert = tools.convert_to_openai_tool
    monkeypatch.setattr(
        tools, "convert_to_openai_tool", lambda tool: written.append(1) or convert(tool)
    )
    own = get_weather.model_copy()
    before = COUNTER.tools([own])
    assert COUNTER.tools([own]) == before
    assert len(written) == 1
    own.description = "Tell the weather of a city, today, tomorrow or next week."
    assert COUNTER.tools([own]) > before
    assert len(written) == 2


def test_claude_is_sent_a_prompt_of_its_own_with_tools() -> None:
    counter = counter_for("claude-opus-4-7")
    assert counter.tools([]) == 0
    one = counter.tools([get_weather])
    assert counter.tools([get_weather, get_weather]) - one == one - 346


def test_models_of_a_family_share_one_counter() -> None:
    assert counter_for("openai:gpt-4o") is counter_for("gpt-4.1")
    assert counter_for("gpt-5") is not counter_for("claude-opus-4-5")


def test_a_chat_model_is_counted_by_its_name() -> None:
    openai = pytest.importorskip("langchain_openai")
    model = openai.ChatOpenAI(model="gpt-4", api_key="none")
    assert counter_for(model) is counter_for("gpt-4")


def test_a_chat_model_without_a_name_is_estimated() -> None:
    assert counter_for(FakeListChatModel(responses=["x"])).estimated


def test_threads_count_alike() -> None:
    texts = [f"text number {number}" for number in range(500)] * 4
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(counter_for("gpt-4").text, texts)) == [
            count_tokens(text, "gpt-4") for text in texts
        ]


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(AttributeError):
        TokenCounter.text(COUNTER, 5)


class TestMemo:
    """The memory of counts."""

    @pytest.fixture
    def counted(self) -> list[str]:
        return []

    @pytest.fixture
    def memo(self, counted) -> CountMemo:
        return CountMemo(lambda text: counted.append(text) or len(text), max_texts=2)

    def test_a_text_in_use_is_counted_once(self, memo, counted) -> None:
        for other in "bcdefgh":
            assert memo("a") == memo(other) == 1
        assert counted == list("abcdefgh")

    def test_a_text_out_of_use_is_forgotten(self, memo, counted) -> None:
        for text in "abcdea":
            memo(text)
        assert counted == list("abcdea")

    @given(st.lists(st.text(max_size=3), max_size=50))
    def test_what_is_kept_is_bounded(self, texts) -> None:
        memo = CountMemo(len, max_texts=4, max_characters=6)
        assert [memo(text) for text in texts] == [len(text) for text in texts]
        assert len(memo.young) <= 4
        assert sum(map(len, memo.young)) <= 6 + 3
