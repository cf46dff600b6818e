"""What one provider's requests have that another refuses: taken out on the way to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.text.tables import listed

__all__ = ["understood_by"]

_MARK = "cache_control"
"""Anthropic's mark of what it shall keep in its prompt cache."""

_KNOW_IT = frozenset(
    listed("amazon_bedrock anthropic anthropic_bedrock anthropic_vertex litellm openrouter")
)
"""Who takes it, in LangChain's words."""


def understood_by(
    choice: ModelChoice, messages: list[BaseMessage], arguments: dict[str, Any]
) -> tuple[list[BaseMessage], dict[str, Any]]:
    """The request without marks that this choice's provider would refuse.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> block = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}
        >>> other = ModelChoice("openai:gpt-5-mini")
        >>> understood_by(other, [HumanMessage([block])], {})[0][0].content
        [{'type': 'text', 'text': 'hi'}]
    """
    if choice.provider_name is None or choice.provider_name in _KNOW_IT:
        return messages, arguments
    return [_message(each) for each in messages], _mapping(arguments)


def _message(message: BaseMessage) -> BaseMessage:
    if not isinstance(message.content, list):
        return message
    content = [_mapping(block) if isinstance(block, dict) else block for block in message.content]
    is_clean = all(new is old for new, old in zip(content, message.content, strict=True))
    return message if is_clean else message.model_copy(update={"content": content})


def _mapping(given: dict[str, Any]) -> dict[str, Any]:
    """The same mapping, or a copy without the mark where it or a list in it has one."""
    cleaned = {name: _value(value) for name, value in given.items() if name != _MARK}
    is_clean = len(cleaned) == len(given) and all(cleaned[name] is given[name] for name in given)
    return given if is_clean else cleaned


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return _mapping(value)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return value
    told = [_value(each) if isinstance(each, Mapping) else each for each in value]
    return value if all(a is b for a, b in zip(told, value, strict=True)) else told
