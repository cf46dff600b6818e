"""What sums of equal spans of time will be, how sure that is, and when a budget runs out."""

from llmops_langchain.analytics.forecasting.forecast import Forecast, RunOut, forecast, run_out

__all__ = ["Forecast", "RunOut", "forecast", "run_out"]
