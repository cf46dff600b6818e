"""Count tokens of texts, messages and tools."""

from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    HumanMessageChunk,
    MessageLikeRepresentation,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)

from llmops_langchain.tokens.families import Family, family_of
from llmops_langchain.tokens.fitted import fit
from llmops_langchain.tokens.memo import CountMemo, MessageMemo
from llmops_langchain.tokens.parts import MESSAGE_TOKENS, RESULT_TOKENS, message_parts
from llmops_langchain.tokens.tools import Tool, tool_text
from llmops_langchain.tokens.vocabularies import Vocabulary, vocabulary

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, BaseLanguageModel

__all__ = ["TokenCounter", "count_tokens", "counter_for", "model_name"]

_NAME_ATTRIBUTES = ("model_name", "model", "model_id", "deployment_name")

_AROUND: dict[type, int] = {  # no read-only view of it: that would cost a tenth of a warm count
    AIMessage: MESSAGE_TOKENS,
    AIMessageChunk: MESSAGE_TOKENS,
    HumanMessage: MESSAGE_TOKENS,
    HumanMessageChunk: MESSAGE_TOKENS,
    SystemMessage: MESSAGE_TOKENS,
    ToolMessage: MESSAGE_TOKENS + RESULT_TOKENS,
}
"""Tokens around a text, where a message is nothing more."""


class TokenCounter:
    """Counts for one family of models; get one from `counter_for`.

    Safe to share between threads. Counts of texts are remembered, and of messages as long as they
    live and are not changed, so what was counted once costs a look-up. Texts count as the
    vocabulary says, or by a fit on it; the format around them as OpenAI's chat format; tools,
    images, sound and files are estimates (`llmops_langchain.tokens.media`) in any case.

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
        self._family = family
        self._texts = CountMemo(_text_count(family, vocabulary))
        self._others = MessageMemo(self._parts)

    def text(self, text: str) -> int:
        """Return the tokens of `text`; special tokens in it are ordinary text."""
        counted = self._texts.young.get(text)
        return self._texts(text) if counted is None else counted

    def message(self, message: MessageLikeRepresentation) -> int:
        """Return the tokens of one message, with what its format adds."""
        around = _AROUND.get(message.__class__)
        if around is None:
            return self._unusual(message)
        fields = message.__dict__
        content = fields["content"]
        # Not `message.tool_calls`: a missing attribute costs a pydantic model 1.7 µs.
        more = fields.get("tool_calls") or fields.get("name") or fields.get("invalid_tool_calls")
        if more or content.__class__ is not str:
            return self._others(message)  # type: ignore[arg-type]  # its class is in the table
        counted = self._texts.young.get(content)
        return around + (self._texts(content) if counted is None else counted)

    def messages(
        self, messages: Iterable[MessageLikeRepresentation], tools: Iterable[Tool] = ()
    ) -> int:
        """Return the tokens of a request; also the `token_counter` of LangChain's own helpers."""
        return self.reply_overhead + self.tools(tools) + sum(map(self.message, messages))

    def tools(self, tools: Iterable[Tool]) -> int:
        """Return the tokens of the tools' schemas, with what having tools adds."""
        schemas = [self.text(tool_text(tool)) for tool in tools]
        return sum(schemas) + self._family.with_tools if schemas else 0

    def _unusual(self, message: MessageLikeRepresentation) -> int:
        if isinstance(message, BaseMessage):
            return self._others(message)
        [converted] = convert_to_messages([message])
        return self.message(converted)

    def _parts(self, message: BaseMessage) -> int:
        texts, flat = message_parts(message, self._family.media)
        return flat + sum(map(self.text, texts))


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
    """Return the counter that all models of this model's family share.

    `counter_for(model).messages` is a `token_counter` for `trim_messages` and
    `SummarizationMiddleware`.
    """
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


def _text_count(family: Family, vocabulary: Vocabulary) -> Callable[[str], int]:
    """Return what counts a text, whatever is in it."""
    count = vocabulary.count if family.fit is None else _fitted(family.fit, vocabulary.count)

    def counted(text: str) -> int:
        try:
            return count(text)
        except (TypeError, UnicodeError):
            # A lone surrogate, which no provider accepts either; tiktoken replaces it likewise.
            return count(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    return counted


def _fitted(name: str, count: Callable[[str], int]) -> Callable[[str], int]:
    learnt = fit(name)

    def counted(text: str) -> int:
        met = normalize("NFC", text) if learnt.composed else text
        return learnt.tokens(met, count(met))

    return counted
