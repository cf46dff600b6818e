"""What the events add up to."""

from llmops_langchain.analytics.analytics import Analytics
from llmops_langchain.analytics.reports import (
    Cost,
    CostReport,
    Distribution,
    MetricReport,
    PerformanceReport,
    QualityReport,
)
from llmops_langchain.analytics.tracking import Metric

__all__ = [
    "Analytics",
    "Cost",
    "CostReport",
    "Distribution",
    "Metric",
    "MetricReport",
    "PerformanceReport",
    "QualityReport",
]
