"""Reports as tables for a terminal."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from rich.console import Group, RenderableType
from rich.table import Table

from llmops_langchain.analytics.reports import (
    Cost,
    CostReport,
    Distribution,
    MetricReport,
    PerformanceReport,
    QualityReport,
    Report,
)

__all__ = ["rendered"]

_MOST = 12
"""Rows of a table."""

_SECONDS_OF_DAY = 86_400


def rendered(report: Report) -> RenderableType:
    """A report as one or more tables."""
    if isinstance(report, CostReport):
        return _cost(report)
    if isinstance(report, MetricReport):
        return _metrics({report.name: report}, _when(report))
    if isinstance(report, PerformanceReport):
        return _metrics(report.metrics, f"Performance, {_when(report)}")
    if isinstance(report, QualityReport):
        shown = {each.name: each for each in (report.scores, report.coverage)}
        return _metrics(shown, f"Quality, {_when(report)}")
    table = Table("", "")
    for each in fields(cast("Any", report)):
        if not each.name.startswith("_"):
            table.add_row(each.name.replace("_", " "), _told(getattr(report, each.name)))
    return table


def _cost(report: CostReport) -> RenderableType:
    change = "" if report.change is None else f", {report.change:+.0%} against the time before"
    title = (
        f"Cost, {_when(report)}: ${report.total:,.4f}, saved ${report.saved:,.4f}"
        f", ${report.daily_average:,.4f} a day{change}"
    )
    tables = [_costs(report.by_model, "model", title)]
    if report.groups:
        others = {} if report.others is None else {"(others)": report.others}
        tables.append(_costs({**report.groups, **others}, "group", None))
    return Group(*tables)


def _costs(rows: Mapping[str, Cost], name: str, title: str | None) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(name)
    for column in ("calls", "hits", "tokens in", "tokens out", "cost", "saved"):
        table.add_column(column, justify="right")
    dearest = sorted(rows.items(), key=lambda each: -each[1].total)
    for named, each in dearest[:_MOST]:
        table.add_row(
            named or "-",
            f"{each.calls:,}",
            f"{each.cache_hits:,}",
            f"{each.input_tokens:,}",
            f"{each.output_tokens:,}",
            f"${each.total:,.4f}",
            f"${each.saved:,.4f}",
        )
    if len(dearest) > _MOST:
        table.add_row(f"and {len(dearest) - _MOST:,} more", *[""] * 6)
    return table


def _metrics(rows: Mapping[str, Distribution], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    for column in ("count", "mean", "min", "p50", "p95", "max"):
        table.add_column(column, justify="right")
    for name, each in rows.items():
        figures = (each.mean, each.minimum, each.percentile(0.5), each.percentile(0.95))
        table.add_row(name, f"{each.count:,}", *map(_told, (*figures, each.maximum)))
    return table


def _when(report: Any) -> str:
    first, last = (datetime.fromtimestamp(at, UTC) for at in (report.since, report.until))
    form = "%Y-%m-%d" if report.until - report.since > 2 * _SECONDS_OF_DAY else "%Y-%m-%d %H:%M"
    return f"{first:{form}} to {last:{form}} UTC"


def _told(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"${value:,.4f}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
