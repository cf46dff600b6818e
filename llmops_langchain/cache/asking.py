"""A call that is under way: what it calls of itself passes the cache by."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from llmops_langchain.cache.call import Call
from llmops_langchain.ledger import holding

__all__ = ["inside", "is_inside", "is_led"]

# A model without an async method of its own enters `_agenerate` and then `_generate`; others make
# an answer of their own stream. The outermost of them looks into the cache.
_inside: ContextVar[object] = ContextVar("llmops_inside_cached", default=None)

# A call that is made again inside itself, by a copy of the model, must not wait for itself.
_NONE: frozenset[bytes] = frozenset()
_led: ContextVar[frozenset[bytes]] = ContextVar("llmops_led_calls", default=_NONE)


@contextmanager
def inside(model: object, call: Call | None) -> Iterator[None]:
    """While `model` is asked: what it calls of itself passes the cache by."""
    keys = _led.get() if call is None else _led.get() | {call.key}
    with holding(_inside, model), holding(_led, keys):
        yield


def is_led(key: bytes) -> bool:
    """Whether this is made inside a call of the same key."""
    return key in _led.get()


def is_inside(model: object) -> bool:
    """Whether this is a call of `model` by itself."""
    return _inside.get() is model
