"""The schema of a tool as text, remembered for as long as the tool lives."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from weakref import ref

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from llmops_langchain.tokens.memo import copied
from llmops_langchain.tokens.parts import as_json

__all__ = ["Tool", "tool_text"]

Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
"""Whatever `bind_tools` takes."""

_SAID = ("name", "description", "args_schema", "metadata", "__doc__")
"""What of a tool its schema comes from."""


class _Known(NamedTuple):
    alive: ref[Any]
    said: tuple[Any, ...]
    text: str


_known: dict[int, _Known] = {}


def tool_text(tool: Tool) -> str:
    """Return a tool's schema as JSON; providers render it in formats of their own.

    It takes 0.3 ms to work out, and a look after that, unless the tool was changed.
    """
    if isinstance(tool, Mapping):
        return as_json(tool)
    known, said = _known.get(id(tool)), tuple(getattr(tool, key, None) for key in _SAID)
    if known is not None and known.said == said:
        return known.text
    text = as_json(convert_to_openai_tool(tool))
    key = id(tool)
    _known[key] = _Known(ref(tool, lambda _: _known.pop(key, None)), copied(said), text)
    return text
