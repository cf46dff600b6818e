"""What of a call is compared by meaning, and what must be equal to the letter."""

import pytest
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from models import CountingModel

from llmops_langchain import ConfigurationError
from llmops_langchain.cache.asked import Asked, ExactOnly, Split, asked_in, listed, marked
from llmops_langchain.wrapping import call_parts, core_messages, core_parts

QUESTION = "How do I reset my password?"
CALL = {"name": "look", "args": {"at": 1}, "id": "call-1"}


WHOLE = Split()


def asked(*messages, split=WHOLE, max_chars=2_000, model=None, **parameters) -> Asked:
    parts = call_parts(model or CountingModel(), list(messages), scope="acme", **parameters)
    return asked_in(parts, split, max_chars=max_chars)


def refused(*messages, **kwargs) -> str:
    with pytest.raises(ExactOnly) as why:
        asked(*messages, **kwargs)
    return str(why.value)


def test_the_last_turn_is_the_question() -> None:
    before = SystemMessage("Be kind."), HumanMessage("Hello"), AIMessage("Hello!")
    assert asked(*before, HumanMessage(f"  {QUESTION}\n")).question == QUESTION


def test_calls_that_differ_in_the_question_alone_are_compared() -> None:
    first, second = (asked(SystemMessage("Be kind."), HumanMessage(text)) for text in ("a?", "b?"))
    assert first.scope == second.scope


PLAIN = (SystemMessage("Be kind."), HumanMessage("Hello"), AIMessage("Hello!"), HumanMessage("a?"))


@pytest.mark.parametrize(
    ("messages", "parameters"),
    [
        ((SystemMessage("Be brief."), *PLAIN[1:]), {}),
        ((PLAIN[0], HumanMessage("Bye"), *PLAIN[2:]), {}),
        ((*PLAIN[:2], AIMessage("Hi!"), PLAIN[3]), {}),
        (PLAIN[:1] + PLAIN[3:], {}),
        (PLAIN[1:], {}),
        ((*PLAIN[:3], HumanMessage("a?", name="ann")), {}),
        (PLAIN, {"stop": ["."]}),
        (PLAIN, {"tools": [{"type": "function", "function": {"name": "look"}}]}),
        (PLAIN, {"response_format": {"type": "json_object"}}),
        (PLAIN, {"model": CountingModel(temperature=1.0)}),
        (PLAIN, {"model": CountingModel(model_name="other")}),
    ],
)
def test_everything_else_must_be_equal(messages, parameters) -> None:
    assert asked(*messages, **parameters).scope != asked(*PLAIN).scope


def test_two_workspaces_are_never_compared() -> None:
    parts = [call_parts(CountingModel(), [HumanMessage("a?")], scope=name) for name in "ab"]
    first, second = (asked_in(each, Split(), max_chars=99) for each in parts)
    assert first.scope != second.scope


def test_blocks_of_text_are_text() -> None:
    blocks = HumanMessage([{"type": "text", "text": QUESTION}])
    assert asked(blocks) == asked(HumanMessage(QUESTION))


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (AIMessage("I"), "the last turn is not the user's"),
        (SystemMessage("Be kind."), "the last turn is not the user's"),
        (HumanMessage(""), "there is no question in the last turn"),
        (HumanMessage(" \n\t"), "there is no question in the last turn"),
        (HumanMessage([]), "there is no question in the last turn"),
        (HumanMessage("x" * 2_001), "the question is too long"),
        (
            HumanMessage([{"type": "text", "text": "What is it?"}, {"type": "image", "url": "u"}]),
            "the last turn holds more than text",
        ),
        (
            HumanMessage([{"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}]),
            "the last turn holds more than text",
        ),
    ],
)
def test_what_has_no_question_is_answered_by_equal_calls_alone(last, reason) -> None:
    assert refused(HumanMessage("Hello"), AIMessage("Hello!"), last) == reason


def test_a_turn_that_ends_in_a_tools_result_is_exact_only() -> None:
    messages = (
        HumanMessage("Look"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("1", tool_call_id="call-1"),
    )
    assert refused(*messages) == "the last turn is not the user's"


def test_without_messages_there_is_no_question() -> None:
    assert refused() == "the last turn is not the user's"


PROMPT = "Use these:\n{sources}\n---\nQuestion: {question}\nAnswer:"


def prompt(question: str, sources: str) -> HumanMessage:
    return HumanMessage(PROMPT.format(question=question, sources=sources))


class TestPromptsWithSources:
    def test_the_question_is_compared_and_the_rest_must_be_equal(self) -> None:
        first = asked(prompt("a?", "one"), split=Split("a?"))
        second = asked(prompt("what is b?", "one"), split=Split("what is b?"))
        other = asked(prompt("a?", "two"), split=Split("a?"))
        assert (first.question, second.question) == ("a?", "what is b?")
        assert first.scope == second.scope != other.scope

    def test_sources_alone_are_taken_out_of_the_question(self) -> None:
        split = Split(sources=("one", "two"))
        asks = asked(prompt("a?", "one\ntwo"), split=split)
        assert "one" not in asks.question
        assert "a?" in asks.question
        assert (
            asks.scope != asked(prompt("a?", "one\nten"), split=Split(sources=("one", "ten"))).scope
        )

    def test_sources_that_stand_elsewhere_count_too(self) -> None:
        first = asked(HumanMessage("a?"), split=Split(sources=("one",)))
        second = asked(HumanMessage("a?"), split=Split(sources=("two",)))
        assert first.question == second.question == "a?"
        assert first.scope != second.scope

    def test_text_moved_from_one_side_to_the_other_is_another_prompt(self) -> None:
        first = asked(HumanMessage("x a? yz"), split=Split("a?"))
        second = asked(HumanMessage("xy a? z"), split=Split("a?"))
        assert first.scope != second.scope

    def test_a_question_that_is_not_there_is_refused(self) -> None:
        reason = refused(prompt("a?", "one"), split=Split("b?"))
        assert reason == "the question is not in the last turn"

    def test_an_empty_question_is_refused(self) -> None:
        assert (
            refused(prompt("a?", "one"), split=Split(" "))
            == "there is no question in the last turn"
        )

    def test_a_message_may_tell_them_itself(self) -> None:
        told = {"llmops_question": "a?", "llmops_sources": ["one"]}
        message = HumanMessage(prompt("a?", "one").content, additional_kwargs=told)
        assert marked([message]) == Split("a?", ("one",))

    def test_what_a_message_tells_the_cache_is_not_in_the_exact_key(self) -> None:
        plain, model = prompt("a?", "one"), CountingModel()
        told = HumanMessage(plain.content, additional_kwargs={"llmops_question": "a?"})
        assert call_parts(model, [told]).key == call_parts(model, [plain]).key

    def test_documents_are_sources(self) -> None:
        assert listed([Document("one"), "two"]) == ("one", "two")
        assert listed("one") == ("one",)
        assert listed(None) == ()

    def test_other_sources_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="texts or documents"):
            listed([1])


class TestWhatCoreShows:
    def test_the_question_is_read_out_of_its_json(self) -> None:
        written = dumps([SystemMessage("Be kind."), HumanMessage(QUESTION)])
        parts = core_parts(written, "[('stop', None)]", scope="acme")
        assert asked_in(parts, Split(), max_chars=2_000).question == QUESTION

    def test_the_messages_are_read_out_of_its_json(self) -> None:
        said = [SystemMessage("Be kind."), HumanMessage(QUESTION), AIMessage("So.")]
        assert [(each.type, each.content) for each in core_messages(dumps(said))] == [
            (each.type, each.content) for each in said
        ]

    def test_a_text_prompt_is_the_question(self) -> None:
        parts = core_parts(QUESTION, "[('stop', None)]", scope="acme")
        assert asked_in(parts, Split(), max_chars=2_000).question == QUESTION
        assert core_messages(QUESTION) == [HumanMessage(QUESTION)]
