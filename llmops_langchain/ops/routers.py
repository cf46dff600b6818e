"""What an `LLMOps` offers to ask the right model."""

from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from llmops_langchain.clock import Clock
from llmops_langchain.ops.parts import Parts
from llmops_langchain.routing import Limits, ModelChoice, ModelRouter, Target
from llmops_langchain.routing.attempts import Failed
from llmops_langchain.routing.health import Health
from llmops_langchain.routing.learner import Learner

__all__ = ["Routers"]


class Routers:
    """The part of `LLMOps` that makes routers."""

    _parts: Parts
    _clock: Clock

    def router(
        self,
        *choices: ModelChoice | BaseChatModel | str,
        target: Target | float = 0.95,
        limits: Limits | None = None,
        allow_unpriced: bool = False,
        embeddings: Embeddings | None = None,
        **fields: Any,
    ) -> ModelRouter:
        """A chat model that sends each call to the cheapest of these that is good enough.

        Prices are this app's, and attempts that failed are recorded as events of their own, where
        the call is (`track`, a handler, or a guard). `guard` and `wrap` take it as any model:
        each attempt then asks the budgets, and one without room goes to a cheaper choice.

        Args:
            choices: Who may be asked: `ModelChoice`, a chat model, or its name.
            target: As for `ModelRouter`, as are `limits` and `allow_unpriced`.
            limits: As there.
            allow_unpriced: As there.
            embeddings: What the router learns by; by default the best on this machine.
            fields: What any chat model has: `rate_limiter`, `tags`, `metadata`, ….

        Raises:
            ConfigurationError: If there is no choice, or two have one name.
        """
        return ModelRouter(
            *choices,
            target=target,
            limits=limits,
            allow_unpriced=allow_unpriced,
            prices=self._parts.prices,
            learner=Learner(self._clock, embeddings),
            health=Health(self._clock),
            on_failure=self._told,
            **fields,
        )

    def _told(self, failed: Failed) -> None:
        self._parts.usage.attempt_failed(
            failed.attempt_id,
            failed.run_id,
            failed.error,
            metadata=failed.metadata,
            latency=failed.latency,
        )
