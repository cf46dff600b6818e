"""What tests of guarded models share: a price, a question, and what was recorded."""

import asyncio
from decimal import Decimal

from langchain_core.messages import HumanMessage
from sqlalchemy import select

from llmops_langchain import BudgetExceededError, Event, LLMOps
from llmops_langchain.ledger.event import from_row
from llmops_langchain.storage.schema import events

__all__ = ["ASKED", "COST", "PRICE", "recorded", "until_refused"]

# A dollar a million tokens in, ten dollars out: the tests' usual answer costs 60 microdollars.
PRICE = {"input_per_million": 1, "output_per_million": 10}
COST = Decimal("0.00006")

ASKED = [HumanMessage("What is the capital of France?")]


def recorded(ops: LLMOps) -> list[Event]:
    """Every event, in the order of time."""
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        rows = connection.execute(select(events).order_by(events.c.ts, events.c.id)).mappings()
        return [from_row(dict(row)) for row in rows]


async def until_refused(ops: LLMOps, waiting: asyncio.Future[object]) -> None:
    """Let the loop run until the call in `waiting` has been refused once."""
    reservations, refused = ops._parts.reservations, asyncio.Event()
    reserve, loop = reservations.reserve, asyncio.get_running_loop()

    def noting(*args: object, **kwargs: object) -> object:
        try:
            return reserve(*args, **kwargs)
        except BudgetExceededError:
            loop.call_soon_threadsafe(refused.set)
            raise

    reservations.reserve = noting
    await refused.wait()
    reservations.reserve = reserve
    assert not waiting.done()
