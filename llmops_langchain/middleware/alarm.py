"""Tells whoever watches an agent: that a prompt was cut, and that a window fills."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from llmops_langchain.errors import MissingExtraError
from llmops_langchain.ledger import CONTEXT_WARNING, TRIM
from llmops_langchain.memory import ContextStatus, Trim

try:
    from langchain.agents.middleware import ModelRequest
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "langchain", extra="agents") from error

__all__ = ["Alarm"]

_GRAVITY = {"ok": 0, "warning": 1, "critical": 2}

_logger = logging.getLogger(__name__)


class Alarm:
    """Writes to the graph's `custom` stream, calls `on_warning`, and logs what fails once a class.

    Args:
        on_warning: Called with the status of a prompt that comes to fill much of its window.
    """

    def __init__(self, on_warning: Callable[[ContextStatus], object] | None) -> None:
        self._on_warning = on_warning
        self._logged: set[tuple[str, str]] = set()

    def tell(
        self, request: ModelRequest[Any], trim: Trim, status: ContextStatus, before: str
    ) -> None:
        """Tell of a cut that has moved, and of a window that is fuller than it was `before`."""
        try:
            if trim.moved:
                self._stream(request, {"type": TRIM, **_figures(trim)})
            if _GRAVITY[status.status] > _GRAVITY[before]:
                self._stream(request, {"type": CONTEXT_WARNING, **asdict(status)})
                if self._on_warning is not None:
                    self._on_warning(status)
        except Exception as error:  # noqa: BLE001 - whoever watches does not break the call
            self.failed("a cut or a warning was not told", error)

    def failed(self, what: str, error: Exception) -> None:
        """Log an error that the call does not hear of."""
        name = type(error).__name__
        if (what, name) not in self._logged:
            self._logged.add((what, name))
            _logger.warning("%s: %s", what, name)

    @staticmethod
    def _stream(request: ModelRequest[Any], told: dict[str, Any]) -> None:
        if request.runtime is not None:
            request.runtime.stream_writer(told)


def _figures(trim: Trim) -> dict[str, int]:
    """Figures of the whole cut; `Trim.reasons` would say more, and read every message for it."""
    return {
        "messages": len(trim.messages),
        "removed": trim.length - len(trim.messages),
        "freed_tokens": trim.freed_tokens,
    }
