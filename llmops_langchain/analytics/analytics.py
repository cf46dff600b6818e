"""Everything that is asked of the events."""

from collections.abc import Callable, Iterable

from llmops_langchain.analytics.advising import Advising
from llmops_langchain.analytics.counterfactuals import Offer
from llmops_langchain.analytics.exporting import Exporting
from llmops_langchain.analytics.insights import Insight
from llmops_langchain.analytics.tracking import Tracking
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger import Budgets, Ledger, Rebuilt, RollupTable
from llmops_langchain.models import PriceBook
from llmops_langchain.storage import Database
from llmops_langchain.storage.hopping import hop

__all__ = ["Analytics"]


class Analytics(Tracking, Exporting, Advising):
    """Reports over the events in the database, of all processes that write to it.

    What this process recorded in the last second may still be on its way: `ops.flush()` first.
    Every report takes the arguments of `Asked`.

    Args:
        database: Where the events are.
        ledger: Takes metrics; `None` only reads.
        rollups: Makes the sums anew, for `rebuild`.
        prices: What models cost, for insights.
        budgets: Whose end is foretold, for insights.
        offers: Gives what the app could do otherwise with what it has, for insights.
        clock: Returns seconds since the Unix epoch.

    Example:
        >>> Analytics(Database("sqlite://")).cost(days=7, project="shop").calls
        0
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger | None = None,
        *,
        rollups: RollupTable | None = None,
        prices: PriceBook | None = None,
        budgets: Budgets | None = None,
        offers: Callable[[], Iterable[Offer]] = tuple,
        clock: Clock = system_clock,
    ) -> None:
        self._database, self._ledger, self._clock = database, ledger, clock
        self._rollups = rollups or RollupTable(database, clock=clock)
        self._prices, self._budgets, self._offers = prices, budgets, offers
        self._hooks: list[Callable[[Insight], object]] = []

    def rebuild(self, *, verify: bool = False) -> Rebuilt:
        """Make the sums that reports are read from anew, from the events that are there.

        Args:
            verify: Change nothing, and tell what is wrong.

        Raises:
            StorageError: If the database cannot do it; days that were done stay so.
        """
        if self._ledger is not None:
            self._ledger.flush()
        return self._rollups.rebuild(verify=verify)

    arebuild = hop(rebuild)
