"""A step of the demo: a month of made-up traffic, and what the numbers say of it."""

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what `--help` does not need
    from llmops_langchain.ledger import Event

__all__ = ["look_at_a_month"]

_NOW, _DAY = 1_800_000_000.0, 86_400.0
_DAYS, _CALLS, _SLOW_SINCE = 30, 120, 24
_PROMPTS = 15
"""So few prompts are asked again and again."""


def look_at_a_month() -> dict[str, str]:
    """Make a month of events in memory, in which tasks became slow and prompts repeat."""
    from rich.console import Console

    from llmops_langchain import Analytics, Database
    from llmops_langchain.ledger.importing import import_events
    from llmops_langchain.models import PriceBook

    console = Console()
    with Database("sqlite://") as database:
        number, _ = import_events(database, _month(), clock=lambda: _NOW)
        analytics = Analytics(database, prices=PriceBook(), clock=lambda: _NOW)
        console.print(f"\n[bold]A month of made-up traffic, {number:,} events[/bold]")
        latency = analytics.performance(30).latency
        p95 = latency.percentile(0.95) or 0.0
        console.print(f"  {latency.count:,} calls, 95 % within [cyan]{p95:.1f} s[/cyan]")
        ahead = analytics.forecast(7)
        low = sum(each.low or 0.0 for each in ahead.series.values())
        high = sum(each.high or 0.0 for each in ahead.series.values())
        foretold = f"${ahead.total or 0.0:.2f} (${low:.2f} to ${high:.2f})"
        console.print(f"  the next seven days will cost [cyan]{foretold}[/cyan]")
        found = analytics.insights()
        for insight in found:
            console.print(
                f"  [yellow]{insight.severity}: {insight.title}[/yellow]  {insight.impact}"
            )
    return {"month": f"{len(found)} insights; 7 days ahead: ${ahead.total or 0.0:.2f}"}


def _month() -> "Iterator[Event]":
    from llmops_langchain.ledger import LLM_CALL, Event

    rng = random.Random(11)  # noqa: S311 - traffic
    for day in range(_DAYS):
        slow = 2.0 if day >= _SLOW_SINCE else 1.0
        for _ in range(round(_CALLS * (0.5 if day % 7 in (5, 6) else rng.uniform(0.9, 1.1)))):
            ts = _NOW - (_DAYS - day - rng.random()) * _DAY
            into, out = rng.randrange(500, 3_000), rng.randrange(100, 600)
            yield Event(
                name=LLM_CALL,
                ts=ts,
                project="desk",
                provider="openai",
                model="gpt-4o",
                input_tokens=into,
                output_tokens=out,
                cost=2_500 * into + 10_000 * out,
                latency=rng.lognormvariate(0, 0.6),
                cache_key=rng.randrange(_PROMPTS).to_bytes(16, "big"),
            )
            value = rng.lognormvariate(3, 0.5) * slow
            yield Event(name="task.completion_time", ts=ts, project="desk", value=value)
