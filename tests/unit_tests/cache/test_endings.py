"""Only an answer that says something, and all of it, is worth keeping."""

import pytest
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from llmops_langchain.cache.endings import are_whole

CALL = {"name": "f", "args": {}, "id": "1"}
BROKEN = {"name": "f", "args": "{", "id": "2", "error": None}
REFUSAL = {"type": "refusal", "refusal": "I cannot"}


def whole(content="yes", *, info=None, **fields) -> bool:
    message = AIMessage(content, **fields)
    return are_whole([ChatGeneration(message=message, generation_info=info)])


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"finish_reason": "stop"},  # OpenAI
        {"finish_reason": "tool_calls", "status": None},
        {"status": "completed", "incomplete_details": None},  # its Responses API
        {"stop_reason": "end_turn"},  # Anthropic
        {"stop_reason": "stop_sequence"},
        {"stopReason": "tool_use"},  # Bedrock
        {"finish_reason": "STOP"},  # Gemini
        {"finish_reason": "COMPLETE"},  # Cohere
        {"done_reason": "stop"},  # Ollama
        {"finish_reason": "a word of tomorrow"},
    ],
)
def test_an_answer_that_came_to_its_end_is_whole(told) -> None:
    assert whole(response_metadata=told)
    assert whole(info=told)


@pytest.mark.parametrize(
    "told",
    [
        {"finish_reason": "length"},
        {"finish_reason": "content_filter"},
        {"status": "incomplete"},
        {"status": "in_progress"},
        {"status": "queued"},
        {"incomplete_details": {"reason": "max_output_tokens"}},
        {"stop_reason": "max_tokens"},
        {"stop_reason": "pause_turn"},
        {"stop_reason": "refusal"},
        {"stop_reason": "model_context_window_exceeded"},
        {"stopReason": "guardrail_intervened"},
        {"stopReason": "malformed_tool_use"},
        {"finish_reason": "MAX_TOKENS"},
        {"finish_reason": "SAFETY"},
        {"finish_reason": "FinishReason.SAFETY"},
        {"finish_reason": "MALFORMED_FUNCTION_CALL"},
        {"finish_reason": "UNEXPECTED_TOOL_CALL"},
        {"finish_reason": "OTHER"},
        {"finish_reason": "model_length"},
        {"finish_reason": "ERROR_LIMIT"},
        {"done_reason": "length"},
    ],
)
def test_an_answer_that_was_cut_short_is_not(told) -> None:
    assert not whole(response_metadata=told)
    assert not whole(info=told)
    assert not are_whole([Generation(text="yes", generation_info=told)])


def test_either_place_may_tell_that_it_was_cut_short() -> None:
    cut, good = {"finish_reason": "length"}, {"finish_reason": "stop"}
    assert not whole(info=cut, response_metadata=good)
    assert not whole(info=good, response_metadata=cut)


@pytest.mark.parametrize(
    "content",
    [
        "",
        " \n\t",
        [],
        ["", " "],
        [{"type": "text", "text": " "}],
        [{"type": "text"}],
        [{"type": "thinking", "thinking": "hm", "signature": "s"}],
        [{"type": "reasoning", "summary": []}, {"type": "text", "text": ""}],
        [{"type": "reasoning_content", "reasoning_content": {"text": "hm"}}],
        [{"type": "non_standard", "value": {"type": "redacted_thinking"}}],
        [{"type": "tool_use", "id": "1", "name": "f", "input": {}}],
    ],
)
def test_an_answer_that_says_nothing_is_not_whole(content) -> None:
    assert not whole(content)


@pytest.mark.parametrize(
    "content",
    [
        "0",
        [" ", "yes"],
        [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}],
        [{"type": "image", "base64": "…", "mime_type": "image/png"}],
        [{"type": "non_standard", "value": {"type": "image_generation_call"}}],
        [{"type": "non_standard", "value": "anything"}],
    ],
)
def test_an_answer_that_says_something_is_whole(content) -> None:
    assert whole(content)


def test_tool_calls_are_an_answer_unless_one_cannot_be_made() -> None:
    assert whole("", tool_calls=[CALL])
    assert not whole("", invalid_tool_calls=[BROKEN])
    assert not whole("I call it", tool_calls=[CALL], invalid_tool_calls=[BROKEN])


def test_a_refusal_is_not_kept() -> None:
    assert not whole("well", additional_kwargs={"refusal": "I cannot"})
    assert not whole([{"type": "text", "text": "well"}, REFUSAL])
    assert not whole([{"type": "non_standard", "value": REFUSAL}])
    assert whole(additional_kwargs={"refusal": None})


def test_all_answers_must_be_whole_and_there_must_be_one() -> None:
    good, bad = Generation(text="yes"), Generation(text=" ")
    assert are_whole([good, good])
    assert not are_whole([good, bad])
    assert not are_whole([])
