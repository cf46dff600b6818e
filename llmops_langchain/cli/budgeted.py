"""A step of the demo: many customers at once, and a budget that has room for some of them."""

from collections.abc import Sequence
from concurrent.futures import Executor
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `--help` does not need
    from langchain_core.language_models import BaseChatModel

    from llmops_langchain import BudgetAlert, LLMOps

__all__ = ["ask_within_a_budget"]

_CUSTOMERS, _ROOM = 8, 3
"""So many ask at once, and so many answers fit into the budget, if they are as long as may be."""

_QUESTION = "Write one line for the card of plant number {}."


def ask_within_a_budget(ops: "LLMOps", chat: "BaseChatModel", run: str) -> dict[str, str]:
    """Let customers ask at once with a budget for a few; what came of it, for the demo's table.

    Args:
        ops: Whose budgets they are.
        chat: The model that answers.
        run: The workspace.
    """
    from langchain_core.runnables.config import ContextThreadPoolExecutor
    from rich.console import Console

    from llmops_langchain import Budget, UnpricedModelError

    model, told = ops.guard(chat), list["BudgetAlert"]()
    ops.budgets.on_alert(told.append)
    with ops.track(workspace=run, project="cards"), ContextThreadPoolExecutor(_CUSTOMERS) as pool:
        try:
            limit = _ROOM * _most(ops, model, run)
        except UnpricedModelError:
            return {}  # a budget in dollars needs a price
        ops.budgets.set(Budget(workspace=run, project="cards", limit=limit, period="total"))
        answered = _answered(pool, model)
    status = ops.budgets.get(workspace=run, project="cards")
    refused = _CUSTOMERS - answered
    Console().print(
        f"\n[bold]{_CUSTOMERS} at once, with a budget for {_ROOM} long answers:[/bold] "
        f"{_QUESTION.format('…')}\n"
        f"  [green]{answered} answered[/green], [yellow]{refused} refused[/yellow] unasked; "
        f"${status.spent:f} of ${status.limit:f} spent{_alerted(told)}"
    )
    return {"budget": f"{answered} answered, {refused} refused"}


def _most(ops: "LLMOps", model: "BaseChatModel", run: str) -> Decimal:
    """What one call may cost: a budget of nothing says it when it refuses."""
    from llmops_langchain import Budget, BudgetExceededError

    ops.budgets.set(Budget(workspace=run, project="cards", limit=0, period="total"))
    try:
        model.invoke(_QUESTION.format(0))
    except BudgetExceededError as refused:
        return refused.requested
    return Decimal(0)  # a model that costs nothing


def _alerted(told: "Sequence[BudgetAlert]") -> str:
    shares = ", ".join(f"{alert.threshold:.0%}" for alert in told)
    return f", told at {shares}" if shares else ""


def _answered(pool: Executor, model: "BaseChatModel") -> int:
    from llmops_langchain import BudgetExceededError

    def ask(number: int) -> bool:
        try:
            model.invoke(_QUESTION.format(number))
        except BudgetExceededError:
            return False
        return True

    return sum(pool.map(ask, range(1, _CUSTOMERS + 1)))
