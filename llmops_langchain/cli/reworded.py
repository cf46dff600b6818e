"""The last step of the demo: questions in other words, and other questions in the same words."""

from importlib.resources import files
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:  # what `--help` does not need
    from langchain_core.language_models import BaseChatModel
    from rich.text import Text

__all__ = ["ask_in_other_words"]

_MAX_ERROR = 0.05
"""Share of wrong answers that the demo would put up with."""


def ask_in_other_words(url: str, chat: "BaseChatModel", run: str) -> dict[str, str]:
    """Ask each question once, then in other words; what came of it, for the demo's table.

    Args:
        url: Of the database.
        chat: The model that answers what is not found.
        run: The workspace.
    """
    from langchain_core.messages import HumanMessage
    from rich.console import Console

    from llmops_langchain import LLMOps, SemanticPolicy
    from llmops_langchain.cli.support_desk import briefing

    console, found, asked = Console(), 0, 0
    console.print("\n[bold]The same in other words?[/bold]")
    policy = SemanticPolicy(max_error=_MAX_ERROR, start="shipped", sampling=0.0)
    with LLMOps(url, semantic=policy) as ops, ops.track(workspace=run, project="reworded"):
        model, told = ops.cached(chat), briefing()
        for first, again in _questions():
            model.invoke([*told, HumanMessage(first)])
            answer = model.invoke([*told, HumanMessage(again)])
            hit = answer.response_metadata.get("llmops_cache")
            found, asked = found + bool(hit), asked + (not hit)
            console.print(_told(first, again, hit))
    return {"reworded": f"{found} answered, {asked} asked"}


def _questions() -> list[tuple[str, str]]:
    text = files("llmops_langchain.cli").joinpath("support_desk.yaml").read_text("utf-8")
    return [(each["first"], each["again"]) for each in yaml.safe_load(text)["reworded"]]


def _told(first: str, again: str, hit: dict[str, float] | None) -> "Text":
    from rich.text import Text

    what = (f"answered, score {hit['score']:.3f}", "green") if hit else ("asked", "cyan")
    return Text.assemble("  ", (first, "dim"), " / ", again, "  ", what)
