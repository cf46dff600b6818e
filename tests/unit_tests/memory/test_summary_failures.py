"""A model that fails to sum up costs nobody an answer, and no message."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from summarising import Writer, asking, chat, tokens, window_of

from llmops_langchain import Budget, LLMOps, Settings
from llmops_langchain.memory import ContextWindow

HISTORY = asking(40)[-1]
PLAIN = ContextWindow("gpt-4o", 400).invoke(HISTORY)


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Keeps a model waiting until it is set."""
    go_on = threading.Event()
    yield go_on
    go_on.set()
    let_writers_end()


def let_writers_end() -> None:
    for thread in threading.enumerate():
        if thread.name == "llmops-summary":
            thread.join(60)


def times_read(writer: Writer, turns: int) -> set[int]:
    return {writer.shown.count(f" q{n}: ") for n in range(turns)}


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError()])
def test_a_model_that_fails_costs_no_answer_and_is_asked_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(fails=[error])
    window = window_of(writer)
    assert window.invoke(HISTORY) == PLAIN
    assert type(error).__name__ in caplog.text
    assert "plant" not in caplog.text
    assert window.invoke(asking(41)[-1])[1].text.endswith("summary 2")
    assert times_read(writer, 20) == {2}


def test_each_kind_of_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    window = window_of(Writer(fails=[ValueError(), ValueError(), KeyError()]))
    for _ in range(3):
        window.invoke(HISTORY)
    assert [record.getMessage().split("(")[1] for record in caplog.records] == [
        "ValueError); the last one stays",
        "KeyError); the last one stays",
    ]


def test_while_it_fails_a_prompt_that_still_fits_stays_whole() -> None:
    writer = Writer(fails=[ValueError()])
    window, cut, lengths = window_of(writer), {}, []
    for history in asking(60):
        trim = window.trim_sticky(history, previous=cut)
        cut = trim.cut
        lengths.append(len(trim.messages) - len(history))
    at = next(i for i, each in enumerate(lengths) if each)
    assert writer.calls > 1
    assert tokens(asking(60)[at - 1]) >= 340  # 85 %: there the first summary failed
    assert times_read(writer, 1) == {2}


def test_the_last_summary_stays_while_it_fails() -> None:
    writer = Writer(fails=[None, *[ValueError()] * 40])
    window, cut = window_of(writer), {}
    for history in asking(50):
        trim = window.trim_sticky(history, previous=cut)
        cut = trim.cut
    assert writer.calls > 2
    assert trim.messages[1].text.endswith("summary 1")


@pytest.mark.parametrize(
    "answer",
    [
        {"tool_calls": [{"name": "look", "args": {}, "id": "c"}]},
        {"response_metadata": {"finish_reason": "content_filter"}},
        {"response_metadata": {"finish_reason": "FinishReason.SAFETY"}},
        {"additional_kwargs": {"refusal": "I will not."}},
    ],
)
def test_an_answer_that_is_none_is_no_summary(answer: dict[str, Any]) -> None:
    assert window_of(Writer(answer=answer)).invoke(HISTORY) == PLAIN


@pytest.mark.parametrize("says", ["", "  "])
def test_a_model_that_says_nothing_is_no_summary(says: str) -> None:
    assert window_of(Writer(says=says)).invoke(HISTORY) == PLAIN


def test_what_was_read_before_a_part_failed_is_not_read_again() -> None:
    writer = Writer(fails=[None, ValueError()], profile={"max_input_tokens": 600})
    window = window_of(writer, 400)
    history = [*chat(60), HumanMessage("Now?")]
    sent = window.invoke(history)
    assert sent[1].text.endswith("summary 1")
    window.invoke(history)
    assert writer.calls > 2
    read = [writer.shown.count(f" q{n}: ") for n in range(40)]
    assert set(read) == {1, 2}  # twice: what the second part had
    assert read[0] == 1
    assert "<summary>\nsummary 1\n</summary>" in writer._shown[2]


def test_nobody_waits_for_a_model_that_is_late(held: threading.Event) -> None:
    writer = Writer(before=lambda: held.wait(60))
    assert window_of(writer, timeout=0.01).invoke(HISTORY) == PLAIN


def test_a_summary_that_comes_late_is_there_for_the_next_cut(held: threading.Event) -> None:
    writer = Writer(before=lambda: held.wait(60))
    window = window_of(writer, timeout=0.01)
    for _ in range(3):
        assert window.invoke(HISTORY) == PLAIN
    held.set()
    let_writers_end()
    assert window.invoke(HISTORY)[1].text.endswith("summary 1")
    assert writer.calls == 1


def test_those_who_wait_for_the_same_summary_share_its_failure(held: threading.Event) -> None:
    writer = Writer(before=lambda: held.wait(60), fails=[ValueError()])
    window = window_of(writer, timeout=0.01)
    for _ in range(3):
        assert window.invoke(HISTORY) == PLAIN
    held.set()
    let_writers_end()
    assert writer.calls == 1
    window.invoke(HISTORY)
    let_writers_end()
    assert window.invoke(HISTORY)[1].text.endswith("summary 2")


def test_a_budget_without_room_is_no_error() -> None:
    priced = Settings(fallback_price=(1000, 1000))
    with LLMOps("sqlite://", priced) as ops, ops.track(project="p"):
        writer = Writer()
        window = window_of(ops.guard(writer))
        ops.budgets.set(Budget(project="p", limit="0.000001", period="total"))
        assert window.invoke(HISTORY) == PLAIN
        assert writer.calls == 0
        ops.budgets.remove(project="p")
        assert "summary" in window.invoke(HISTORY)[1].text
        ops.flush()
        assert ops.analytics.cost(project="p").calls == 1


def test_a_window_too_small_for_a_summary_asks_nobody() -> None:
    writer = Writer()
    history = [HumanMessage("Hello, how are you? " * 2), AIMessage("Fine."), HumanMessage("And?")]
    sent = window_of(writer, 20).invoke(history)
    assert sent == [history[-1]]
    assert writer.calls == 0
