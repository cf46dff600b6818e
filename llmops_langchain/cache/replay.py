"""A kept answer as the model would have streamed it, and a streamed one as it would be kept.

LangChain adds chunks up key by key: strings are joined, numbers added, blocks and tool calls of one
`index` merged. So each thing is told in one chunk only, but for text, which is meant to be joined,
and each block and tool call has an `index` of its own.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ToolCallChunk,
    message_chunk_to_message,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

__all__ = ["chunks_of", "pieces", "whole"]

_WORD = re.compile(r"\s*\S{1,24}\s*|\s+")  # languages without blanks come in pieces too
_MOST = 256  # pieces of one text, about: each costs some 10 µs

_SPOKEN = {"text": "text", "reasoning": "reasoning", "thinking": "thinking"}
"""Where blocks of these types keep what is said word by word."""

# A chunk is understood by these, also alone; LangChain does not join two that are equal.
_ON_EVERY_CHUNK = ("model_provider", "output_version")

_FOR_TRACERS = "lc_gateway_metadata"
"""What core, too, leaves out when it copies an answer's info into its `response_metadata`."""


def chunks_of(generation: ChatGeneration) -> Iterator[ChatGenerationChunk]:
    """The answer in the pieces that a model would stream: added up, they are the answer again.

    Text comes word by word (very long text in longer pieces), list content block by block, then the
    tool calls; the last chunk brings usage and metadata. Some things are as LangChain's addition
    makes them: the sum has no `name`, text in list content is in blocks, and an invalid tool call
    whose arguments begin like a JSON object is repaired into a valid one.
    """
    message = generation.message
    told = message.response_metadata
    always = {name: told[name] for name in _ON_EVERY_CHUNK if isinstance(told.get(name), str)}
    for part in _parts(message):
        yield _chunk(message, response_metadata=always, **part)
    yield _chunk(
        message,
        generation.generation_info,
        content=_nothing(message),
        response_metadata=told,
        usage_metadata=getattr(message, "usage_metadata", None),
        chunk_position="last",
    )


def whole(chunks: Sequence[ChatGenerationChunk]) -> ChatGeneration | None:
    """The answer that a model streamed, as `invoke` would have given it; `None` for no chunks.

    Args:
        chunks: All chunks of a stream that came to its end.
    """
    merged = merge_chat_generation_chunks(list(chunks))
    if merged is None:
        return None
    message, info = message_chunk_to_message(merged.message), merged.generation_info or {}
    told = {name: value for name, value in info.items() if name != _FOR_TRACERS}
    message.response_metadata = told | message.response_metadata
    if isinstance(message.content, list):
        message.content = [_unnumbered(block) for block in message.content if block != ""]
    if isinstance(message, AIMessage) and isinstance(merged.message, AIMessageChunk):
        _parse_calls(message, merged.message.tool_call_chunks)
    return ChatGeneration(message=message, generation_info=merged.generation_info)


def _chunk(
    message: BaseMessage, info: dict[str, Any] | None = None, /, **fields: Any
) -> ChatGenerationChunk:
    chunk = AIMessageChunk(id=message.id, name=message.name, **fields)
    return ChatGenerationChunk(message=chunk, generation_info=info)


def _nothing(message: BaseMessage) -> str | list[Any]:
    """No content, of the kind that adds nothing to the message's own."""
    return "" if isinstance(message.content, str) else []


def _parts(message: BaseMessage) -> Iterator[dict[str, Any]]:
    """What each chunk but the last one brings."""
    calls = deque(_calls(message))
    raw = message.additional_kwargs.get("tool_calls")
    # With or after the calls: from the raw form alone, core would make them a second time.
    extra = {
        name: value
        for name, value in message.additional_kwargs.items()
        if not (raw and name == "tool_calls")
    }
    if raw and calls:
        calls[-1]["additional_kwargs"] = {"tool_calls": raw}
    if extra:
        yield {"content": _nothing(message), "additional_kwargs": extra}
    if isinstance(message.content, str):
        yield from ({"content": piece} for piece in pieces(message.content))
    else:
        yield from _blocks(message.content, calls)
    yield from ({"content": _nothing(message), **call} for call in calls)


def _blocks(
    content: Sequence[str | dict[str, Any]], calls: deque[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The blocks one by one; one that is the next tool call brings it along, as providers do."""
    # Core numbers what has no number from 0, at most one for each block: start behind that.
    for index, block in enumerate(content, start=len(content) + 1):
        numbered: dict[str, Any] = (
            {"type": "text", "text": block} if isinstance(block, str) else dict(block)
        )
        numbered["index"] = index
        if calls and _is_call(numbered, calls[0]["tool_call_chunks"][0]):
            yield {"content": [numbered], **calls.popleft()}
        else:
            yield from ({"content": [piece]} for piece in _block_pieces(numbered))


def _block_pieces(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    name = _SPOKEN.get(str(block.get("type")))
    text = block.get(name) if name else None
    if not name or not text or not isinstance(text, str):
        yield block
        return
    for piece in pieces(text):
        yield {**block, name: piece}
        block = {"type": block["type"], "index": block["index"]}


def pieces(text: str) -> Iterator[str]:
    """The text in words with their blanks; in longer pieces where there are very many."""
    least, piece = len(text) // _MOST, ""
    for word in _WORD.finditer(text):
        piece += word[0]
        if len(piece) > least:
            yield piece
            piece = ""
    if piece:
        yield piece


def _calls(message: BaseMessage) -> list[dict[str, Any]]:
    """A part for each tool call, numbered after the blocks: core may put both into one list."""
    if not isinstance(message, AIMessage):
        return []
    first = 2 if isinstance(message.content, str) else 2 * len(message.content) + 1
    said: list[tuple[str | None, str | None, str | None]] = [
        (call["name"], json.dumps(call["args"], ensure_ascii=False), call["id"])
        for call in message.tool_calls
    ]
    said += [(call["name"], call["args"], call["id"]) for call in message.invalid_tool_calls]
    return [
        {"tool_call_chunks": [tool_call_chunk(name=name, args=args, id=id_, index=index)]}
        for index, (name, args, id_) in enumerate(said, start=first)
    ]


def _is_call(block: Mapping[str, Any], call: ToolCallChunk) -> bool:
    """Whether a block is the provider's form of this tool call."""
    return call["id"] is not None and call["id"] in (block.get("call_id"), block.get("id"))


def _unnumbered(block: str | dict[str, Any]) -> str | dict[str, Any]:
    """The block without its place in the stream."""
    if isinstance(block, str):
        return block
    return {name: value for name, value in block.items() if name != "index"}


def _parse_calls(message: AIMessage, chunks: Sequence[ToolCallChunk]) -> None:
    """Read arguments strictly, as `invoke` does: core completes those that were cut by guessing."""
    message.tool_calls, message.invalid_tool_calls = [], []
    for chunk in chunks:
        name, args, id_ = chunk["name"], chunk["args"], chunk["id"]
        read = _arguments(args or "{}")
        if read is None:
            broken = invalid_tool_call(name=name, args=args, id=id_)
            message.invalid_tool_calls.append(broken)
        else:
            message.tool_calls.append(tool_call(name=name or "", args=read, id=id_))


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        read = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None
