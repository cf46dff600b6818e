"""A step of the demo: what a customer said long ago, and which window still knows it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `--help` does not need
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from llmops_langchain import LLMOps
    from llmops_langchain.cli.support_desk import LongThread

__all__ = ["ask_what_was_said_long_ago"]

_STRATEGIES = {"sliding_window": "newest", "relevant": "relevant"}


def ask_what_was_said_long_ago(ops: "LLMOps", chat: "BaseChatModel", run: str) -> dict[str, str]:
    """Ask for a fact of a long thread through two windows; what came of it, for the demo's table.

    Args:
        ops: Whose windows they are.
        chat: The model that answers.
        run: The workspace.
    """
    from rich.console import Console

    from llmops_langchain.cli.support_desk import long_thread

    thread, console = long_thread(), Console()
    history = thread.messages
    console.print(
        f"\n[bold]Asked {len(thread.exchanges)} questions later, in a window of "
        f"{thread.max_tokens} tokens:[/bold] {thread.question}"
    )
    told = {}
    for strategy, means in _STRATEGIES.items():
        window = ops.context_window(chat, thread.max_tokens, strategy)
        kept = window.invoke(history)
        with ops.track(workspace=run, project="memory", user=thread.customer):
            answer = ops.cached(chat).invoke(kept)
        told[strategy] = "kept" if _knows(kept, thread) else "lost"
        console.print(
            f"  {means} turns: {len(kept)} of {len(history)} messages sent, the fact among them is "
            f"[{'green' if told[strategy] == 'kept' else 'yellow'}]{told[strategy]}[/]"
            f"  [dim]{' '.join(answer.text.split())}[/dim]"
        )
    outcome = [f"{means}: {told[strategy]}" for strategy, means in _STRATEGIES.items()]
    return {"remembered": ", ".join(outcome)}


def _knows(kept: "list[BaseMessage]", thread: "LongThread") -> bool:
    return any(thread.fact in message.text for message in kept)
