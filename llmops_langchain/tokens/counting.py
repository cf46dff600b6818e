"""Count tokens of texts, messages and tools."""

from collections.abc import Iterable
from functools import cache, lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, MessageLikeRepresentation, convert_to_messages

from llmops_langchain.tokens.families import Family, family_of
from llmops_langchain.tokens.memo import CountMemo
from llmops_langchain.tokens.parts import (
    MESSAGE_TOKENS,
    Tool,
    has_calls,
    message_parts,
    tool_text,
)
from llmops_langchain.tokens.vocabularies import Vocabulary, vocabulary

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, BaseLanguageModel

__all__ = ["TokenCounter", "count_tokens", "counter_for", "model_name"]

_NAME_ATTRIBUTES = ("model_name", "model", "model_id", "deployment_name")


class TokenCounter:
    """Counts for one family of models; get one from `counter_for`.

    Safe to share between threads. Counts of texts are remembered, so what was counted once costs
    a look-up. Texts count as the vocabulary says; the format around them as OpenAI's chat format;
    tools, images, sound and files are estimates (`llmops_langchain.tokens.parts`) in any case.

    For all messages and tools `messages(ms, tools)` equals
    `reply_overhead + tools(tools) + sum(map(message, ms))`.
    """

    reply_overhead = 3
    """Tokens that prime the answer, once a request."""

    def __init__(self, family: Family, vocabulary: Vocabulary) -> None:
        self.backend = vocabulary.backend
        """What counts the texts: `quicktok`, `tiktoken` or `estimate`."""
        self.estimated = family.estimated or vocabulary.backend == "estimate"
        """Whether texts are counted by something else than the model's own vocabulary."""
        self._vocabulary, self._factor = vocabulary, family.factor
        self._memo = CountMemo(self._count)

    def text(self, text: str) -> int:
        """Return the tokens of `text`; special tokens in it are ordinary text."""
        counted = self._memo.young.get(text)
        return self._memo(text) if counted is None else counted

    def message(self, message: MessageLikeRepresentation) -> int:
        """Return the tokens of one message, with what its format adds."""
        if not isinstance(message, BaseMessage):
            [message] = convert_to_messages([message])
        content = message.content
        formatted = message.name or message.type == "tool" or has_calls(message)
        if isinstance(content, str) and not formatted:
            return MESSAGE_TOKENS + self.text(content)
        texts, flat = message_parts(message)
        return flat + sum(map(self.text, texts))

    def messages(
        self, messages: Iterable[MessageLikeRepresentation], tools: Iterable[Tool] = ()
    ) -> int:
        """Return the tokens of a request; also the `token_counter` of `trim_messages`."""
        return self.reply_overhead + self.tools(tools) + sum(map(self.message, messages))

    def tools(self, tools: Iterable[Tool]) -> int:
        """Return the tokens of the tools' schemas."""
        return sum(self.text(tool_text(tool)) for tool in tools)

    def _count(self, text: str) -> int:
        try:
            counted = self._vocabulary.count(text)
        except (TypeError, UnicodeError):
            # A lone surrogate, which no provider accepts either; tiktoken replaces it likewise.
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            counted = self._vocabulary.count(whole)
        return ceil(counted * self._factor)


def count_tokens(
    messages: str | Iterable[MessageLikeRepresentation],
    model: "str | BaseChatModel",
    tools: Iterable[Tool] = (),
) -> int:
    """Return the tokens of a text, or of a request made of messages and tools.

    Args:
        messages: A plain text, or messages in any form LangChain takes.
        model: Whose tokens; an unknown model counts as a recent OpenAI model.
        tools: What is bound to the model.

    Example:
        >>> count_tokens("Hello, world!", "gpt-5")
        4
    """
    counter = counter_for(model)
    if isinstance(messages, str):
        return counter.text(messages) + counter.tools(tools)
    return counter.messages(messages, tools)


def counter_for(model: "str | BaseChatModel") -> TokenCounter:
    """Return the counter that all models of this model's family share."""
    return _by_name(model_name(model))


def model_name(model: "str | BaseLanguageModel[Any]") -> str:
    """Return the name that a model goes by at its provider, `""` if it says none."""
    if isinstance(model, str):
        return model
    names = (getattr(model, attribute, None) for attribute in _NAME_ATTRIBUTES)
    return next((name for name in names if isinstance(name, str)), "")


@lru_cache(maxsize=1_024)
def _by_name(model: str) -> TokenCounter:
    return _by_family(family_of(model))


@cache
def _by_family(family: Family) -> TokenCounter:
    return TokenCounter(family, vocabulary(family.encoding))
