"""How a stream begins: until a chunk says something, nothing was shown and another may answer."""

from collections.abc import AsyncIterator, Iterator

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

__all__ = ["aopening", "opening", "says_something"]


def opening(arriving: Iterator[ChatGenerationChunk]) -> list[ChatGenerationChunk]:
    """The chunks up to the first that says something; before it, nothing was shown.

    Raises:
        StopIteration: If there are none at all.
    """
    chunks = [next(arriving)]
    while not says_something(chunks[-1]):
        if (chunk := next(arriving, None)) is None:
            break
        chunks.append(chunk)
    return chunks


async def aopening(arriving: AsyncIterator[ChatGenerationChunk]) -> list[ChatGenerationChunk]:
    """`opening` for asyncio.

    Raises:
        StopAsyncIteration: If there are none at all.
    """
    chunks = [await anext(arriving)]
    while not says_something(chunks[-1]):
        if (chunk := await anext(arriving, None)) is None:
            break
        chunks.append(chunk)
    return chunks


def says_something(chunk: ChatGenerationChunk) -> bool:
    """Whether a chunk has a part of an answer: streams begin with some that have none."""
    message = chunk.message
    calls = isinstance(message, AIMessageChunk) and message.tool_call_chunks
    return bool(message.content or calls or any(message.additional_kwargs.values()))
