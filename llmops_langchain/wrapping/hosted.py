"""Calls whose answer depends on what the provider keeps or runs: no cache may answer them."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from llmops_langchain.wrapping.parameters import NESTED

__all__ = ["names_hosted", "refuse_hosted"]

# A conversation, a container or a task that the provider keeps.
_KEPT = frozenset(
    (
        "background",
        "container",
        "conversation",
        "previous_response_id",
        "reuse_last_container",
        "use_previous_response_id",
    )
)

# Searches and tools that are switched on by a parameter of their own.
_RUN = frozenset(
    (
        "data_sources",
        "enable_search",
        "mcp_servers",
        "plugins",
        "search_parameters",
        "web_search_options",
    )
)
_HOSTED = _KEPT | _RUN

_WATCHED = _HOSTED.union(NESTED, ("tools",))

# What a tool that runs in the app says of its arguments, by provider.
_SCHEMAS = frozenset(
    (
        "args_schema",
        "cachePoint",  # Bedrock's mark among the tools is no tool
        "input_schema",
        "parameter_definitions",
        "parameters",
        "properties",
        "toolSpec",
    )
)
_DECLARATIONS = frozenset(("function_declarations", "functionDeclarations"))

# Tools whose schema the provider knows and that run in the app all the same.
_IN_THE_APP = re.compile(
    r"function|custom|apply_patch|local_shell|(?:bash|computer|memory|text_editor)_\d{8}"
)


def refuse_hosted(told: Mapping[str, Any]) -> None:
    """Raise for settings or parameters that make the provider keep a state or run a tool.

    Raises:
        TypeError: If there are any; such a call has no key.
    """
    if _WATCHED.isdisjoint(told):
        return
    for name in sorted(_HOSTED & told.keys()):
        # An empty choice of options switches a search on, as any other does.
        if told[name] is not None and told[name] is not False:
            msg = f"the answer depends on what the provider keeps or runs: `{name}`"
            raise TypeError(msg)
    if (tools := told.get("tools")) and isinstance(tools, Collection):
        _refuse_tools(tools)
    for name in NESTED:
        if (inner := told.get(name)) and isinstance(inner, Mapping):
            refuse_hosted(inner)


def names_hosted(text: str) -> bool:
    """Whether a text of unknown form may speak of such a setting, or of tools at all."""
    return any(f"{quote}{name}{quote}" in text for name in (*_HOSTED, "tools") for quote in "'\"")


def _refuse_tools(tools: Iterable[object]) -> None:
    for tool in tools:
        given = tool.model_dump() if isinstance(tool, BaseModel) else tool
        if isinstance(given, Mapping) and _runs_at_provider(given):
            name = given.get("type") or ", ".join(map(str, given))
            msg = f"the tool {name!r} runs at the provider"
            raise TypeError(msg)


def _runs_at_provider(tool: Mapping[str, Any]) -> bool:
    """Whether it has no schema of its own: then the app has no function that could answer it."""
    kind = tool.get("type")
    if isinstance(kind, str) and _IN_THE_APP.fullmatch(kind):
        return False
    told = {name for name, value in tool.items() if value is not None}
    if told & _DECLARATIONS:  # Gemini's: beside functions it may name searches
        return not told <= _DECLARATIONS
    return told.isdisjoint(_SCHEMAS)
