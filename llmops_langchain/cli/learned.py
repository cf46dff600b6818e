"""A step of the demo: runs are learnt from by themselves, and tell what to expect of the next."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `--help` does not need
    from langchain_core.language_models import BaseChatModel

    from llmops_langchain import FinishedRun, LLMOps

__all__ = ["learn_from_runs"]

_CARDS = ("fern", "cactus", "orchid", "basil", "ivy", "olive tree")
_NEXT = "Write one line for the card of a lemon tree"
_WORDS = 25
"""A card has room for no more."""

_LESSON = "Keep a card to {words} words."


def learn_from_runs(ops: "LLMOps", chat: "BaseChatModel", run: str) -> dict[str, str]:
    """Let a recorder learn from real calls, then ask what to expect; what came of it.

    Args:
        ops: Whose experiences they become.
        chat: The model that answers.
        run: The workspace.
    """
    from rich.console import Console

    def judge(ended: "FinishedRun") -> dict[str, object]:
        fits = len(ended.text.split()) <= _WORDS
        return {"success": fits, "lessons": [] if fits else [_LESSON.format(words=_WORDS)]}

    recorder = ops.recorder(judge)
    with ops.track(workspace=run, project="cards", agent="writer"):
        for plant in _CARDS:
            chat.invoke(f"Write one line for the card of a {plant}", {"callbacks": [recorder]})
        ops.learning.settle()
        expected = ops.learning.predict_success(_NEXT)
        effort = ops.learning.estimate(_NEXT, metric="output_tokens")
        lessons = {each for m in ops.learning.similar(_NEXT) for each in m.experience.lessons}
    learnt = f"{len(_CARDS)} runs, {round(expected.base_rate * len(_CARDS))} of them good"
    Console().print(
        f"\n[bold]Learnt from {len(_CARDS)} calls:[/bold] {_NEXT}?\n"
        f"  success [cyan]{expected.probability:.0%}[/cyan], between {expected.low:.0%} and "
        f"{expected.high:.0%}; {effort.value:.0f} tokens, between {effort.low:.0f} and "
        f"{effort.high:.0f}\n"
        f"  lessons of similar runs: {'; '.join(sorted(lessons)) or 'none'}"
    )
    return {"learnt": f"{learnt}; the next: {expected.probability:.0%}"}
