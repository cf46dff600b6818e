"""A step of the demo: a router of two prices, which an outage of the cheap one does not stop."""

from textwrap import shorten
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `--help` does not need
    from langchain_core.language_models import BaseChatModel

    from llmops_langchain import LLMOps, ModelRouter

__all__ = ["ask_through_a_router"]

_CHEAP, _DEAR = ("0.15", "0.60"), ("2.50", "10.00")
"""US dollars per million tokens in and out, as a small and a large hosted model have them."""

_EASY = ("Do you sell cacti?", "Is delivery free?", "Can I pay by card?")
_HARD = (
    "Suppose 3 of 40 ferns die in 10 days with 20 ml of water a day, and 1 of 40 with 35 ml. Given "
    "120 ferns and 4 litres, which should get how much so that no more than 6 die, and why?"
)


def ask_through_a_router(ops: "LLMOps", chat: "BaseChatModel", run: str) -> dict[str, str]:
    """Let a router choose between two prices, then turn the cheap one off; what came of it.

    Args:
        ops: Whose router it is.
        chat: The model that answers, at both prices.
        run: The workspace.
    """
    from rich.console import Console

    from llmops_langchain import ModelChoice

    cheap, dear = (
        ModelChoice(chat, name=name, input_per_million=price, output_per_million=answer)
        for name, (price, answer) in (("cheap", _CHEAP), ("dear", _DEAR))
    )
    router = ops.router(cheap, dear, pool=run)
    broken = ops.router(cheap.replaced(model=chat.bind(timeout=1e-6)), dear, pool=f"{run}/broken")
    with ops.track(workspace=run, project="routed"):
        asked = [_who(router, question) for question in (*_EASY, _HARD)]
        rescued = _who(broken, _EASY[0])
    lines = "\n".join(
        f"  {shorten(question, 60, placeholder=' …')}  [cyan]{name}[/cyan]"
        for question, name in zip((*_EASY, _HARD), asked, strict=True)
    )
    Console().print(
        f"\n[bold]A model at two prices, by how hard a question looks:[/bold]\n{lines}\n"
        f"  with the cheap one out of time: {_EASY[0]}  [green]{rescued}[/green]"
    )
    counts = f"{asked.count('cheap')} cheap, {asked.count('dear')} dear"
    return {"routed": f"{counts}; an outage: {rescued}"}


def _who(router: "ModelRouter", question: str) -> str:
    told = router.invoke(question).response_metadata["llmops_route"]
    return str(told["choice"])
