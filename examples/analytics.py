"""A month of a support desk, looked at: reports, a forecast, insights, and a file for others.

python examples/analytics.py  # offline
"""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from rich import print as show

from llmops_langchain import LLMOps, Metric
from llmops_langchain.clock import system_clock

DAY = 86_400.0
GOOD, POOR, FALLEN_ON = 0.9, 0.65, 23
GOING_WELL = 0.95


def main() -> None:
    """Record metrics of 30 days, then ask what everybody asks in the morning."""
    with TemporaryDirectory() as folder, LLMOps(f"sqlite:///{folder}/desk.db") as ops:
        number = ops.analytics.track_metrics(a_month())
        ops.flush()
        print(f"{number} metrics recorded")
        show(ops.analytics.performance(days=30, group_by="agent"))
        show(ops.analytics.quality(days=30, bucket="week"))
        for insight in ops.analytics.insights(days=30):
            print(f"{insight.severity}: {insight.title}. {insight.description}")
        ahead = ops.analytics.forecast(7, metric="task.completion_time")
        print(f"expected in seven days: {ahead.total or 0:,.0f} seconds of work")
        print(ops.analytics.export(Path(folder, "desk.ndjson"), days=30), "events exported")


def a_month() -> list[Metric]:
    """Tasks of two agents, and scores of their answers, which have fallen a week ago."""
    rng, now = random.Random(1), system_clock()  # noqa: S311 - a month that is made up
    found = []
    for day in range(30):
        for _ in range(20):
            ts = now - (30 - day - rng.random()) * DAY
            tags = {"project_id": "desk", "agent": rng.choice(["triage", "writer"])}
            seconds = rng.lognormvariate(3, 0.5)
            score = min(1.0, rng.gauss(GOOD if day < FALLEN_ON else POOR, 0.08))
            done = float(rng.random() < GOING_WELL)
            found += [
                Metric(
                    name="task.completion_time", value=seconds, unit="seconds", ts=ts, tags=tags
                ),
                Metric(name="task.success", value=done, unit="share", ts=ts, tags=tags),
                Metric(name="quality.score", value=score, unit="share", ts=ts, tags=tags),
            ]
    return found


if __name__ == "__main__":
    main()
