"""The async twins of what is asked: each is the method of its name in a worker thread."""

import asyncio
from collections.abc import Sequence
from typing import Any

from llmops_langchain.learning.advising import Suggestion
from llmops_langchain.learning.asking import Asks
from llmops_langchain.learning.experience import Match
from llmops_langchain.learning.predicting import Estimate, Prediction
from llmops_langchain.learning.stats import LearningStats

__all__ = ["Twins"]


class Twins(Asks):
    """Questions for asyncio; arguments are those of the twin."""

    async def asimilar(
        self,
        task: str,
        tech_stack: Sequence[str] | None = None,
        k: int = 5,
        **options: Any,
    ) -> list[Match]:
        """`similar` in a worker thread."""
        return await asyncio.to_thread(self.similar, task, tech_stack, k, **options)

    async def apredict_success(
        self, task: str, tech_stack: Sequence[str] | None = None, **options: Any
    ) -> Prediction:
        """`predict_success` in a worker thread."""
        return await asyncio.to_thread(self.predict_success, task, tech_stack, **options)

    async def aestimate(
        self, task: str, tech_stack: Sequence[str] | None = None, **options: Any
    ) -> Estimate:
        """`estimate` in a worker thread."""
        return await asyncio.to_thread(self.estimate, task, tech_stack, **options)

    async def asuggest(self, project_id: str | None = None, **options: Any) -> list[Suggestion]:
        """`suggest` in a worker thread."""
        return await asyncio.to_thread(self.suggest, project_id, **options)

    async def astats(self, **options: Any) -> LearningStats:
        """`stats` in a worker thread."""
        return await asyncio.to_thread(self.stats, **options)
