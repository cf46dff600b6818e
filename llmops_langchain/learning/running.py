"""A run under way, as far as it has come."""

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from llmops_langchain.learning.finished import FinishedRun
from llmops_langchain.ledger import Scope

__all__ = ["RunningRun"]

_MOST_STEPS = 64
"""Steps that are noted."""


@dataclass(slots=True, eq=False)
class RunningRun:
    """A run between its start and its end."""

    root: UUID
    task: str
    scope: Scope
    started: float
    inner: set[UUID] = field(default_factory=set)
    model: str | None = None
    tools: dict[str, None] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    calls: int = 0
    tool_errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    priced: bool = True
    paused: bool = False

    def step(self, name: str) -> None:
        """Note what it does next."""
        if len(self.steps) < _MOST_STEPS:
            self.steps.append(name)

    def finished(self, output: Any, error: BaseException | None) -> FinishedRun:
        """As it has ended."""
        metrics = {"completion_time": time.perf_counter() - self.started}
        if self.calls:
            metrics |= {
                "iterations": self.calls,
                "input_tokens": self.input_tokens,
                "output_tokens": self.output_tokens,
            }
            if self.priced:
                metrics["cost"] = self.dollars
        if self.tools:
            metrics["tool_errors"] = self.tool_errors
        return FinishedRun(
            run_id=self.root,
            task=self.task,
            output=output,
            error=error,
            metrics=metrics,
            model=self.model,
            tools=tuple(self.tools),
            steps=tuple(self.steps),
            scope=self.scope,
        )
