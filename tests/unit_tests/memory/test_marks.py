"""When a window cuts, how far down, who counts, and whom it tells."""

from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from typing_extensions import override

from llmops_langchain.errors import ConfigurationError, ContextWindowError
from llmops_langchain.memory import ContextStatus, ContextWindow, is_pinned, pin
from llmops_langchain.tokens.calibration import Calibration


def chat(turns: int) -> list[BaseMessage]:
    """A history of four tokens a message, by `each_four`."""
    said: list[BaseMessage] = [SystemMessage("Rules.", id="s")]
    for n in range(turns):
        said += [HumanMessage(f"q{n}", id=f"q{n}"), AIMessage(f"a{n}", id=f"a{n}")]
    return [*said, HumanMessage("now", id="now")]


def each_four(messages: list[BaseMessage]) -> int:
    return 4 * len(messages)


def window(max_tokens: int = 400, **options: Any) -> ContextWindow:
    return ContextWindow("gpt-4o", max_tokens, token_counter=each_four, **options)


class TestSizes:
    @pytest.mark.parametrize(
        ("trigger", "keep", "longest", "left"),
        [
            (("fraction", 0.85), ("fraction", 0.6), 84, 60),
            (("tokens", 200), ("tokens", 100), 49, 25),
            (("messages", 30), ("messages", 10), 29, 11),
            ([("tokens", 390), ("messages", 30)], ("tokens", 40), 29, 10),
        ],
    )
    def test_a_prompt_grows_to_the_trigger_and_is_cut_to_what_is_kept(
        self, trigger: Any, keep: Any, longest: int, left: int
    ) -> None:
        made = window(trigger=trigger, keep=keep)
        history, lengths, cut = chat(200), [], {}
        for at in range(2, len(history) + 1, 2):
            trim = made.trim_sticky(history[:at], previous=cut)
            lengths.append((len(trim.messages), trim.moved))
            cut = trim.cut
        assert max(length for length, _ in lengths) in (longest, longest - 1)
        assert {length for length, moved in lengths if moved} <= {left, left - 1}

    @pytest.mark.parametrize(
        ("trigger", "keep"),
        [
            (("fraction", 1.5), ("fraction", 0.6)),
            (("fraction", 0), ("fraction", 0.6)),
            (("fraction", float("nan")), ("fraction", 0.6)),
            (("tokens", -1), ("fraction", 0.6)),
            (("turns", 3), ("fraction", 0.6)),
            (("tokens",), ("fraction", 0.6)),
            ([], ("fraction", 0.6)),
            (("fraction", 0.5), ("fraction", 0.6)),
            (("fraction", 0.85), "much"),
            (("tokens", "many"), ("fraction", 0.6)),
        ],
    )
    def test_sizes_that_make_no_sense_are_refused(self, trigger: Any, keep: Any) -> None:
        with pytest.raises(ConfigurationError):
            window(trigger=trigger, keep=keep)

    def test_a_window_never_lets_a_prompt_pass_its_limit(self) -> None:
        made = window(100, trigger=("messages", 10_000), keep=("messages", 5))
        assert len(made.trim_sticky(chat(50)).messages) <= 25


class TestCounters:
    def test_a_model_or_an_estimate_may_count(self) -> None:
        class Counting(FakeListChatModel):
            @override
            def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
                return 10 * len(messages)

        history = chat(50)
        by_model = ContextWindow("gpt-4o", 100, token_counter=Counting(responses=["x"]))
        assert len(by_model.invoke(history)) == 10
        assert by_model.check(history).estimated
        roughly = ContextWindow("gpt-4o", 100, token_counter="approximate").invoke(history)  # noqa: S106 - no password
        assert 3 < len(roughly) < 40

    @pytest.mark.parametrize("wrong", ["exactly", 7])
    def test_what_counts_nothing_is_refused(self, wrong: Any) -> None:
        with pytest.raises(ConfigurationError, match="token_counter"):
            ContextWindow("gpt-4o", 100, token_counter=wrong)

    @pytest.mark.parametrize("actual", [500, 2_000])
    def test_counts_follow_what_replies_say(self, actual: int) -> None:
        calibration = Calibration()
        for _ in range(5):
            calibration.observe("gpt-4o", 1_000, actual)
        plain = window(4_000)
        learnt = ContextWindow("gpt-4o", 4_000, token_counter=each_four, calibration=calibration)
        factor = calibration.factor("gpt-4o")
        history = chat(400)
        before, after = (each.check(history).current_tokens for each in (plain, learnt))
        assert after == pytest.approx(factor * before, rel=0.01)
        kept = len(learnt.invoke(chat(2_000)))
        assert kept == pytest.approx(len(plain.invoke(chat(2_000))) / factor, rel=0.02)


class TestWarnings:
    def test_it_is_told_once_at_each_mark_of_a_growing_chat(self) -> None:
        told: list[ContextStatus] = []
        made = window(on_warning=told.append)
        history, cut = chat(60), {}
        for at in range(2, len(history) + 1, 2):
            cut = made.trim_sticky(history[:at], previous=cut).cut
        assert [each.status for each in told[:2]] == ["warning", "critical"]
        assert 0.75 <= told[0].share < 0.85 <= told[1].share <= 1
        assert len(told) < 8

    def test_a_cut_tells_of_what_there_was_before_it(self) -> None:
        told: list[ContextStatus] = []
        window(100, on_warning=told.append).trim(chat(100))
        assert [(each.status, each.limit) for each in told] == [("critical", 100)]
        assert told[0].share > 8

    def test_one_that_fails_costs_no_answer(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(_: ContextStatus) -> None:
            raise ValueError

        made = window(100, on_warning=fail)
        for _ in range(2):
            assert made.trim(chat(100)).messages
        assert caplog.text.count("ValueError") == 1


class TestPins:
    def test_what_is_pinned_stays_with_its_question(self) -> None:
        history = chat(100)
        history[4] = pin(history[4])  # an answer
        sent = window(60, pin=is_pinned).invoke(history)
        assert [m.id for m in sent[:3]] == ["s", "q1", "a1"]
        assert len(sent) == 14  # turns stay whole

    def test_the_middleware_and_the_node_need_not_be_told(self) -> None:
        history = chat(100)
        history[3] = pin(history[3])
        assert "q1" in [m.id for m in window(60).trim_sticky(history).messages]

    def test_pinned_steps_of_the_current_turn_stay(self) -> None:
        history = chat(1)
        for n in range(30):
            call = {"name": "f", "args": {}, "id": f"c{n}"}
            history.append(AIMessage("", tool_calls=[call], id=f"step{n}"))
            history.append(ToolMessage("found", tool_call_id=f"c{n}", id=f"found{n}"))
        history[6] = pin(history[6])
        kept = [m.id for m in window(60, pin=is_pinned).invoke(history)]
        assert "found1" in kept
        assert "step1" in kept
        assert kept[-1] == "found29"
        assert len(kept) <= 15

    def test_what_is_pinned_and_does_not_fit_is_an_error(self) -> None:
        history = [pin(m) if m.type == "human" else m for m in chat(100)]
        with pytest.raises(ContextWindowError):
            window(60, pin=is_pinned).invoke(history)


class TestOversize:
    def test_the_middle_of_a_question_goes_and_its_copy_says_so(self) -> None:
        question = HumanMessage([{"type": "text", "text": "why? " * 2_000}], id="q")
        made = ContextWindow("gpt-4o", 300, on_oversize="cut")
        trim = made.trim([SystemMessage("Rules."), question])
        [_, sent] = trim.messages
        text = sent.content[0]["text"]
        assert text.startswith("why? why?")
        assert text.endswith("why? ")
        assert "tokens removed" in text
        assert 270 < made.check(trim.messages).current_tokens <= 300
        assert question.content[0]["text"] == "why? " * 2_000
        assert [each.why for each in trim.reasons] == ["cut"]
        assert trim.removed == ()
        assert trim.freed_tokens > 1_000

    def test_steps_behind_it_have_room(self) -> None:
        call = {"name": "f", "args": {}, "id": "c"}
        history = [
            HumanMessage("why? " * 2_000, id="q"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("42", tool_call_id="c"),
        ]
        sent = ContextWindow("gpt-4o", 300, on_oversize="cut").invoke(history)
        assert [m.type for m in sent] == ["human", "ai", "tool"]

    def test_the_cut_is_kept_between_turns(self) -> None:
        made = ContextWindow("gpt-4o", 300, on_oversize="cut")
        history: list[BaseMessage] = [HumanMessage("why? " * 2_000, id="q")]
        first = made.trim_sticky(history)
        history += [AIMessage("So.", id="a"), HumanMessage("Ah.", id="b")]
        second = made.trim_sticky(history, previous=first.cut)
        assert made.check(second.messages).share <= 1
        assert second.messages[-1].id == "b"

    def test_system_messages_are_never_cut(self) -> None:
        made = ContextWindow("gpt-4o", 100, on_oversize="cut")
        with pytest.raises(ContextWindowError):
            made.invoke([SystemMessage("rule " * 500), HumanMessage("hi")])
        with pytest.raises(ConfigurationError, match="on_oversize"):
            ContextWindow("gpt-4o", 100, on_oversize="drop")
