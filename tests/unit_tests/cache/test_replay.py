"""A streamed hit adds up to the hit, and what a stream leaves is what `invoke` would have left."""

import string
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from llmops_langchain.cache.codec import decode_hit, encode
from llmops_langchain.cache.endings import are_whole
from llmops_langchain.cache.replay import chunks_of, whole

ZERO = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
PAID = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}

texts = st.text(max_size=80) | st.text(string.ascii_lowercase + " \n", max_size=3000)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(words, plain, max_size=3)


def block(kind: str, text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    fixed = {"type": st.just(kind), kind: text}
    return st.fixed_dictionaries(fixed, optional={"id": words, "index": st.integers(0, 2)})


blocks = st.one_of(
    words,
    block("text", words),
    block("reasoning", words),
    block("thinking", words),
    st.dictionaries(words, plain, max_size=2),
    st.fixed_dictionaries({"type": st.just("text"), "annotations": plain}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": words, "name": words}),
)
metadata = st.builds(
    lambda told, known: {**told, **known},
    objects,
    st.fixed_dictionaries({}, optional={"model_provider": words, "id": words, "created": plain}),
)
calls = st.builds(
    lambda name, args, id_: {"name": name, "args": args, "id": id_}, words, objects, words
)
# Of those that begin like an object, `AIMessageChunk` makes valid calls.
broken_calls = st.sampled_from(["no JSON", "[1]", "7"]).map(
    lambda args: {"name": "f", "args": args, "id": "1", "error": None}
)
messages = st.builds(
    AIMessage,
    texts | st.lists(blocks, max_size=4),
    additional_kwargs=objects,
    response_metadata=metadata,
    tool_calls=st.lists(calls, max_size=3),
    invalid_tool_calls=st.lists(broken_calls, max_size=2),
    id=st.just("lc_run--1"),
    usage_metadata=st.sampled_from([ZERO, PAID, None]),
)
generations = st.builds(ChatGeneration, message=messages, generation_info=st.none() | objects)


class Kept(BaseChatModel):
    """Streams an answer, and gives it in one piece."""

    answer: ChatGeneration

    @property
    def _llm_type(self) -> str:
        return "kept"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        message = self.answer.message.model_copy()
        return ChatResult(generations=[self.answer.model_copy(update={"message": message})])

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        yield from chunks_of(self.answer)


def streamed(answer: ChatGeneration, output_version: str | None = None) -> AIMessageChunk:
    """What a consumer of `stream()` has in the end."""
    return reduce(add, Kept(answer=answer, output_version=output_version).stream("x"))


def told(message: BaseMessage) -> tuple[Any, ...]:
    """What must come back, but for content."""
    assert isinstance(message, AIMessage)
    return (
        message.id,
        str(message.text),
        message.tool_calls,
        message.invalid_tool_calls,
        message.additional_kwargs,
        message.response_metadata,
        message.usage_metadata,
    )


def unnumbered(content: str | list[Any]) -> str | list[Any]:
    """Content with text in blocks and no `index`."""
    if isinstance(content, str):
        return content
    as_blocks = [{"type": "text", "text": b} if isinstance(b, str) else b for b in content]
    return [{k: v for k, v in b.items() if k != "index"} for b in as_blocks]


@settings(deadline=None)
@given(generations)
@example(ChatGeneration(message=AIMessage("", id="1")))
def test_the_sum_of_a_stream_is_the_answer(answer) -> None:
    invoked, sum_ = Kept(answer=answer).invoke("x"), streamed(answer)
    assert told(sum_) == told(invoked)
    assert unnumbered(sum_.content) == unnumbered(invoked.content)
    assert sum_.chunk_position == "last"


@settings(deadline=None)
@given(generations)
def test_core_puts_the_chunks_together_to_the_answer(answer) -> None:
    (generation,) = generate_from_stream(chunks_of(answer)).generations
    assert told(generation.message) == told(answer.message)
    assert generation.generation_info == (answer.generation_info or None)
    assert told(Kept(answer=answer).invoke("x", stream=True)) == told(
        Kept(answer=answer).invoke("x")
    )


@settings(deadline=None)
@given(generations)
def test_what_a_replay_leaves_is_what_was_replayed(answer) -> None:
    left = whole(list(chunks_of(answer)))
    info = answer.generation_info or {}
    answer.message.response_metadata = info | answer.message.response_metadata
    assert told(left.message) == told(answer.message)
    assert left.message.content == unnumbered(answer.message.content)


@settings(deadline=None)
@given(st.text(max_size=500))
def test_text_comes_in_words_and_nothing_is_lost(text) -> None:
    pieces = [chunk.text for chunk in chunks_of(ChatGeneration(message=AIMessage(text)))]
    assert "".join(pieces) == text
    assert pieces[-1] == ""
    assert all(len(piece.split()) <= 2 for piece in pieces)


def test_a_word_keeps_its_blanks() -> None:
    chunks = chunks_of(ChatGeneration(message=AIMessage(" Two  words,\n\nor so ")))
    assert [chunk.text for chunk in chunks] == [" Two  ", "words,\n\n", "or ", "so ", ""]


@pytest.mark.parametrize("text", ["word " * 100_000, "词" * 100_000, "x" * 100_000])
def test_a_long_answer_is_some_hundred_chunks(text) -> None:
    chunks = list(chunks_of(ChatGeneration(message=AIMessage(text))))
    assert 100 < len(chunks) < 300
    assert "".join(chunk.text for chunk in chunks) == text


CALLS = [
    {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"},
    {"name": "g", "args": {"b": "é"}, "id": "c2", "type": "tool_call"},
]
RAW = [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"b": "é"}'}},
]
SAID = {"type": "text", "text": "I will call it", "annotations": [], "id": "msg_1"}
PROVIDERS = {
    "text": {"content": "I will call it"},
    "raw-calls": {
        "content": "I will call it",
        "tool_calls": CALLS,
        "additional_kwargs": {"tool_calls": RAW, "refusal": None, "reasoning_content": "hm, ok"},
    },
    "thoughts-aside": {
        "content": [SAID, SAID],
        "tool_calls": CALLS,
        "additional_kwargs": {"reasoning_content": "hm, ok"},
    },
    "openai": {"content": "hi you", "tool_calls": CALLS, "provider": "openai"},
    "responses": {
        "content": [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "hm"}],
            },
            SAID,
            {"type": "function_call", "call_id": "c1", "id": "fc", "name": "f", "arguments": "{}"},
        ],
        "tool_calls": CALLS[:1],
        "provider": "openai",
    },
    "anthropic": {
        "content": [
            {"type": "thinking", "thinking": "let me see", "signature": "s"},
            SAID,
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "c2", "name": "g", "input": {"b": "é"}},
        ],
        "tool_calls": CALLS,
        "provider": "anthropic",
    },
    "gemini": {
        "content": [
            "one two",
            {"type": "executable_code", "executable_code": "print(1)", "language": "python"},
            "three",
        ],
        "provider": "google_genai",
    },
    "bedrock": {
        "content": [
            {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}},
            {"type": "text", "text": "one two"},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        ],
        "tool_calls": CALLS[:1],
        "provider": "bedrock_converse",
    },
    "standard": {
        "content": [{"type": "reasoning", "reasoning": "hm, ok"}, SAID, *CALLS],
        "tool_calls": CALLS,
        "provider": "openai",
        "output_version": "v1",
    },
}


def kept_hit(
    *, provider: str | None = None, output_version: str | None = None, **fields: Any
) -> ChatGeneration:
    """A hit of what such a provider says."""
    known = {"model_provider": provider, "output_version": output_version}
    metadata = {name: value for name, value in known.items() if value}
    message = AIMessage(**fields, response_metadata=metadata, usage_metadata=PAID)
    info = {"finish_reason": "stop"}
    body = encode([ChatGeneration(message=message, generation_info=info)])
    (generation,) = decode_hit(body, age=1.5).generations
    assert isinstance(generation, ChatGeneration)
    return generation


@pytest.mark.parametrize("output_version", [None, "v1"])
@pytest.mark.parametrize("fields", PROVIDERS.values(), ids=PROVIDERS)
def test_a_streamed_hit_means_what_an_invoked_one_means(fields, output_version) -> None:
    answer = kept_hit(**fields)
    invoked = Kept(answer=answer, output_version=output_version).invoke("x")
    sum_ = streamed(answer, output_version)
    assert told(sum_) == told(invoked)
    assert unnumbered(sum_.content_blocks) == unnumbered(invoked.content_blocks)
    assert sum_.usage_metadata == ZERO
    assert sum_.response_metadata["llmops_cache"]["usage_metadata"] == PAID


def test_a_tool_call_is_told_once_where_its_block_is() -> None:
    chunks = [chunk.message for chunk in chunks_of(kept_hit(**PROVIDERS["anthropic"]))]
    telling = [each for each in chunks if each.tool_call_chunks]
    assert [each.content[0]["id"] for each in telling] == ["c1", "c2"]
    assert [each.tool_call_chunks[0]["id"] for each in telling] == ["c1", "c2"]
    assert telling[1].tool_call_chunks[0]["args"] == '{"b": "é"}'


def test_every_chunk_has_the_id_and_the_last_one_the_rest() -> None:
    answer = kept_hit(content="one two three", provider="openai", name="Ann")
    *first, last = chunks_of(answer)
    assert {(each.message.id, each.message.name) for each in (*first, last)} == {
        (answer.message.id, "Ann")
    }
    assert all(each.message.response_metadata == {"model_provider": "openai"} for each in first)
    assert not any(each.message.usage_metadata or each.generation_info for each in first)
    assert last.generation_info == {"finish_reason": "stop"}


def test_raw_calls_without_calls_make_none() -> None:
    message = AIMessage("hi", additional_kwargs={"tool_calls": [{"type": "custom", "id": "1"}]})
    assert streamed(ChatGeneration(message=message)).tool_calls == []


def test_an_answer_of_another_kind_is_streamed_too() -> None:
    answer = ChatGeneration(message=ChatMessage("one two", role="bot", id="1"))
    assert streamed(answer).text == "one two"


def chunk(content: Any = "", *, info: dict[str, Any] | None = None, **fields: Any) -> Any:
    message = AIMessageChunk(content, **fields)
    return ChatGenerationChunk(message=message, generation_info=info)


def test_a_stream_leaves_what_invoke_would_have_left() -> None:
    parts = [{"index": 0, "id": "c1", "name": "f", "args": '{"a"'}, {"index": 0, "args": ": 1}"}]
    left = whole(
        [
            chunk("", id="run--1"),
            chunk([{"type": "text", "text": "one ", "index": 0}]),
            chunk([{"type": "text", "text": "two", "index": 0}]),
            *(chunk([], tool_call_chunks=[{"id": None, "name": None, **part}]) for part in parts),
            chunk([], info={"finish_reason": "stop", "lc_gateway_metadata": {"a": 1}}),
            chunk([], usage_metadata=PAID, chunk_position="last"),
        ]
    )
    assert left.message == AIMessage(
        [{"type": "text", "text": "one two"}],
        id="run--1",
        tool_calls=CALLS[:1],
        response_metadata={"finish_reason": "stop"},
        usage_metadata=PAID,
    )
    assert type(left) is ChatGeneration


@pytest.mark.parametrize("args", ['{"path": "/ho', '{"a": 1', "[1]", "no JSON", "[" * 100_000])
def test_arguments_that_were_cut_are_not_completed_by_guessing(args) -> None:
    cut = {"index": 0, "id": "1", "name": "f", "args": args}
    left = whole([chunk("", tool_call_chunks=[cut]), chunk("")])
    assert left.message.tool_calls == []
    assert left.message.invalid_tool_calls[0]["args"] == args
    assert not are_whole([left])


def test_a_call_without_arguments_is_a_call() -> None:
    bare = {"index": 0, "id": "1", "name": "f", "args": ""}
    left = whole([chunk("", tool_call_chunks=[bare])])
    assert left.message.tool_calls == [{"name": "f", "args": {}, "id": "1", "type": "tool_call"}]


def test_a_stream_of_another_kind_of_message_leaves_one() -> None:
    part = ChatMessageChunk("one two", role="bot")
    left = whole([ChatGenerationChunk(message=part)])
    assert left.message == ChatMessage("one two", role="bot")


def test_text_between_blocks_stays() -> None:
    left = whole([chunk(["one", {"type": "image", "url": "u", "index": 1}, "two"])])
    assert left.message.content == ["one", {"type": "image", "url": "u"}, "two"]


def test_no_chunks_leave_no_answer() -> None:
    assert whole([]) is None


def test_the_chunks_are_left_alone() -> None:
    only = chunk([{"type": "text", "text": "x", "index": 0}], info={"a": 1})
    before = only.model_copy(deep=True)
    whole([only])
    assert only == before
