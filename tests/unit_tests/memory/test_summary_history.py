"""A kept prompt is summed up from its history: nothing that left it is forgotten."""

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from summarising import SYSTEM, Writer, asking, window_of


def kept(writer: Writer, histories: list[list[BaseMessage]], max_tokens: int = 400) -> list[str]:
    window, cut = window_of(writer, max_tokens), {}
    for history in histories:
        trim = window.trim_sticky(history, previous=cut)
        cut = trim.cut
    return [m.id for m in trim.messages if m.id]


def test_what_left_while_the_model_failed_is_read_when_it_works_again() -> None:
    writer = Writer(fails=[None, *[ValueError() for _ in range(12)]])
    stayed = kept(writer, asking(60))
    works = "\n".join(writer._shown[:1] + writer._shown[13:])
    for n in range(60):
        if f"q{n}" not in stayed:
            assert works.count(f" q{n}: ") == 1, n


def test_a_history_rewritten_before_the_cut_is_noticed_by_the_next() -> None:
    writer, histories = Writer(), asking(60)
    changed = HumanMessage("q1: I have no plants.", id="q1")
    for history in histories[35:]:
        history[3] = changed
    kept(writer, histories)
    assert sum("I have no plants" in each for each in writer._shown) == 1
    anew = next(each for each in writer._shown if "I have no plants" in each)
    assert anew.startswith("<summary>\n\n</summary>")


def test_an_output_that_gave_way_to_a_note_is_read_as_it_was() -> None:
    history: list[BaseMessage] = [SYSTEM, HumanMessage("Look.", id="q")]
    histories = []
    for n in range(12):
        call = {"name": "look", "args": {}, "id": f"c{n}"}
        history += [AIMessage("", tool_calls=[call], id=f"a{n}")]
        history += [ToolMessage(f"#{n}: " + "fern " * 400, tool_call_id=f"c{n}", id=f"t{n}")]
        histories.append(list(history))
    writer = Writer()
    stayed = kept(writer, histories)
    left = {str(n) for n in range(12) if f"t{n}" not in stayed}
    assert len(left) > 6
    assert set(writer.times_read) == left
