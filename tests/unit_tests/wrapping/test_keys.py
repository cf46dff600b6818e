"""One key for each call: equal exactly if the answer must be the same."""

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel, FakeListLLM, GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from models import AsyncModel, CountingModel
from pydantic import BaseModel, PrivateAttr, create_model
from typing_extensions import TypedDict, override
from unit_tests.wrapping.conversations import asked, sense, spoken, turns

from llmops_langchain.wrapping import (
    PARTS,
    CallParts,
    call_parts,
    core_parts,
    digest,
    private_settings,
)

MODEL = CountingModel()


def call_key(*call: Any, **given: Any) -> bytes:
    return call_parts(*call, **given).key


def key(call: tuple[Any, ...], run: int = 0) -> bytes:
    conversation, given, scope = call
    return call_key(MODEL, spoken(conversation, run), scope=scope, **given)


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


class Private(CountingModel):
    _mood: str = PrivateAttr(default="good")
    _client: object = PrivateAttr(default_factory=object)


def test_private_settings_are_told_as_far_as_they_can_be_written_down() -> None:
    one, same, other = Private(), Private(), Private()
    other._mood = "bad"
    assert private_settings(one) == private_settings(same)
    assert private_settings(one) != private_settings(other)


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


pieces = st.lists(st.sampled_from([b"", b"a", b"aa"]), max_size=3)


@settings(deadline=None)
@given(pieces, pieces)
def test_a_digest_keeps_its_parts_apart(one, another) -> None:
    assert (digest(one) == digest(another)) == (one == another)


CALL: dict[str, Any] = {"model": MODEL, "messages": [SystemMessage("s"), HumanMessage("h")]}
CALL["messages"] += [AIMessage("a"), HumanMessage("q")]


def parts_of(**changes: Any) -> CallParts:
    given_ = {**CALL, **changes}
    return call_parts(given_.pop("model"), given_.pop("messages"), **given_)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("scope", {"scope": "acme"}),
        ("model", {"model": CountingModel(temperature=0.5)}),
        ("model", {"settled": b"private"}),
        ("parameters", {"stop": ["x"]}),
        ("parameters", {"temperature": 0.5}),
        ("tools", {"tools": [{"type": "function"}]}),
        ("tools", {"tool_choice": "any"}),
        ("schema", {"response_format": {"type": "json_object"}}),
        ("system", {"messages": [SystemMessage("t"), *CALL["messages"][1:]]}),
        ("history", {"messages": [*CALL["messages"][:2], AIMessage("b"), HumanMessage("q")]}),
        ("question", {"messages": [*CALL["messages"][:3], HumanMessage("r")]}),
    ],
    ids=str,
)
def test_a_change_is_seen_in_its_part_alone(part, change) -> None:
    one, another = parts_of(), parts_of(**change)
    assert [name for name in PARTS if getattr(one, name) != getattr(another, name)] == [part]
    assert one.key != another.key


def test_a_fingerprint_has_a_short_digest_of_each_part() -> None:
    one, another = parts_of().fingerprint, parts_of(stop=["x"]).fingerprint
    differing = {at // 8 for at in range(len(one)) if one[at] != another[at]}
    assert len(one) == len(another) == 8 * len(PARTS)
    assert differing == {PARTS.index("parameters")}


def test_the_last_message_is_the_question_even_alone() -> None:
    alone = call_parts(MODEL, [SystemMessage("s")])
    assert (alone.system, alone.history) == (b"[]", b"[]")
    assert alone.question != call_parts(MODEL, []).question


@pytest.mark.parametrize(
    "silent",
    [
        {"timeout": 3},
        {"stream": True},
        {"stream_usage": True},
        {"stream_options": {"include_usage": True}},
        {"metadata": {"a": "b"}},
        {"service_tier": "flex"},
        {"prompt_cache_key": "a"},
        {"extra_headers": {"Authorization": "Bearer a", "X-Request-Id": "1"}},
    ],
    ids="-".join,
)
def test_parameters_that_do_not_change_the_answer_share(silent) -> None:
    plain = {name: {} for name in silent if name == "extra_headers"}
    ask = [HumanMessage("a")]
    assert call_key(MODEL, ask, **silent) == call_key(MODEL, ask, **plain)
    inside = {"extra_body": silent}
    assert call_key(MODEL, ask, **inside) == call_key(MODEL, ask, extra_body=plain)


@pytest.mark.parametrize(
    "change",
    [
        {"n": 2},
        {"extra_headers": {"x-portkey-config": "a"}},
        {"extra_body": {"top_k": 1}},
        {"model": "other"},
        {"strict": True},
        {"store": True},
    ],
    ids=str,
)
def test_parameters_that_may_change_the_answer_do_not(change) -> None:
    ask = [HumanMessage("a")]
    assert call_key(MODEL, ask, **change) != call_key(MODEL, ask)


class Listening(CountingModel):
    """Keeps the key of each call as it arrives."""

    _keys: list[bytes] = PrivateAttr(default_factory=list)

    @override
    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **given: Any):
        self._keys.append(call_key(MODEL, messages, stop=stop, **given))
        return super()._generate(messages)

    @override
    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **given: Any):
        self._keys.append(call_key(MODEL, messages, stop=stop, **given))
        yield ChatGenerationChunk(message=AIMessageChunk("a", chunk_position="last"))


def test_a_stream_has_the_key_of_the_invoke() -> None:
    model = Listening()
    bound = model.bind(tools=[{"type": "function"}], ls_structured_output_format={"schema": {}})
    list(bound.stream("q", stream_usage=True, stop=["x"]))
    bound.invoke("q", stop=["x"])
    bound.invoke("q", stop=["x"], stream=True)
    assert len(model._keys) == 3
    assert len(set(model._keys)) == 1


def test_a_structured_answer_is_known_by_its_schema() -> None:
    one = create_model("City", name=(str, ...))
    edited = create_model("City", name=(str, ...), country=(str, ...))
    parts = [call_parts(MODEL, [HumanMessage("a")], response_format=each) for each in (one, edited)]
    assert parts[0].schema != parts[1].schema
    assert parts[0].parameters == parts[1].parameters


def answered(*results: str, content: Any = "", **calls: Any) -> list[BaseMessage]:
    """An answer and the results of the calls `1`, `2`, … in it."""
    told = [ToolMessage(text, tool_call_id=str(at + 1)) for at, text in enumerate(results)]
    return [AIMessage(content, **calls), *told]


def test_results_of_calls_that_only_blocks_name_keep_their_order() -> None:
    blocks = [{"type": "tool_use", "id": each, "name": "f", "input": {}} for each in "12"]
    straight, swapped = answered("x", "y", content=blocks), answered("x", "y", content=blocks)
    swapped[1].tool_call_id, swapped[2].tool_call_id = "2", "1"
    assert call_key(MODEL, straight) != call_key(MODEL, swapped)


def test_results_of_calls_that_could_not_be_read_keep_their_order() -> None:
    broken = [{"name": "f", "args": "{", "id": each, "error": None} for each in "12"]
    one = answered("x", "y", invalid_tool_calls=broken)
    another = answered("x", "y", invalid_tool_calls=broken[::-1])
    assert call_key(MODEL, one) != call_key(MODEL, another)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "item_reference"},
        {"type": "reasoning", "summary": []},
        {"type": "file", "source_type": "id", "mime_type": "text/plain"},
    ],
    ids=str,
)
def test_an_id_that_is_all_a_block_tells_counts(block) -> None:
    one, another = (AIMessage([{**block, "id": each}]) for each in "ab")
    assert call_key(MODEL, [one]) != call_key(MODEL, [another])


def test_how_an_answer_was_streamed_or_parsed_changes_nothing() -> None:
    streamed = AIMessage(
        [{"type": "text", "text": "a", "index": 0, "id": "msg_1"}],
        additional_kwargs={"parsed": CountingModel(), "refusal": None},
    )
    assert call_key(MODEL, [streamed]) == call_key(
        MODEL, [AIMessage([{"type": "text", "text": "a"}])]
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**64, 1e300], ids=str)
def test_a_number_that_could_be_taken_for_another_has_no_key(number) -> None:
    call = {"name": "f", "args": {"x": [number]}, "id": "1"}
    said = [
        AIMessage("", tool_calls=[call]),
        HumanMessage([{"type": "a", "x": number}]),
        AIMessage([{"type": "a", "x": number}]),
        HumanMessage("", additional_kwargs={"x": number}),
    ]
    for message in said:
        with pytest.raises(TypeError):
            call_parts(MODEL, [message])


def test_a_parameter_that_is_not_a_number_has_no_key() -> None:
    with pytest.raises(TypeError):
        call_parts(MODEL, [HumanMessage("a")], top_p=float("nan"))
    call_parts(MODEL, [HumanMessage("a")], tools=[{"type": "function", "x": [None, 1, {"y": "z"}]}])


@pytest.mark.parametrize(
    "changes",
    [
        {"default_headers": {"Authorization": "Bearer b"}},
        {"service_tier": "flex"},
        {"model_kwargs": {"stream_options": {"include_usage": True}}},
        {"streaming": True},
        {"openai_proxy": "http://localhost:1"},
    ],
    ids="-".join,
)
def test_settings_of_transport_inside_others_are_silent_too(changes) -> None:
    plain = {name: {} for name in changes if name.startswith(("default_headers", "model_kwargs"))}
    assert openai(**changes) == openai(**plain)


def test_a_text_model_has_the_question_that_core_shows() -> None:
    model = FakeListLLM(responses=["a", "b"])
    prompt = '[{"looks like": "JSON"}] \ud800'
    first = call_parts(model, prompt, stop=["x"])
    model.invoke("a")
    assert first == call_parts(model, prompt, stop=["x"])
    assert first.question == core_parts(prompt, "model", scope="").question
    assert first.model != call_parts(FakeListLLM(responses=["b"]), prompt).model
