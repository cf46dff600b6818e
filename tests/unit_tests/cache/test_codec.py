"""Answers survive being stored, and damaged ones are noticed."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation
from pydantic import BaseModel

from llmops_langchain.cache.codec import decode, encode

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
small = st.integers(-(2**53), 2**53)
numbers = small | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(words.filter(bool), plain, max_size=3)
blocks = st.lists(
    words | st.fixed_dictionaries({"type": st.just("text"), "text": words}, optional={"x": plain}),
    max_size=3,
)
usages = st.none() | st.fixed_dictionaries(
    dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), st.integers(0, 10**9)),
    optional={"input_token_details": st.fixed_dictionaries({"cache_read": st.integers(0, 99)})},
)
names = st.none() | words.filter(bool)
calls = st.builds(
    lambda name, args, id_: {"name": name, "args": args, "id": id_, "type": "tool_call"},
    words,
    objects,
    names,
)
broken_calls = st.builds(
    lambda args: {
        "name": "f",
        "args": args,
        "id": "1",
        "error": "bad",
        "type": "invalid_tool_call",
    },
    words,
)
common = {"content": words | blocks, "additional_kwargs": objects, "id": names, "name": names}
messages = st.one_of(
    st.builds(
        AIMessage,
        **common,
        response_metadata=objects,
        tool_calls=st.lists(calls, max_size=2),
        invalid_tool_calls=st.lists(broken_calls, max_size=1),
        usage_metadata=usages,
    ),
    st.builds(HumanMessage, **common),
    st.builds(SystemMessage, **common),
    st.builds(ToolMessage, **common, tool_call_id=words, artifact=plain),
    st.builds(ChatMessage, **common, role=words),
    st.builds(FunctionMessage, **{**common, "name": words}),
)
infos = st.none() | objects
chat_answers = st.builds(ChatGeneration, message=messages, generation_info=infos)
text_answers = st.builds(Generation, text=words, generation_info=infos)
answers = st.lists(chat_answers | text_answers, min_size=1, max_size=3)


@settings(deadline=None)
@given(answers)
def test_what_is_stored_comes_back(given_answers: list[Generation]) -> None:
    assert decode(encode(given_answers)) == given_answers


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x01[]")
@example(b"\x01{}")
@example(b'\x01[["ai"]]')
@example(b'\x01[["ai", [], null]]')
@example(b'\x01[[["ai"], {}, null]]')
@example(b'\x01[["remove", {"id": "1"}, null]]')
@example(b"\x02\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8)
def test_bytes_of_another_format_are_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic, orjson and the codec word it differently
        decode(value)


@settings(deadline=None)
@given(answers, st.data())
def test_damaged_bytes_raise_nothing_but_value_errors(given_answers, data) -> None:
    value = bytearray(encode([*given_answers, Generation(text="long " * 300)]))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        assert decode(bytes(value))


@settings(deadline=None)
@given(answers, st.integers(0))
def test_bytes_that_were_cut_off_are_noticed(given_answers, at) -> None:
    value = encode(given_answers)
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        decode(value[: at % len(value)])


def test_a_long_answer_is_packed() -> None:
    long = [ChatGeneration(message=AIMessage("the same again " * 200))]
    assert len(encode(long)) < 200
    assert decode(encode(long)) == long


def test_a_streamed_answer_comes_back_whole() -> None:
    chunk = AIMessageChunk(
        "hi",
        tool_call_chunks=[{"name": "f", "args": "{}", "id": "1", "index": 0}],
        chunk_position="last",
    )
    (answer,) = decode(encode([ChatGenerationChunk(message=chunk)]))
    calls = [{"name": "f", "args": {}, "id": "1", "type": "tool_call"}]
    assert answer.message == AIMessage("hi", tool_calls=calls)


def test_a_parsed_object_comes_back_as_its_fields() -> None:
    class City(BaseModel):
        name: str

    parsed = {"parsed": City(name="Paris")}
    message = AIMessage("{}", additional_kwargs=parsed)
    (answer,) = decode(encode([ChatGeneration(message=message, generation_info=parsed)]))
    assert answer.message.additional_kwargs == {"parsed": {"name": "Paris"}}
    assert answer.generation_info == {"parsed": {"name": "Paris"}}


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("\ud800"),
        AIMessage("x", additional_kwargs={"big": 2**64}),
        AIMessage("x", response_metadata={"any": object()}),
        RemoveMessage(id="1"),
    ],
    ids=["surrogate", "big-number", "object", "remove"],
)
def test_what_json_cannot_hold_is_a_type_error(message) -> None:
    with pytest.raises(TypeError):
        encode([ChatGeneration.model_construct(message=message, generation_info=None)])


def test_every_copy_is_new() -> None:
    value = encode([ChatGeneration(message=AIMessage("x", response_metadata={"a": [1]}))])
    decode(value)[0].message.response_metadata["a"].append(2)
    assert decode(value)[0].message.response_metadata == {"a": [1]}
