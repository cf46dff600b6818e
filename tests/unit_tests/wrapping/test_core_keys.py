"""The key of a call of which only core's two strings are known."""

import sys
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListLLM
from langchain_core.load import dumps
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessageChunk,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    ToolMessage,
    ToolMessageChunk,
)
from langchain_core.prompt_values import ChatPromptValue
from langchain_openai import ChatOpenAI
from models import CountingModel
from pydantic import BaseModel, create_model
from unit_tests.wrapping.conversations import asked, sense, spoken

from llmops_langchain.wrapping import PARTS, CallParts, call_parts, core_parts

OPENAI = ChatOpenAI(model="gpt-4o", api_key="not-a-key")
MODELS = pytest.mark.parametrize("model", [OPENAI, CountingModel()], ids=["JSON", "repr"])


class City(BaseModel):
    name: str


def prompt_of(messages: list[BaseMessage]) -> str:
    """As core writes it."""
    return dumps([message.model_copy(update={"id": None}) for message in messages])


def openai(prompt: str = "q", /, **given: Any) -> CallParts:
    """The parts of a call with these parameters."""
    return core_parts(prompt, OPENAI._get_llm_string(**given), scope="")


def set_up(**changes: Any) -> CallParts:
    """The parts of a call to a model with these settings."""
    model = ChatOpenAI(**{"model": "gpt-4o", "api_key": "not-a-key", **changes})
    return core_parts("q", model._get_llm_string(), scope="")


def key(model: Any, call: tuple[Any, ...], run: int = 0) -> bytes:
    conversation, parameters, scope = call
    prompt = prompt_of(spoken(conversation, run))
    return core_parts(prompt, model._get_llm_string(**parameters), scope=scope).key


@MODELS
@settings(deadline=None)
@given(one=asked, another=asked)
def test_keys_are_equal_exactly_if_the_calls_are(model, one, another) -> None:
    assert (key(model, one) == key(model, another)) == (sense(one) == sense(another))


@MODELS
@settings(deadline=None)
@given(call=asked)
def test_ids_counts_and_metadata_of_earlier_turns_change_nothing(model, call) -> None:
    assert key(model, call, run=1) == key(model, call, run=22)


names = st.text(max_size=3) | st.sampled_from(["lc", "type", "id", "__lc_escaped__"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**63) | st.floats(-1e9, 1e9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
fields = st.dictionaries(names, values, max_size=2)
ids = st.sampled_from(["1", "2", "3"])
contents = st.text(max_size=3) | st.lists(st.text(max_size=3) | fields, max_size=2)
calls = st.fixed_dictionaries({"name": names, "args": fields, "id": ids})
broken = st.fixed_dictionaries(
    {"name": names, "args": st.none() | names, "id": ids, "error": names}
)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use"])},
    optional={"name": names, "text": names, "id": ids, "call_id": ids, "index": st.integers(0, 2)},
)
common = {
    "name": st.none() | names,
    "response_metadata": fields,
    "id": st.none() | names,
    "additional_kwargs": fields,
}
messages = st.one_of(
    st.builds(HumanMessage, contents, **common),
    st.builds(HumanMessageChunk, contents, **common),
    st.builds(SystemMessage, contents, **common),
    st.builds(ChatMessageChunk, contents, role=names, **common),
    st.builds(FunctionMessage, contents, **{**common, "name": names}),
    st.builds(
        AIMessage,
        contents | st.lists(blocks, max_size=2),
        tool_calls=st.lists(calls, max_size=2),
        invalid_tool_calls=st.lists(broken, max_size=2),
        **common,
    ),
    st.builds(AIMessageChunk, contents, **common),
    st.builds(
        ToolMessage,
        contents,
        tool_call_id=ids,
        artifact=st.none() | st.builds(object),
        status=st.sampled_from(["success", "error"]),
        **common,
    ),
    st.builds(ToolMessageChunk, contents, tool_call_id=ids, **common),
)


@settings(deadline=None)
@given(st.lists(messages, min_size=1, max_size=4))
def test_objects_and_cores_json_of_them_are_one_conversation(said) -> None:
    one, another = call_parts(CountingModel(), said), openai(prompt_of(said))
    for part in ("system", "history", "question"):
        assert getattr(one, part) == getattr(another, part)


def test_what_a_provider_parsed_is_no_part_of_a_conversation() -> None:
    raw = {"tool_calls": [{"id": "1"}], "parsed": City(name="Paris"), "refusal": None}
    calls = [{"name": "f", "args": {}, "id": "1"}]
    said = [AIMessage("a", additional_kwargs=raw, tool_calls=calls)]
    question = openai(prompt_of(said)).question
    assert question == call_parts(CountingModel(), said).question
    assert question == openai(prompt_of([AIMessage("a", tool_calls=calls)])).question


def test_what_core_could_not_write_down_has_no_key() -> None:
    for extra in (object(), date(2026, 1, 1)):
        with pytest.raises(TypeError):
            openai(prompt_of([HumanMessage("a", additional_kwargs={"x": extra})]))


def test_numbers_that_json_cannot_tell_apart_share_no_key() -> None:
    def asked_with(number: float) -> str:
        return prompt_of(
            [AIMessage("", tool_calls=[{"name": "f", "args": {"x": number}, "id": "1"}])]
        )

    assert openai(asked_with(float("nan"))).key != openai(asked_with(None)).key
    with pytest.raises(TypeError, match="too large"):
        openai(asked_with(2**64 + 1))


NAMED = '[{"id": ["langchain", "schema", "messages"], "kwargs": {%s}}]'
LOOKALIKES = [
    "",
    "a",
    "[",
    "[]",
    "[{}]",
    '["a"]',
    '[{"a": 1}, 5]',
    '[{"id": 5, "kwargs": {}}]',
    NAMED % "",
    NAMED % '"type": "human"',
    NAMED % '"type": "ai", "content": "", "tool_calls": ["a"]',
    '[{"id": ["a"], "kwargs": {"type": "human", "content": "a"}}]',
    '[{"id": ["b"], "kwargs": {"type": "human", "content": "a"}}]',
    NAMED[:-1] % '"type": "human", "content": "a"' + ', {"id": ["a"], "kwargs": {}}]',
    NAMED[:-1] % '"type": "human", "content": "a"' + ', {"id": ["b"], "kwargs": {}}]',
    '[{"a": "\\ud800"}]',
    "\ud800",
]


def test_texts_that_look_like_messages_are_texts() -> None:
    plain = FakeListLLM(responses=["a"])
    fields = plain.asdict() if hasattr(plain, "asdict") else plain.dict()  # its older name
    model = str(sorted(fields.items()))
    keys = {core_parts(each, model, scope="").key for each in LOOKALIKES}
    spaced = {core_parts(f"{each} ", model, scope="").key for each in LOOKALIKES}
    assert len(keys | spaced) == 2 * len(LOOKALIKES)


def test_a_text_is_not_the_message_of_that_text() -> None:
    (message,) = ChatPromptValue(messages=[HumanMessage("a")]).to_messages()
    assert openai("a").key != openai(prompt_of([message])).key


@pytest.mark.parametrize(
    "change",
    [
        {"timeout": 3, "max_retries": 9},
        {"stream_usage": True},
        {"streaming": True},
        {"api_key": "another"},
        {"service_tier": "flex"},
        {"default_headers": {"Authorization": "Bearer a"}, "name": "mine"},
    ],
    ids="-".join,
)
def test_settings_of_transport_are_another_model_to_core_alone(change) -> None:
    plain = {name: {} for name in change if name == "default_headers"}
    assert set_up(**change).key == set_up(**plain).key


@pytest.mark.parametrize(
    "change",
    [
        {"model": "gpt-4o-mini"},
        {"temperature": 0.3},
        {"n": 2},
        {"base_url": "http://localhost/v1"},
        {"default_headers": {"x-portkey-config": "a"}},
        {"model_kwargs": {"user": "---[('stop', None)]"}},
    ],
    ids=str,
)
def test_settings_that_may_change_the_answer_are_seen_in_the_model_alone(change) -> None:
    one, another = set_up(), set_up(**change)
    assert [name for name in PARTS if getattr(one, name) != getattr(another, name)] == ["model"]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("parameters", {"stop": ["x"]}),
        ("parameters", {"temperature": 0.5}),
        ("tools", {"tools": [{"type": "function"}]}),
        ("schema", {"response_format": {"type": "json_object"}}),
        ("schema", {"response_format": City}),
    ],
    ids=str,
)
def test_a_change_is_seen_in_its_part_alone(part, change) -> None:
    one, another = openai(), openai(**change)
    assert [name for name in PARTS if getattr(one, name) != getattr(another, name)] == [part]


def test_stop_is_a_parameter_where_core_mixes_it_with_the_model() -> None:
    strings = [CountingModel()._get_llm_string(stop=each) for each in (None, ["x"])]
    one, another = (core_parts("q", each, scope="") for each in strings)
    assert one.model == another.model
    assert one.parameters != another.parameters


def test_parameters_of_transport_and_none_are_none_given() -> None:
    assert openai(timeout=3, stream=True, top_p=None).key == openai().key


def test_an_edited_class_is_another_schema(monkeypatch) -> None:
    before = openai(response_format=City)
    edited = create_model("City", __module__=__name__, name=(str, ...), country=(str, ...))
    monkeypatch.setattr(sys.modules[__name__], "City", edited)
    after = openai(response_format=edited)
    assert (before.schema != after.schema, before.parameters == after.parameters) == (True, True)


def test_a_class_under_whose_name_stands_another_has_no_key(monkeypatch) -> None:
    told = OPENAI._get_llm_string(response_format=City)
    monkeypatch.setattr(sys.modules[__name__], "City", create_model("Town", __module__=__name__))
    with pytest.raises(TypeError, match="not found by its name"):
        core_parts("q", told, scope="")


def test_a_class_is_not_the_text_that_names_it() -> None:
    named = {openai(a=each).key for each in (City, repr(City), [repr(City)], int, "<class 'int'>")}
    assert len(named) == 5


class Outer:
    class Inner(BaseModel):
        name: str


def test_a_class_inside_another_is_found() -> None:
    assert b"name" in openai(response_format=Outer.Inner).schema


class Local(BaseModel):
    """Not to be found under its name, which another module has."""


Local.__qualname__ = "test_a_test.<locals>.Local"


class Long(list[int]):
    def __repr__(self) -> str:
        return "Long(1, 2, ..., 9)"


UNTOLD = {
    "in a function": Local,
    "under another name": create_model("Elsewhere", __module__=__name__),
    "in no module": create_model("City", __module__="no.such.module"),
    "no builtin": type("Odd", (), {"__module__": "builtins"}),
    "without a schema": Outer,
    "object": object(),
    "function": print,
    "cut short": Long(),
}


@pytest.mark.parametrize("untold", UNTOLD.values(), ids=UNTOLD)
def test_what_says_nothing_about_its_value_has_no_key(untold) -> None:
    with pytest.raises(TypeError):
        openai(given=untold)


@pytest.mark.parametrize("told", [date(2026, 1, 1), City(name="Paris"), float("inf")], ids=str)
def test_a_value_that_is_no_literal_is_known_by_its_text(told) -> None:
    assert openai(given=told).key == openai(given=told).key
    assert openai(given=told).key != openai(given=City(name="Rome")).key


def test_a_model_that_cannot_be_written_down_has_no_key() -> None:
    inside = '{"lc": 1, "type": "constructor", "id": ["a"], "kwargs": {"x": %s}}---[]'
    untold = '{"lc": 1, "type": "not_implemented", "id": ["a"]}'
    core_parts("q", inside % 1, scope="")
    for each in (inside % untold, f"{untold}---[]"):
        with pytest.raises(TypeError):
            core_parts("q", each, scope="")


def test_any_other_text_names_a_model_too() -> None:
    texts = ["model", "{", '{"a": 1}', "[(1, 2)]", "[('a', 'b')]", "[('a',", "[('a', 'b'), 1]"]
    assert len({core_parts("q", each, scope="").key for each in texts}) == len(texts)


def test_scopes_share_nothing() -> None:
    keys = {core_parts("q", "model", scope=each).key for each in ("", "acme", "rival")}
    assert len(keys) == 3
