"""One event for each run of a tool; what it was given and what it gave is in none."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from llmops_langchain.callbacks.endings import was_cut_off
from llmops_langchain.callbacks.runs import Runs
from llmops_langchain.clock import Clock
from llmops_langchain.ledger import TOOL_CALL, Event, Ledger, Scope
from llmops_langchain.wrapping.scoping import attributed, scope_of

__all__ = ["ToolRun", "ToolRuns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """A tool between its start and its end."""

    since: float
    started: float
    scope: Scope
    parent_run_id: UUID | None
    name: str


class ToolRuns:
    """The tools at work.

    Args:
        ledger: Takes the events.
        runs: Keeps those that have begun.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(self, ledger: Ledger, runs: "Runs[ToolRun]", *, clock: Clock) -> None:
        self._ledger, self._runs, self._clock = ledger, runs, clock

    def start(
        self, name: str, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any]
    ) -> None:
        """A tool begins."""
        run = ToolRun(
            since=self._clock(),
            started=time.perf_counter(),
            scope=scope_of(metadata),
            parent_run_id=parent_run_id,
            name=name,
        )
        self._runs.begin(run_id, run)

    def end(
        self, run_id: UUID, *, error: BaseException | None = None, failed: bool = False
    ) -> None:
        """A tool ended; `failed` if it says so itself, in its answer to the model."""
        run = self._runs.end(run_id)
        if run is None or _is_pause(error):
            return
        fields = attributed(run.scope)
        fields["tags"] = {**run.scope.tags, "tool": run.name}
        self._ledger.record(
            Event(
                id=run_id,
                name=TOOL_CALL,
                ts=self._clock(),
                run_id=run_id,
                parent_run_id=run.parent_run_id,
                latency=time.perf_counter() - run.started,
                status="error" if error or failed else "ok",
                error_class=type(error).__name__ if error else None,
                aborted=was_cut_off(error),
                **fields,
            )
        )


def _is_pause(error: BaseException | None) -> bool:
    """Whether a graph waits for a human: the tool runs once more when it goes on."""
    return any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)
