"""What an `LLMOps` offers to learn from runs, and to use what was learnt."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel

from llmops_langchain.callbacks.paid import paid
from llmops_langchain.graph import learn_node, lessons_node
from llmops_langchain.learning import (
    ExperienceExampleSelector,
    ExperienceRecorder,
    Learning,
    LearningRetriever,
)
from llmops_langchain.learning.judged import Judge, Writer
from llmops_langchain.learning.recorder import Spent
from llmops_langchain.ops.parts import Parts

if TYPE_CHECKING:
    from llmops_langchain.middleware import LessonsMiddleware

__all__ = ["Learners"]


class Learners:
    """The part of `LLMOps` that hands out what learns and what was learnt."""

    learning: Learning
    _parts: Parts

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

    def recorder(
        self,
        judge: Judge | None = None,
        *,
        task: Callable[[Any], str] | None = None,
        tech_stack: Sequence[str] = (),
        writer: BaseChatModel | Writer | None = None,
    ) -> ExperienceRecorder:
        """For `config={"callbacks": [ops.recorder()]}`: learns from each run that ends.

        Args:
            judge: Says how a run went; without one, what raised no error succeeded.
            task: Takes the task out of a run's input.
            tech_stack: What the runs are done with.
            writer: A chat model, or a function, that writes lessons.
        """
        prices = self._parts.prices
        return ExperienceRecorder(
            self.learning,
            judge=judge,
            task=task,
            tech_stack=tech_stack,
            writer=writer,
            spent=lambda response: Spent(*paid(response, prices)),
        )

    def lessons(self, **options: Any) -> "LessonsMiddleware":
        """Middleware for `create_agent` that shows lessons of similar runs.

        Args:
            options: As for `LessonsMiddleware`.

        Raises:
            MissingExtraError: If LangChain is not installed (`[agents]`).
        """
        from llmops_langchain.middleware import LessonsMiddleware

        return LessonsMiddleware(self.learning, **options)

    def lessons_node(self, **options: Any) -> Callable[..., Any]:
        """A LangGraph node that writes lessons to the state; options as for `lessons_node`."""
        return lessons_node(self.learning, **options)

    def learn_node(self, **options: Any) -> Callable[..., Any]:
        """A LangGraph node that learns how a run went; options as for `learn_node`."""
        return learn_node(self.learning, **options)

    def example_selector(self, **options: Any) -> ExperienceExampleSelector:
        """Similar successes for a few-shot prompt; options as for `ExperienceExampleSelector`."""
        return ExperienceExampleSelector(self.learning, **options)
