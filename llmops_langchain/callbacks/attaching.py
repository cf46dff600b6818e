"""Add a handler to every LangChain run of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from langchain_core.tracers.context import register_configure_hook

from llmops_langchain.callbacks.usage import UsageCallbackHandler
from llmops_langchain.ledger import holding

__all__ = ["attached"]

# One hook for the life of the process: core keeps each registered hook for ever.
_attached: ContextVar[UsageCallbackHandler | None] = ContextVar("llmops_usage", default=None)
register_configure_hook(_attached, inheritable=True)


@contextmanager
def attached(handler: UsageCallbackHandler) -> Iterator[None]:
    """Add `handler` to every LangChain run that starts inside, in this task and its children."""
    with holding(_attached, handler):
        yield
