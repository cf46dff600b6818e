"""What a request to a model is made of, and what its answer says of it."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from llmops_langchain.errors import MissingExtraError
from llmops_langchain.tokens.counting import TokenCounter

try:
    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
except ModuleNotFoundError as error:
    raise MissingExtraError(error.name or "langchain", extra="agents") from error

__all__ = ["FormatTokens", "has_media", "history_of", "input_tokens"]

_MEDIA = (
    "image",
    "input_image",
    "audio",
    "input_audio",
    "video",
    "file",
    "input_file",
    "document",
    "media",
)
"""How the types of content blocks begin whose tokens are guessed."""

_MAX_FORMATS = 256
"""Formats whose tokens are remembered; an agent has one or two."""


def history_of(request: ModelRequest[Any]) -> list[BaseMessage]:
    """Return the messages as the model would be sent them, the system's first."""
    return [*([request.system_message] if request.system_message else []), *request.messages]


def input_tokens(response: ModelResponse[Any]) -> int:
    """Return the tokens of the prompt as the provider counted them; 0 if it does not say."""
    for message in reversed(response.result):
        if isinstance(message, AIMessage) and message.usage_metadata:
            return message.usage_metadata.get("input_tokens", 0)
    return 0


def has_media(message: BaseMessage) -> bool:
    """Whether a message has more than text in it: its tokens are a guess then."""
    if isinstance(message.content, str):
        return False
    kinds = (block.get("type", "") for block in message.content if isinstance(block, dict))
    return any(kind.startswith(_MEDIA) for kind in kinds)


class FormatTokens:
    """Counts the schemas of answer formats, each once: to write one down takes milliseconds."""

    def __init__(self) -> None:
        # Each with its format, which is kept so that its id stays its own.
        self._known: dict[tuple[int, int], tuple[object, int]] = {}

    def __call__(self, request: ModelRequest[Any], counter: TokenCounter) -> int:
        """Return the tokens of a request's answer format, sent as a schema or as tools."""
        asked = request.response_format
        if asked is None:
            return 0
        key = (id(asked), id(counter))
        if key not in self._known:
            if len(self._known) >= _MAX_FORMATS:
                self._known.clear()
            self._known[key] = (asked, counter.tools(_schemas(asked)))
        return self._known[key][1]


def _schemas(asked: Any) -> list[dict[str, Any]]:
    if isinstance(asked, ProviderStrategy):
        specs: Sequence[Any] = [asked.schema_spec]
    elif isinstance(asked, ToolStrategy):
        specs = asked.schema_specs
    else:  # the agent chooses between the two, by what the model can do
        schema = asked.schema if isinstance(asked, AutoStrategy) else asked
        specs = ToolStrategy(schema).schema_specs
    return [
        {"name": spec.name, "description": spec.description, "parameters": spec.json_schema}
        for spec in specs
    ]
