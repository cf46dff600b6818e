"""What a model below another one answers, in chunks where it has them."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

__all__ = ["astreamed_by", "streamed_by"]


def streamed_by(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    stop: list[str] | None,
    kwargs: Mapping[str, Any],
) -> Iterator[ChatGenerationChunk]:
    """The answer in the model's own chunks, or whole in one."""
    if _streams(model):
        yield from model._stream(list(messages), stop, **kwargs)  # noqa: SLF001 - as core would
    else:
        yield _one_chunk(model._generate(list(messages), stop, **kwargs))  # noqa: SLF001 - as core would


async def astreamed_by(
    model: BaseChatModel,
    messages: Sequence[BaseMessage],
    stop: list[str] | None,
    kwargs: Mapping[str, Any],
) -> AsyncIterator[ChatGenerationChunk]:
    """`streamed_by` for asyncio."""
    if _streams(model):
        async for chunk in model._astream(list(messages), stop, **kwargs):  # noqa: SLF001 - as core would
            yield chunk
    else:
        yield _one_chunk(await model._agenerate(list(messages), stop, **kwargs))  # noqa: SLF001 - as core would


def _streams(model: BaseChatModel) -> bool:
    kind = type(model)
    own = (kind._stream, kind._astream)  # noqa: SLF001 - core asks so too
    return own != (BaseChatModel._stream, BaseChatModel._astream)  # noqa: SLF001 - as above


def _one_chunk(answer: ChatResult) -> ChatGenerationChunk:
    told = answer.generations[0].message
    message = AIMessageChunk(**{**told.model_dump(exclude={"type"}), "type": "AIMessageChunk"})
    return ChatGenerationChunk(message=message)
