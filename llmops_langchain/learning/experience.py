"""One finished run as it is remembered, and what a search finds of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

__all__ = ["Experience", "Match"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What was to be done, with what, and how it went. `ops.learning.learn` makes one."""

    id: UUID
    ts: float
    """When it ended: UTC seconds since the Unix epoch."""
    project_id: str
    task_description: str
    tech_stack: tuple[str, ...] = ()
    """In lower case and sorted, each once."""
    success: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Figures of the run: `completion_time` in seconds, `cost` in US dollars, `iterations`,
    `input_tokens`, `output_tokens`, `tool_errors`, and whatever else was given."""
    lessons: tuple[str, ...] = ()
    """What to do, or not to do, the next time."""
    patterns: tuple[str, ...] = ()
    """What kinds of work the task holds: `"authentication"`, `"payment"`, …."""
    model: str | None = None
    agent: str | None = None
    tools: tuple[str, ...] = ()
    """Which tools the run used, each once."""
    steps: tuple[str, ...] = ()
    """What it did, in order."""
    failure: str | None = None
    """The category of what went wrong, such as `"wrong_solution"` or an exception's class."""
    workspace: str | None = None
    user: str | None = None
    thread: str | None = None
    run_id: UUID | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON has them: a line of `ops.learning.export`."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A similar experience; runs of one project, task, stack, model and agent are one match."""

    experience: Experience
    """The newest of them."""
    score: float
    """How well it fits what was asked, 0 to 1."""
    count: int = 1
    """How many runs there were."""
    successes: int = 0
    """How many of them succeeded."""
    similarity: float = 0.0
    """How much the texts are alike, 0 to 1, whatever the outcome and the age."""

    @property
    def success_rate(self) -> float:
        """The share of the runs that succeeded."""
        return self.successes / self.count
