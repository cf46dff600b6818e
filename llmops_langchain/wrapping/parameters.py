"""Settings and call parameters: which of them change an answer, and in which part they stand."""

from collections.abc import Container, Mapping
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from llmops_langchain.wrapping.canonical import canonical

__all__ = ["NESTED", "SILENT_FIELDS", "cleared", "parameter_parts", "speaks", "telling"]

# Parameters that say what tools there are and how they are chosen.
_TOOLS = frozenset(
    (
        "disable_parallel_tool_use",
        "function_call",
        "functions",
        "parallel_tool_calls",
        "tool_choice",
        "tool_config",
        "tools",
    )
)

# Parameters that say what the answer must look like.
_SCHEMA = frozenset(
    (
        "format",
        "json_schema",
        "output_config",
        "output_format",
        "response_format",
        "response_json_schema",
        "response_mime_type",
        "response_schema",
    )
)
_GROUPED = _TOOLS | _SCHEMA

# Transport, bookkeeping, the price of the call, and how the answer is delivered.
_SILENT = frozenset(
    (
        "default_request_timeout",
        "disable_streaming",
        "include_response_headers",
        "ls_structured_output_format",
        "max_retries",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "request_timeout",
        "service_tier",
        "stream",
        "stream_chunk_timeout",
        "stream_options",
        "stream_usage",
        "streaming",
        "timeout",
    )
)

SILENT_FIELDS = frozenset(
    (
        "anthropic_proxy",
        "async_client",
        "cache",
        "callback_manager",
        "callbacks",
        "client",
        "custom_get_token_ids",
        "http_async_client",
        "http_client",
        "http_socket_options",
        "i",  # LangChain's fake models count their answers in it
        "name",
        "openai_proxy",
        "profile",
        "rate_limiter",
        "root_async_client",
        "root_client",
        "tags",
        "tiktoken_model_name",
        "verbose",
    )
)
"""Fields of chat models that are no settings of a request."""

# Settings that hold settings of the same names.
NESTED = ("extra_body", "model_kwargs")

# Headers may choose a model or a beta; these prove who asks, or name the request.
_HEADERS = ("additional_headers", "default_headers", "extra_headers")
_SILENT_HEADERS = frozenset(
    (
        "api-key",
        "authorization",
        "idempotency-key",
        "traceparent",
        "tracestate",
        "user-agent",
        "x-api-key",
        "x-client-request-id",
        "x-request-id",
    )
)


@lru_cache(maxsize=1024)
def speaks(name: str) -> bool:
    """Whether a setting may change an answer; who pays, and how that is proved, does not."""
    return name not in _SILENT and not name.endswith(("api_key", "token_provider"))


def telling(given: Mapping[str, Any], silent: Container[str] = ()) -> dict[str, Any]:
    """What of the settings may change an answer; one that is `None` is none."""
    return cleared(
        {
            name: value
            for name, value in given.items()
            if value is not None and name not in silent and speaks(name)
        }
    )


def cleared(told: dict[str, Any]) -> dict[str, Any]:
    """The settings, with those that hold others cleared of what is silent there."""
    for name in NESTED:
        if (inner := told.get(name)) and isinstance(inner, Mapping):
            told[name] = telling(inner)
    for name in _HEADERS:
        if (sent := told.get(name)) and isinstance(sent, Mapping):
            told[name] = {
                header: value
                for header, value in sent.items()
                if str(header).lower() not in _SILENT_HEADERS
            }
    return told


def parameter_parts(told: Mapping[str, Any]) -> tuple[bytes, bytes, bytes]:
    """Parameters in their one form by part: tools, schema, and the rest.

    Raises:
        TypeError: If one cannot be written down.
    """
    if _GROUPED.isdisjoint(told):
        return b"{}", b"{}", canonical(told)
    tools = {name: _described(value) for name, value in told.items() if name in _TOOLS}
    schema = {name: value for name, value in told.items() if name in _SCHEMA}
    rest = {name: value for name, value in told.items() if name not in _GROUPED}
    return canonical(tools), canonical(schema), canonical(rest)


def _described(tools: Any) -> Any:
    """Tools as a model is told of them: a router binds them before it knows the model."""
    return list(map(_form, tools)) if isinstance(tools, list | tuple) else tools


def _form(tool: Any) -> Any:
    if isinstance(tool, BaseTool):
        # Providers have fields of their own there.
        return [convert_to_openai_tool(tool), tool.extras]
    return convert_to_openai_tool(tool) if isinstance(tool, FunctionType | MethodType) else tool
