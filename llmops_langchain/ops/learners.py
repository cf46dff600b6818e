"""What an `LLMOps` offers to learn from runs, and to use what was learnt."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmops_langchain.learning import Learning, LearningRetriever

__all__ = ["Learners"]


class Learners:
    """The part of `LLMOps` that hands out what learns and what was learnt."""

    learning: Learning

    def retriever(
        self,
        k: int = 5,
        *,
        tech_stack: Sequence[str] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - LangChain's word
        outcome_weight: float = 0.0,
        half_life: float | None = None,
        min_score: float = 0.0,
        **fields: Any,
    ) -> LearningRetriever:
        """A LangChain retriever over what finished runs taught.

        Args:
            k: How many documents at most.
            tech_stack: As for `learning.similar`, as are the next ones.
            filter: As there.
            outcome_weight: As there.
            half_life: As there.
            min_score: As there.
            fields: What any retriever has: `tags`, `metadata`.

        Raises:
            ValueError: If a value makes no sense.
        """
        return LearningRetriever(
            learning=self.learning,
            k=k,
            tech_stack=tuple(tech_stack),
            filter=None if filter is None else dict(filter),
            outcome_weight=outcome_weight,
            half_life=half_life,
            min_score=min_score,
            **fields,
        )
