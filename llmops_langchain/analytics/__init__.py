"""What the events add up to, what is to come, and what somebody should know."""

from llmops_langchain.analytics.analytics import Analytics
from llmops_langchain.analytics.facts import InsightLimits
from llmops_langchain.analytics.foretelling import ForecastReport
from llmops_langchain.analytics.insights import Insight, Saving
from llmops_langchain.analytics.reports import (
    Cost,
    CostReport,
    Distribution,
    MetricReport,
    PerformanceReport,
    QualityReport,
)
from llmops_langchain.analytics.tracking import Metric
from llmops_langchain.analytics.webhooks import webhook

__all__ = [
    "Analytics",
    "Cost",
    "CostReport",
    "Distribution",
    "ForecastReport",
    "Insight",
    "InsightLimits",
    "Metric",
    "MetricReport",
    "PerformanceReport",
    "QualityReport",
    "Saving",
    "webhook",
]
