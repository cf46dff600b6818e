"""One key for each call: equal exactly if the answer must be the same."""

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from models import AsyncModel, CountingModel
from pydantic import BaseModel, create_model
from typing_extensions import TypedDict

from llmops_langchain.wrapping import call_key, digest

words = st.text("ab", max_size=2)
arguments = st.dictionaries(st.sampled_from("xy"), st.integers(0, 2), max_size=2)
calls = st.lists(st.tuples(st.sampled_from("fg"), arguments), max_size=2)
turns = st.one_of(
    st.tuples(st.sampled_from([HumanMessage, SystemMessage]), words | st.lists(words, max_size=2)),
    st.tuples(st.just(AIMessage), words, calls),
    st.tuples(st.just(ToolMessage), words, st.integers(0, 3)),
    st.tuples(st.just(ChatMessage), words, words),
)
conversations = st.lists(turns, min_size=1, max_size=4)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "stop": st.lists(words, max_size=2),
        "temperature": st.sampled_from([0.0, 0.5]),
        "tools": st.lists(st.dictionaries(words, words, max_size=1), max_size=2),
    },
)
asked = st.tuples(conversations, parameters, words)


def spoken(conversation: list[Any], run: int = 0) -> list[BaseMessage]:
    """The turns as messages; `run` changes ids, counts and metadata, and nothing that was said."""
    made: list[BaseMessage] = []
    ids: list[str] = []
    for kind, content, *rest in conversation:
        given: dict[str, Any] = {
            "id": f"message-{run}-{len(made)}",
            "response_metadata": {"request": run},
        }
        if kind is AIMessage:
            given["usage_metadata"] = {
                "input_tokens": run,
                "output_tokens": 1,
                "total_tokens": run + 1,
            }
            given["tool_calls"] = []
            for name, args in rest[0]:
                ids.append(f"call-{run}-{len(ids)}")
                given["tool_calls"].append({"name": name, "args": args, "id": ids[-1]})
        if kind is ToolMessage:
            given["tool_call_id"] = ids[rest[0]] if rest[0] < len(ids) else f"unknown-{run}"
        if kind is ChatMessage:
            given["role"] = rest[0]
        made.append(kind(content, **given))
    return made


def sense(call: tuple[Any, ...]) -> object:
    """What decides the answer, written down in another way than the key does."""
    conversation, given, scope = call
    seen, said = 0, []
    for kind, content, *rest in conversation:
        if kind is AIMessage:
            seen += len(rest[0])
        if kind is ToolMessage:
            said.append((kind.__name__, content, min(seen, *rest)))
        else:
            said.append((kind.__name__, content, rest))
    return said, given, scope


def key(call: tuple[Any, ...], run: int = 0, model: Any = None) -> bytes:
    conversation, given, scope = call
    return call_key(model or CountingModel(), spoken(conversation, run), scope=scope, **given)


@settings(deadline=None)
@given(asked, asked)
def test_keys_are_equal_exactly_if_the_calls_are(one, another) -> None:
    assert (key(one) == key(another)) == (sense(one) == sense(another))


@settings(deadline=None)
@given(asked)
def test_ids_counts_and_metadata_of_earlier_turns_change_nothing(call) -> None:
    assert key(call, run=1) == key(call, run=22)


@settings(deadline=None)
@given(asked, st.data())
def test_any_change_of_what_is_said_is_another_key(call, data) -> None:
    conversation, given_, scope = call
    at = data.draw(st.integers(0, len(conversation) - 1))
    changed = [*conversation[:at], data.draw(turns), *conversation[at + 1 :]]
    assume(sense((changed, given_, scope)) != sense(call))
    assert key((changed, given_, scope)) != key(call)


def test_the_order_of_messages_counts() -> None:
    messages = [HumanMessage("a"), HumanMessage("b")]
    assert call_key(CountingModel(), messages) != call_key(CountingModel(), messages[::-1])


def test_text_is_not_the_blocks_it_looks_like() -> None:
    text, blocks = HumanMessage('["a"]'), HumanMessage(["a"])
    assert call_key(CountingModel(), [text]) != call_key(CountingModel(), [blocks])


def test_a_streamed_turn_is_the_turn() -> None:
    chunk, whole = AIMessageChunk("a", chunk_position="last"), AIMessage("a")
    assert call_key(CountingModel(), [chunk]) == call_key(CountingModel(), [whole])


def with_blocks(run: str, city: str = "Paris") -> list[BaseMessage]:
    block = {"type": "tool_use", "id": f"toolu-{run}", "name": "clock", "input": {"city": city}}
    call = {"name": "clock", "args": {"city": city}, "id": f"toolu-{run}"}
    return [AIMessage([block], tool_calls=[call]), ToolMessage("noon", tool_call_id=call["id"])]


def test_ids_in_content_blocks_change_nothing() -> None:
    model = CountingModel()
    assert call_key(model, with_blocks("1")) == call_key(model, with_blocks("2"))
    assert call_key(model, with_blocks("1")) != call_key(model, with_blocks("1", "Rome"))


def test_ids_of_a_providers_raw_calls_change_nothing() -> None:
    def turn(run: str) -> list[BaseMessage]:
        raw = {"tool_calls": [{"id": run, "function": {"name": "f", "arguments": "{}"}}]}
        calls = [{"name": "f", "args": {}, "id": run}]
        return [AIMessage("", additional_kwargs={**raw, "refusal": None}, tool_calls=calls)]

    assert call_key(CountingModel(), turn("1")) == call_key(CountingModel(), turn("2"))


def test_swapped_tool_results_are_another_conversation() -> None:
    calls = [{"name": "f", "args": {}, "id": each} for each in "ab"]
    question = AIMessage("", tool_calls=calls)
    ab, ba = (
        [ToolMessage(t, tool_call_id=i) for t, i in zip("xy", o, strict=True)] for o in ("ab", "ba")
    )
    assert call_key(CountingModel(), [question, *ab]) != call_key(CountingModel(), [question, *ba])


def test_calls_that_could_not_be_read_count_too() -> None:
    def turn(args: str) -> list[BaseMessage]:
        broken = {"name": "f", "args": args, "id": "1", "error": "no JSON"}
        return [AIMessage("", invalid_tool_calls=[broken])]

    assert call_key(CountingModel(), turn("{a")) != call_key(CountingModel(), turn("{b"))


def test_what_a_message_carries_besides_counts() -> None:
    plain, named = HumanMessage("a"), HumanMessage("a", name="Ann")
    extra = HumanMessage("a", additional_kwargs={"cache_control": {"type": "ephemeral"}})
    failed = [ToolMessage("a", tool_call_id="1", status=each) for each in ("success", "error")]
    keys = {call_key(CountingModel(), [each]) for each in (plain, named, extra, *failed)}
    assert len(keys) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"model_name": "other"},
        {"temperature": 0.5},
        {"answer": "another"},
        {"n": 2},
        {"finish_reason": "length"},
    ],
    ids=str,
)
def test_models_of_other_settings_do_not_share(change) -> None:
    ask = [HumanMessage("a")]
    assert call_key(CountingModel(), ask) != call_key(CountingModel(**change), ask)


@pytest.mark.parametrize(
    "change",
    [
        {"timeout": 3.0},
        {"api_key": "other"},
        {"api_key": object()},
        {"cache": False},
        {"tags": ["a"]},
        {"metadata": {"a": 1}},
        {"name": "my model"},
        {"disable_streaming": True},
    ],
    ids="-".join,
)
def test_settings_that_do_not_change_the_answer_share(change) -> None:
    ask = [HumanMessage("a")]
    assert call_key(CountingModel(), ask) == call_key(CountingModel(**change), ask)


def test_classes_of_one_name_do_not_share() -> None:
    ask = [HumanMessage("a")]
    assert call_key(CountingModel(), ask) != call_key(AsyncModel(), ask)


def test_a_fake_model_that_counts_its_answers_keeps_its_key() -> None:
    model, ask = FakeListChatModel(responses=["a", "b"]), [HumanMessage("a")]
    before = call_key(model, ask)
    model.invoke("a")
    assert call_key(model, ask) == before


def openai(**settings: Any) -> bytes:
    model = ChatOpenAI(**{"model": "gpt-4o", "api_key": "not-a-key", **settings})
    return call_key(model, [HumanMessage("a")])


@pytest.mark.parametrize(
    "change",
    [
        {"timeout": 3, "max_retries": 9},
        {"api_key": "another"},
        {"api_key": lambda: "made when needed"},
        {"stream_usage": True},
    ],
    ids="-".join,
)
def test_openai_models_that_answer_alike_share(change) -> None:
    assert openai() == openai(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "gpt-4o-mini"},
        {"temperature": 0.3},
        {"seed": 1},
        {"max_tokens": 5},
        {"base_url": "http://localhost/v1"},
        {"model_kwargs": {"user": "a"}},
        {"extra_body": {"top_k": 1}},
        {"reasoning_effort": "low"},
    ],
    ids=str,
)
def test_openai_models_that_may_answer_otherwise_do_not(change) -> None:
    assert openai() != openai(**change)


def test_azure_models_of_one_deployment_share_whoever_pays() -> None:
    def key_of(**proof: Any) -> bytes:
        place = {"azure_endpoint": "https://example.org", "azure_deployment": "d"}
        model = AzureChatOpenAI(api_version="2024-10-21", **place, **proof)
        return call_key(model, [HumanMessage("a")])

    assert key_of(azure_ad_token_provider=lambda: "a") == key_of(azure_ad_token_provider=str)
    one, two = ({"azure_ad_token": each} for each in ("one", "two"))
    assert key_of(**one) == key_of(**two)


def test_an_edited_schema_is_another_key() -> None:
    one = create_model("City", name=(str, ...))
    edited = create_model("City", name=(str, ...), country=(str, ...))
    keys = {key(([(HumanMessage, "a")], {"schema": each}, "")) for each in (one, edited)}
    assert len(keys) == 2


def test_an_edited_typed_dict_is_another_key() -> None:
    one = TypedDict("City", {"name": str})  # noqa: UP013 - two of one name
    edited = TypedDict("City", {"name": str, "country": str})  # noqa: UP013 - as above
    keys = {key(([(HumanMessage, "a")], {"schema": each}, "")) for each in (one, edited)}
    assert len(keys) == 2


def test_parameters_of_many_kinds_have_a_key() -> None:
    class City(BaseModel):
        name: str

    given_ = {"a": {"x", "y"}, "b": b"\x00", "c": City(name="Paris"), "d": CountingModel()}
    given_["e"] = MappingProxyType({"f": 1})
    swapped = {**given_, "a": {"y", "x"}}
    first = key(([(HumanMessage, "a")], given_, ""))
    assert first == key(([(HumanMessage, "a")], swapped, ""))
    assert first != key(([(HumanMessage, "a")], {**given_, "c": City(name="Rome")}, ""))


def test_a_parameter_may_have_any_name() -> None:
    model, ask = CountingModel(), [HumanMessage("a")]
    assert call_key(model, ask, model="x") != call_key(model, ask, model="y")
    assert call_key(model, ask, messages=[1]) != call_key(model, ask)


def test_a_parameter_that_is_none_is_none_given() -> None:
    ask = [HumanMessage("a")]
    assert call_key(CountingModel(), ask, stop=None) == call_key(CountingModel(), ask)


@pytest.mark.parametrize(
    "wrong", [object(), lambda: 1, type("Odd", (), {})], ids=["object", "function", "class"]
)
def test_what_cannot_be_written_down_has_no_key(wrong) -> None:
    with pytest.raises(TypeError):
        call_key(CountingModel(), [HumanMessage("a")], given=wrong)


def test_a_model_that_holds_an_iterator_has_no_key() -> None:
    with pytest.raises(TypeError):
        call_key(GenericFakeChatModel(messages=iter(["a"])), [HumanMessage("a")])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_a_digest_keeps_its_parts_apart(one, another) -> None:
    assert (digest(one) == digest(another)) == (one == another)
