"""Keeps `track` in force for a whole request of a web app, to its last streamed byte."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from llmops_langchain.errors import ConfigurationError, StorageError

__all__ = ["TrackingMiddleware"]

logger = logging.getLogger(__name__)

Request = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Request, Receive, Send], Awaitable[None]]

Named = Mapping[str, Any]
Resolver = Callable[[Request], Named | Awaitable[Named | None] | None]

_FIELDS = frozenset({"workspace", "project", "task", "user", "agent", "thread", "tags"})
_LAST = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


class Tracks(Protocol):
    """What the middleware needs of `LLMOps`."""

    @property
    def track(self) -> Callable[..., AbstractContextManager[object]]:
        """Attribute and record every model call inside."""

    async def aflush(self) -> None:
        """Bring everything recorded so far to the database."""


class TrackingMiddleware:
    """Calls of a model made for a request belong to the scope that you name for the request.

    It is in force for streamed bodies, background tasks and websockets too, in async and in sync
    endpoints, and requests at the same time do not see each other's. It is plain ASGI: for
    Starlette and FastAPI `app.add_middleware(TrackingMiddleware, ops=ops, scope=whose)`, for any
    other app `TrackingMiddleware(app, ops, whose)`.

    Nothing that a client sends names a scope unless your own function reads it. If that function
    raises, so does the request: it is answered by the app's error handling and goes no further,
    since without a scope it would pass the limits of its owner.

    Args:
        app: The ASGI app to wrap.
        ops: An `LLMOps`.
        scope: What `ops.track` is to be given: a mapping, or a function, sync or async, that makes
            one from the request's ASGI scope (headers, path, `state`, …). A sync one runs in the
            event loop, so it must not wait. `None`, given or returned, names nobody: the calls
            are recorded all the same.
        flush: Bring what was recorded to the database before the server shuts down.

    Raises:
        ConfigurationError: If a mapping names what `ops.track` does not know.

    Example:
        >>> from llmops_langchain import LLMOps
        >>> async def app(scope, receive, send): ...
        >>> def whose(request):
        ...     return {"project": "shop", "user": request["state"]["user_id"]}
        >>> with LLMOps("sqlite://") as ops:
        ...     app = TrackingMiddleware(app, ops, whose)
    """

    def __init__(
        self,
        app: App,
        ops: Tracks,
        scope: Named | Resolver | None = None,
        *,
        flush: bool = True,
    ) -> None:
        self._app, self._ops, self._flush = app, ops, flush
        self._scope = scope if callable(scope) else _checked(scope)

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Serve one request or connection, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._flushing(send) if self._flush else send)
            return
        # An ASGI app returns after its last byte and its background tasks, so this holds for them.
        with self._ops.track(**await self._named(scope)):
            await self._app(scope, receive, send)

    async def _named(self, request: Request) -> dict[str, Any]:
        if not callable(self._scope):
            return self._scope
        found = self._scope(request)
        return _checked(await found if inspect.isawaitable(found) else found)

    def _flushing(self, send: Send) -> Send:
        """Flush before the server is told that it may go: it waits no longer after that."""

        async def flush_and_send(message: Message) -> None:
            if message["type"] in _LAST:
                await self._flush_quietly()
            await send(message)

        return flush_and_send

    async def _flush_quietly(self) -> None:
        try:
            await self._ops.aflush()
        except StorageError as error:
            logger.warning("events wait for the database: %s", error)


def _checked(named: Named | None) -> dict[str, Any]:
    """Arguments of `track`; an id may be a number, or whatever a database makes ids of."""
    if unknown := sorted(map(str, (named or {}).keys() - _FIELDS)):
        msg = f"a scope has {sorted(_FIELDS)}, got {unknown}"
        raise ConfigurationError(msg)
    given = {name: value for name, value in (named or {}).items() if value is not None}
    return {name: value if name == "tags" else str(value) for name, value in given.items()}
