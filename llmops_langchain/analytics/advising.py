"""Insights for `Analytics`: facts gathered, rules asked, what was told remembered."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from llmops_langchain.analytics.asking import Asked
from llmops_langchain.analytics.counterfactuals import CallRow, Offer
from llmops_langchain.analytics.facts import Compared, Facts, InsightLimits, Place, Rule
from llmops_langchain.analytics.foretelling import COST, Foretelling
from llmops_langchain.analytics.insight_rows import InsightRows
from llmops_langchain.analytics.insights import SEVERITIES, Insight
from llmops_langchain.analytics.making import distribution
from llmops_langchain.analytics.reporting import Reporting
from llmops_langchain.analytics.reports import Distribution
from llmops_langchain.analytics.rules import RULES
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import LLM_CALL, Budgets, BudgetStatus
from llmops_langchain.ledger.rollups import DAY
from llmops_langchain.models import PriceBook
from llmops_langchain.storage.hopping import hop
from llmops_langchain.storage.schema import events

__all__ = ["Advising"]

logger = logging.getLogger(__name__)

_RECENT = 7
"""Days that are compared with those before."""

_CALLS = 50_000
"""Calls that are replayed, the latest ones."""

_JUDGED = ("task.completion_time", "quality.score", "test.coverage", "task.success")


class Advising(Reporting, Foretelling):
    """The part of `Analytics` that finds what somebody should know."""

    _prices: PriceBook | None
    _budgets: Budgets | None
    _offers: Callable[[], Iterable[Offer]]
    _hooks: list[Callable[[Insight], object]]

    def insights(
        self,
        days: float = 30,
        *,
        workspace: str | None = None,
        user: str | None = None,
        limits: InsightLimits | None = None,
        rules: Sequence[Rule] = RULES,
    ) -> list[Insight]:
        """What the events of a user, a workspace or all say that somebody should know.

        The last seven days are compared with those before. What it would save is worked out from
        the calls that were made, and told with a range. The hooks of `on_insight` hear what is new,
        got worse, came back, or stays for another week.

        Args:
            days: How far back, at least 14 for comparisons.
            workspace: Of this tenant alone.
            user: Of this user alone.
            limits: From where on something is worth telling.
            rules: What is looked for.

        Returns:
            The most severe first, and of these what saves most; none that was dismissed.

        Raises:
            ConfigurationError: If something asked for makes no sense.
            StorageError: If the database cannot answer.
        """
        facts = self._facts(days, workspace, user, limits or InsightLimits())
        found = {each.fingerprint: each for rule in rules for each in rule.find(facts)}
        asked = frozenset(rule.type for rule in rules)
        rows = InsightRows(self._database)
        states = rows.advance(found, facts.about, asked, self._clock())
        told = []
        for fingerprint, insight in found.items():
            state, is_due = states[fingerprint]
            known = replace(insight, status=state.status, first_seen=state.first_seen)
            if is_due:
                self._tell(known)
            if state.status != "dismissed":
                told.append(known)
        return sorted(told, key=_order)

    def dismiss(self, fingerprint: str) -> None:
        """Hear no more of an insight, unless it gets worse.

        Raises:
            NotFoundError: If there is none of this fingerprint.
            StorageError: If the database cannot do it.
        """
        InsightRows(self._database).dismiss(fingerprint)

    def on_insight(self, told: Callable[[Insight], object]) -> Callable[[Insight], object]:
        """Call `told` with each insight that is due to be told, in the thread that asked for them.

        What it raises is logged by its class and goes no further. Also a decorator;
        `webhook(url)` makes one that sends it somewhere.
        """
        self._hooks.append(told)
        return told

    ainsights = hop(insights)
    adismiss = hop(dismiss)

    def _tell(self, insight: Insight) -> None:
        for hook in self._hooks:
            try:
                hook(insight)
            except Exception as error:  # noqa: BLE001 - whatever it is, the insights are there
                logger.warning("a hook of insights failed: %s", type(error).__name__)

    def _facts(
        self, days: float, workspace: str | None, user: str | None, limits: InsightLimits
    ) -> Facts:
        if not (isinstance(days, (int, float)) and days >= 1):
            msg = f"`days` is at least 1, got {days!r}"
            raise ConfigurationError(msg)
        scope: Asked = {"workspace": workspace, "user": user}
        about = {name: str(value) for name, value in scope.items() if value is not None}
        now, recent = self._clock(), min(_RECENT, max(1, int(days // 2)))
        spent = self.cost(days, **scope)
        wanted = self._wanted(days, {**scope, "bucket": "day", "timezone": "UTC"})
        daily, _ = self._past(COST, wanted, now // DAY * DAY, DAY)
        return Facts(
            now=now,
            days=days,
            about=about,
            daily=daily,
            recent_days=recent,
            by_model={name: each.total for name, each in spent.by_model.items()},
            calls=self._calls(now - days * DAY, about),
            cache_hits=spent.cache_hits,
            metrics=self._compared(days, recent, now, scope),
            scores=self._by_model(days, scope),
            budgets=list(self._running_out(about)),
            prices=self._prices,
            offers=list(self._offers()),
            limits=limits,
        )

    def _compared(
        self, days: float, recent: int, now: float, scope: Asked
    ) -> dict[str, dict[Place, Compared]]:
        since = now - recent * DAY
        later = self._placed({**scope, "start": since})
        start = now - days * DAY
        earlier: Mapping[str, Mapping[Place, Distribution]] = {}
        if since - start >= DAY:
            earlier = self._placed({**scope, "start": start, "end": since})
        return {
            name: {
                place: Compared(values, earlier.get(name, {}).get(place))
                for place, values in later[name].items()
            }
            for name in _JUDGED
        }

    def _by_model(self, days: float, scope: Asked) -> Mapping[str, Any]:
        wanted = self._wanted(days, {**scope, "group_by": "model"})
        _, reports = self._metrics(("quality.score",), wanted)
        return reports["quality.score"].groups

    def _placed(self, asked: Asked) -> dict[str, dict[Place, Distribution]]:
        """What was judged, by its name and by place."""
        answer = self._ask(self._wanted(1, asked), _JUDGED, by=Place._fields, sketched=True)
        return {
            name: {Place(*key): distribution(sums) for key, sums in answer.by_group(name).items()}
            for name in _JUDGED
        }

    def _calls(self, since: float, about: Mapping[str, str]) -> list[CallRow]:
        columns = [events.c[name] for name in CallRow._fields]
        found = (
            select(*columns)
            .where(
                events.c.name == LLM_CALL,
                events.c.ts >= since,
                events.c.cost > 0,
                *(events.c[name] == value for name, value in about.items()),
            )
            .order_by(events.c.ts.desc())
            .limit(_CALLS)
        )
        with self._database.begin(read_only=True) as connection:
            return [CallRow(*row) for row in connection.execute(found)]

    def _running_out(self, about: Mapping[str, str]) -> Any:
        for status in self._budgets.list() if self._budgets is not None else ():
            if _is_of(status, about) and status.spent < status.limit:
                reached = self.run_out(status)
                if reached is not None and reached.known:
                    yield status, reached


def _is_of(status: BudgetStatus, about: Mapping[str, str]) -> bool:
    return all(getattr(status.budget, name) == value for name, value in about.items())


def _order(insight: Insight) -> tuple[float, float, str]:
    saved = float(insight.saving.a_day) if insight.saving is not None else 0.0
    return -SEVERITIES.index(insight.severity), -saved, insight.fingerprint
