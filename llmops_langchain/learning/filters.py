"""Which experiences may be found."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.checking import stack_of

__all__ = ["Filter", "filter_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What an experience must be to be found; what is `None` does not matter."""

    project_id: str | None = None
    tech_stack: tuple[str, ...] | None = None
    """It has all of these in its stack."""
    success: bool | None = None
    model: str | None = None
    agent: str | None = None
    pattern: str | None = None
    failure: str | None = None
    """Its category."""
    since: float | None = None
    """It ended then or later: UTC seconds since the Unix epoch."""
    until: float | None = None
    """It ended before."""


_NAMES = tuple(each.name for each in fields(Filter))


def filter_of(given: Filter | Mapping[str, Any] | None) -> Filter:
    """The filter that is meant.

    Args:
        given: A filter, or its fields by name.

    Raises:
        ConfigurationError: If a name is unknown, or a value is of another type.

    Example:
        >>> filter_of({"success": True, "tech_stack": ["React"]}).tech_stack
        ('react',)
    """
    if given is None or isinstance(given, Filter):
        return given or Filter()
    if unknown := sorted(set(given) - set(_NAMES), key=str):
        msg = f"nothing can be filtered by {unknown[0]!r}; there is {', '.join(_NAMES)}"
        raise ConfigurationError(msg)
    said = {name: value for name, value in given.items() if value is not None}
    if "tech_stack" in said:
        said["tech_stack"] = stack_of(said["tech_stack"])
    for name, value in said.items():
        if not isinstance(value, _KINDS.get(name, str)):
            msg = f"the filter `{name}` does not take a {type(value).__name__}"
            raise ConfigurationError(msg)
    return Filter(**said)


_KINDS: dict[str, Any] = {
    "success": bool,
    "since": int | float,
    "until": int | float,
    "tech_stack": tuple,
}
