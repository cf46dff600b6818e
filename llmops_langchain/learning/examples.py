"""Similar successes as examples of a few-shot prompt."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.example_selectors import BaseExampleSelector

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.experience import Match
from llmops_langchain.learning.learning import Learning

__all__ = ["ExperienceExampleSelector"]


class ExperienceExampleSelector(BaseExampleSelector):
    """Chooses what succeeded before and is like the task at hand.

    An example has `task` and `lessons`, the latter one a line.

    Args:
        learning: Where to search: `ops.learning`.
        k: How many examples at most.
        task_key: Which of a prompt's variables is the task.
        tech_stack: Experiences with the like come first.
        min_score: What scores less is no example.
        project_id: Whose experience an added example becomes.

    Raises:
        ConfigurationError: If `k` is not positive.

    Example:
        >>> from llmops_langchain import LLMOps
        >>> with LLMOps("sqlite://") as ops:
        ...     selector = ExperienceExampleSelector(ops.learning, k=1)
        ...     _ = selector.add_example({"task": "Add a login page", "lessons": "Hash it."})
        ...     selector.select_examples({"task": "Build the login"})
        [{'task': 'Add a login page', 'lessons': 'Hash it.'}]
    """

    def __init__(
        self,
        learning: Learning,
        *,
        k: int = 3,
        task_key: str = "task",
        tech_stack: Sequence[str] = (),
        min_score: float = 0.0,
        project_id: str = "examples",
    ) -> None:
        if k < 1:
            msg = f"`k` must be positive, got {k!r}"
            raise ConfigurationError(msg)
        self._learning, self._k, self._task_key = learning, k, task_key
        self._stack, self._min_score = tuple(tech_stack), min_score
        self._project = project_id

    def add_example(self, example: dict[str, str]) -> str:
        """Learn a success from an example; its id.

        Raises:
            ConfigurationError: If it has no task.
        """
        learnt = self._learning.learn(
            project_id=self._project,
            task_description=example.get(self._task_key, ""),
            success=True,
            tech_stack=self._stack,
            lessons=[line for line in example.get("lessons", "").splitlines() if line.strip()],
        )
        return str(learnt.id)

    async def aadd_example(self, example: dict[str, str]) -> str:
        """`add_example` in a worker thread."""
        return await asyncio.to_thread(self.add_example, example)

    def select_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, str]]:
        """The examples for a prompt; none without a task."""
        task = str(input_variables.get(self._task_key) or "")
        if not task.strip():
            return []
        found = self._learning.similar(
            task, self._stack, self._k, filter={"success": True}, min_score=self._min_score
        )
        return [self._example(each) for each in found]

    async def aselect_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, str]]:
        """`select_examples` in a worker thread."""
        return await asyncio.to_thread(self.select_examples, input_variables)

    def _example(self, match: Match) -> dict[str, str]:
        run = match.experience
        return {self._task_key: run.task_description, "lessons": "\n".join(run.lessons)}
