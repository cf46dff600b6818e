"""Async twins: a method of the same name with an `a`, which runs it in a worker thread."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

__all__ = ["hop"]

_Self = TypeVar("_Self")
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def hop(
    method: Callable[Concatenate[_Self, _Given], _Result],
) -> Callable[Concatenate[_Self, _Given], Coroutine[Any, Any, _Result]]:
    """The twin of a method, for asyncio; arguments, results and errors are the method's own.

    Example:
        >>> class Greeter:
        ...     def greet(self, name: str) -> str:
        ...         return f"hello {name}"
        ...
        ...     agreet = hop(greet)
        >>> asyncio.run(Greeter().agreet("Ann"))
        'hello Ann'
    """
    name = method.__name__

    @wraps(method)
    async def twin(self: _Self, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        # By its name: a subclass that overrides the method has overridden its twin too.
        result: _Result = await asyncio.to_thread(getattr(self, name), *args, **kwargs)
        return result

    twin.__name__ = f"a{name}"
    twin.__qualname__ = f"{method.__qualname__.removesuffix(name)}a{name}"
    twin.__doc__ = f"`{name}` in a worker thread."
    return cast("Callable[Concatenate[_Self, _Given], Coroutine[Any, Any, _Result]]", twin)
