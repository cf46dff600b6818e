"""What an `LLMOps` offers to ask the right model."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import LLMResult
from pydantic import BaseModel

from llmops_langchain.ledger import Scope
from llmops_langchain.models import nano_dollars
from llmops_langchain.ops.parts import Parts
from llmops_langchain.routing import Limits, ModelChoice, ModelRouter, Target
from llmops_langchain.routing.attempts import Ended
from llmops_langchain.routing.verifiers import Verifier

__all__ = ["Routers"]


class Routers:
    """The part of `LLMOps` that makes routers."""

    _parts: Parts

    def router(
        self,
        *choices: ModelChoice | BaseChatModel | str,
        target: Target | float = 0.95,
        limits: Limits | None = None,
        verify: Verifier | type[BaseModel] | Sequence[Any] | None = None,
        allow_unpriced: bool = False,
        embeddings: Embeddings | None = None,
        pool: str = "default",
        **fields: Any,
    ) -> ModelRouter:
        """A chat model that sends each call to the cheapest of these that is good enough.

        Prices are this app's, and attempts that failed are recorded as events of their own, where
        the call is (`track`, a handler, or a guard). `guard` and `wrap` take it as any model:
        each attempt then asks the budgets, and one without room goes to a cheaper choice. What is
        decided and learnt is kept in the database, and shared by all processes on it.

        Args:
            choices: Who may be asked: `ModelChoice`, a chat model, or its name.
            target: As for `ModelRouter`, as are `limits`, `verify` and `allow_unpriced`.
            limits: As there.
            verify: As there.
            allow_unpriced: As there.
            embeddings: What the router learns by; by default the best on this machine.
            pool: Routers of one pool learn together; a name of its own keeps this one apart.
            fields: What any chat model has: `rate_limiter`, `tags`, `metadata`, ….

        Raises:
            ConfigurationError: If there is no choice, or two have one name.
        """
        router = ModelRouter(
            *choices,
            target=target,
            limits=limits,
            verify=verify,
            allow_unpriced=allow_unpriced,
            prices=self._parts.prices,
            logbook=self._parts.logbooks.of(pool, embeddings),
            room=self._room,
            on_attempt=self._told,
            **fields,
        )
        self._parts.routers[id(router)] = router
        return router

    def _room(self, scope: Scope) -> int | None:
        """Nano-dollars that hard budgets leave to a caller; `None`: none of them bounds him."""
        if not self._parts.reservations.known(scope).budgets:
            return None
        found = self._parts.budgets.left(scope)
        return min((nano_dollars(max(each, Decimal(0))) for each in found), default=None)

    def _told(self, ended: Ended) -> None:
        if ended.stands:
            self._parts.usage.counted(ended.run_id)
            return
        answer = ended.answer
        self._parts.usage.attempted(
            ended.attempt_id,
            ended.run_id,
            ended.error,
            None if answer is None else LLMResult(generations=[list(answer.generations)]),
            metadata=ended.metadata,
            latency=ended.latency,
        )
