"""What the events add up to."""

from llmops_langchain.analytics.analytics import Analytics
from llmops_langchain.analytics.reports import CostReport, ModelCost

__all__ = ["Analytics", "CostReport", "ModelCost"]
