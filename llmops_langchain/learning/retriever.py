"""Similar experiences as LangChain's documents."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PositiveInt, PrivateAttr
from typing_extensions import override

from llmops_langchain.errors import StorageError
from llmops_langchain.learning.experience import Match
from llmops_langchain.learning.learning import Learning
from llmops_langchain.wrapping.scoping import scope_of

__all__ = ["LearningRetriever"]

logger = logging.getLogger(__name__)


class LearningRetriever(BaseRetriever):
    """Finds what was done before that is like a query; a retriever as any other.

    A document's text is the task, how it went, and its lessons; `metadata` has `score` (0 to 1),
    `success`, `project_id`, `tech_stack`, and what else was learnt. Each call may say `k`,
    `filter` and the other fields anew: `retriever.invoke(task, k=3, filter={"success": True})`.
    An empty query and a database that is away find nothing; the latter is logged once.

    Args:
        learning: Where to search: `ops.learning`.
        k: How many documents at most.
        tech_stack: Experiences with the like come first.
        filter: What they must be: fields of `Filter` by name.
        outcome_weight: 0 to 1: how far success counts.
        half_life: Seconds after which an experience counts half.
        min_score: What scores less is left out.

    Example:
        >>> from llmops_langchain import LLMOps
        >>> with LLMOps("sqlite://") as ops:
        ...     _ = ops.learning.learn(
        ...         project_id="shop", task_description="Add a login page", success=True
        ...     )
        ...     found = ops.retriever(k=1).invoke("Build the login")
        >>> found[0].metadata["project_id"], found[0].metadata["success"]
        ('shop', True)
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    learning: Learning = Field(exclude=True, repr=False)
    k: PositiveInt = 5
    tech_stack: tuple[str, ...] = ()
    filter: dict[str, Any] | None = None
    outcome_weight: float = Field(default=0.0, ge=0, le=1)
    half_life: float | None = Field(default=None, gt=0)
    min_score: float = 0.0

    _told: bool = PrivateAttr(default=False)

    @override
    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        tech_stack: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        outcome_weight: float | None = None,
        half_life: float | None = None,
        min_score: float | None = None,
    ) -> list[Document]:
        if not query.strip():
            return []
        try:
            matches = self.learning.similar(
                query,
                self.tech_stack if tech_stack is None else tech_stack,
                self.k if k is None else k,
                filter=self.filter if filter is None else filter,
                outcome_weight=self.outcome_weight if outcome_weight is None else outcome_weight,
                half_life=self.half_life if half_life is None else half_life,
                min_score=self.min_score if min_score is None else min_score,
                workspace=scope_of(run_manager.metadata).workspace,
            )
        except StorageError as error:
            self._tell(error)
            return []
        return [_document(each) for each in matches]

    @override
    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **said: Any,
    ) -> list[Document]:
        import asyncio

        found = self._get_relevant_documents
        return await asyncio.to_thread(found, query, run_manager=run_manager.get_sync(), **said)

    def _tell(self, error: StorageError) -> None:
        if not self._told:
            self._told = True
            logger.warning("no experiences are found: %s", type(error).__name__)


def _document(match: Match) -> Document:
    run = match.experience
    said = run.to_dict()
    rest = {name: said[name] for name in said if name != "task_description" and said[name]}
    metadata = {
        **rest,
        "success": run.success,
        "score": match.score,
        "similarity": match.similarity,
        "count": match.count,
        "successes": match.successes,
    }
    return Document(id=str(run.id), page_content=_text(match), metadata=metadata)


def _text(match: Match) -> str:
    run = match.experience
    went = "It succeeded" if run.success else "It failed"
    of = f" ({match.successes} of {match.count} runs succeeded)" if match.count > 1 else ""
    why = f": {run.failure}" if run.failure and not run.success else ""
    return "\n".join([run.task_description, f"{went}{why}{of}.", *run.lessons])
