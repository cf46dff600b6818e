"""Values as bytes, in one form only: equal values, equal bytes, whatever the order of a dict."""

from collections.abc import Mapping
from functools import lru_cache, singledispatch
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic.errors import PydanticUserError

__all__ = ["canonical", "exact", "plain", "schema_of", "written"]

V = TypeVar("V")

_TOO_LARGE = 2.0**63
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def canonical(value: object) -> bytes:
    """The one form of a value.

    Raises:
        TypeError: If a part of it cannot be written down.
    """
    form = written(value)
    # A search is cheaper than a walk through a large value.
    if b"null" in form:
        exact(value)
    return form


def written(value: object) -> bytes:
    """The one form of a value whose numbers are `exact`.

    Raises:
        TypeError: If a part of it cannot be written down.
    """
    return orjson.dumps(value, default=plain, option=_OPTIONS)


def exact(value: V) -> V:
    """The value itself.

    Raises:
        TypeError: If orjson cannot tell a number in it from another value: it writes NaN as `null`
            and reads integers of more than 64 bits as floats.
    """
    if not _is_exact(value):
        msg = "a number is not finite or too large"
        raise TypeError(msg)
    return value


def _is_exact(value: object) -> bool:
    if isinstance(value, float):
        return -_TOO_LARGE < value < _TOO_LARGE
    if not isinstance(value, (dict, list, tuple)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    # No generator: this runs for every tool call of a history.
    for each in inner:  # noqa: SIM110 - as above
        if not isinstance(each, str) and not _is_exact(each):
            return False
    return True


@lru_cache(maxsize=256)
def schema_of(described: type) -> dict[str, Any]:
    """The JSON schema of a class, so that an edited class is another one.

    Raises:
        TypeError: If it has none.
    """
    try:
        return TypeAdapter(described).json_schema()
    except PydanticUserError as error:
        msg = f"{described.__qualname__!r} has no schema"
        raise TypeError(msg) from error


@singledispatch
def plain(value: object) -> Any:
    """What JSON does not know, in a form that it does; register a class to give it one."""
    msg = f"{type(value).__name__!r} has no plain form"
    raise TypeError(msg)


@plain.register
def _(value: SecretStr) -> str:  # noqa: ARG001 - who pays does not change the answer
    return ""


@plain.register
def _(value: BaseModel) -> list[Any]:
    return [type(value).__qualname__, value.model_dump()]


@plain.register
def _(value: type) -> dict[str, Any]:
    return schema_of(value)


@plain.register(set)
@plain.register(frozenset)
def _(value: set[Any]) -> list[Any]:
    return sorted(value)


@plain.register
def _(value: bytes) -> str:
    return value.hex()


@plain.register
def _(value: Mapping) -> dict[Any, Any]:  # type: ignore[type-arg]  # dispatch knows plain classes only
    return dict(value)
