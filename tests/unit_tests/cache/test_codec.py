"""Answers survive being stored, damaged ones are noticed, and a hit bills nothing."""

import contextlib
import copy
import pickle

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.load import dumps
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

from llmops_langchain.cache.codec import Hit, decode, decode_hit, encode

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
    words
    | st.fixed_dictionaries({"type": st.just("text"), "text": words}, optional={"x": plain})
    | st.fixed_dictionaries({"type": st.just("reasoning"), "reasoning": words})
    | st.fixed_dictionaries({"type": st.just("thinking"), "thinking": words, "signature": words})
    | st.fixed_dictionaries({"text": words}),
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
metadata = st.builds(
    lambda told, known: {**told, **known},
    objects,
    st.fixed_dictionaries(
        {},
        optional={
            "token_usage": objects,
            "usage": objects,
            "model_provider": st.sampled_from(["openai", "anthropic", "unheard-of"]),
            "output_version": st.just("v1"),
        },
    ),
)
ai_messages = st.builds(
    AIMessage,
    **common,
    response_metadata=metadata,
    tool_calls=st.lists(calls, max_size=2),
    invalid_tool_calls=st.lists(broken_calls, max_size=1),
    usage_metadata=usages,
)
messages = st.one_of(
    ai_messages,
    st.builds(AIMessage, words, extra_field=plain),
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


@pytest.mark.parametrize("read", [decode, lambda body: decode_hit(body, age=1)])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b"{}",
        b"[0]",
        b"[0, []]",
        b"[0, {}]",
        b'[0, [["ai"]]]',
        b'[0, [["ai", [], null]]]',
        b'[0, [["ai", {}, null]]]',
        b'[0, [["ai", {"content": 1}, null]]]',
        b'[0, [["ai", {"content": "x", "response_metadata": 1}, null]]]',
        b'[0, [["ai", {"content": "x", "usage_metadata": 1}, null]]]',
        b'[0, [[["ai"], {}, null]]]',
        b'[0, [["remove", {"id": "1"}, null]]]',
        b'[0, [["text", 1, null]]]',
        b'\x01[["ai", {"content": "a row of the first format"}, null]]',
    ],
)
def test_bytes_of_another_format_are_a_value_error(read, body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic, orjson and the codec word it differently
        read(body)


@settings(deadline=None)
@given(answers, st.data())
def test_damaged_bytes_raise_nothing_but_value_errors(given_answers, data) -> None:
    value = bytearray(encode(given_answers))
    at = data.draw(st.integers(0, len(value) - 1))
    value[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        assert decode(bytes(value))
    with contextlib.suppress(ValueError):
        assert decode_hit(bytes(value), age=1).generations


@settings(deadline=None)
@given(answers, st.integers(0))
def test_bytes_that_were_cut_off_are_noticed(given_answers, at) -> None:
    value = encode(given_answers)
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        decode(value[: at % len(value)])


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
        AIMessage("x", response_metadata={1: "one"}),
        AIMessage("x", tool_calls=[{"name": "f", "args": {"x": float("nan")}, "id": "1"}]),
        RemoveMessage(id="1"),
    ],
    ids=["surrogate", "big-number", "object", "key", "argument", "remove"],
)
def test_what_json_cannot_hold_is_a_type_error(message) -> None:
    with pytest.raises(TypeError):
        encode([ChatGeneration.model_construct(message=message, generation_info=None)])


def test_every_copy_is_new() -> None:
    value = encode([ChatGeneration(message=AIMessage("x", response_metadata={"a": [1]}))])
    decode(value)[0].message.response_metadata["a"].append(2)
    assert decode(value)[0].message.response_metadata == {"a": [1]}


ZERO = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
PAID = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}


def hit(*generations: Generation, cost: int = 0) -> Hit:
    return decode_hit(encode(generations, cost=cost), age=3.5)


def as_hit(message: AIMessage, id_: str) -> AIMessage:
    """The same through LangChain's own validation."""
    mark = {"tier": "exact", "age": 3.5, "usage_metadata": message.usage_metadata}
    told = {k: v for k, v in message.response_metadata.items() if k not in ("token_usage", "usage")}
    changed = {
        "id": id_,
        "usage_metadata": ZERO,
        "response_metadata": told | {"llmops_cache": mark},
    }
    return AIMessage(**{**dict(message), **changed})


@settings(deadline=None)
@given(ai_messages | st.builds(AIMessage, words, extra_field=plain), infos)
def test_a_hit_is_the_object_that_validation_would_make(message, info) -> None:
    (found,) = hit(ChatGeneration(message=message, generation_info=info)).generations
    validated = as_hit(message, found.message.id)
    assert found == ChatGeneration(message=validated, generation_info=info)
    assert type(found.message) is AIMessage
    for face in (repr, str, dumps, AIMessage.model_dump, AIMessage.model_dump_json, copy.deepcopy):
        assert face(found.message) == face(validated)
    assert found.message.text == validated.text
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own object
    assert AIMessage.model_validate(found.message.model_dump()) == validated


@settings(deadline=None)
@given(ai_messages)
def test_a_hit_has_the_content_blocks_of_the_validated_message(message) -> None:
    (found,) = hit(ChatGeneration(message=message)).generations
    try:
        blocks = as_hit(message, found.message.id).content_blocks
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # random blocks of a provider
        with pytest.raises(type(error)):
            _ = found.message.content_blocks
    else:
        assert found.message.content_blocks == blocks


@settings(deadline=None)
@given(answers)
def test_other_answers_are_served_as_they_were_stored(given_answers) -> None:
    for found, stored in zip(hit(*given_answers).generations, given_answers, strict=True):
        if not isinstance(getattr(stored, "message", None), AIMessage):
            assert found == stored


def test_a_hit_bills_nothing_and_tells_what_was_paid() -> None:
    raw = {"token_usage": {"total_tokens": 7}, "usage": {"total_tokens": 7}, "model_name": "m"}
    message = AIMessage("hi", id="run--1", usage_metadata=PAID, response_metadata=raw)
    found = hit(ChatGeneration(message=message, generation_info={**raw, "seed": 1}), cost=12)
    (answer,) = found.generations
    mark = {"tier": "exact", "age": 3.5, "usage_metadata": PAID}
    assert answer.message.usage_metadata == ZERO
    assert answer.message.response_metadata == {"model_name": "m", "llmops_cache": mark}
    assert answer.generation_info == {"model_name": "m", "seed": 1}
    assert (found.input_tokens, found.output_tokens, found.cost) == (5, 2, 12)


def test_the_tokens_of_a_hit_are_those_of_its_first_answer() -> None:
    first, second = (ChatGeneration(message=AIMessage(t, usage_metadata=PAID)) for t in "ab")
    assert hit(first, second).input_tokens == 5
    assert hit(Generation(text="x"), first).input_tokens == 0
    assert hit(ChatGeneration(message=AIMessage("uncounted"))).output_tokens == 0


def test_every_hit_has_an_id_of_its_own() -> None:
    body = encode([ChatGeneration(message=AIMessage("hi", id="run--1"))] * 2)
    ids = {g.message.id for _ in "ab" for g in decode_hit(body, age=1).generations}
    assert len(ids) == 4
    assert all(each.startswith("lc_run--") for each in ids)


def test_every_hit_is_new() -> None:
    body = encode([ChatGeneration(message=AIMessage("x", response_metadata={"a": [1]}))])
    first, second = (decode_hit(body, age=3.5).generations[0].message for _ in "ab")
    for part in (first.tool_calls, first.response_metadata["a"], first.usage_metadata):
        part.clear()
    first.tool_calls.append("x")
    first.additional_kwargs["x"] = 1
    assert second == as_hit(AIMessage("x", response_metadata={"a": [1]}), second.id)


def test_a_message_is_kept_as_it_is_and_not_parsed_again() -> None:
    raw = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = AIMessage("", additional_kwargs={"tool_calls": raw})
    message.tool_calls = []
    (answer,) = hit(ChatGeneration(message=message)).generations
    assert answer.message.tool_calls == []


def test_fields_at_their_defaults_take_no_room() -> None:
    assert orjson.loads(encode([ChatGeneration(message=AIMessage("x"))], cost=3)) == [
        3,
        [["ai", {"content": "x"}, None]],
    ]
