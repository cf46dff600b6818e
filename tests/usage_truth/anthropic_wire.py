"""What Anthropic sends: messages, whole or as server-sent events."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from usage_truth.bills import Bill, token_texts
from usage_truth.loopback import Exchange, Piece, Reply

__all__ = ["anthropic_wire"]

USAGE: dict[str, Any] = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 14,
    "service_tier": "standard",
}
"""Claude's vocabulary is not public, so the script says what was counted."""


def anthropic_wire(path: str, request: Mapping[str, Any], reply: Reply) -> Exchange:
    """The answer to a request to `…/v1/messages`."""
    assert path.partition("?")[0] == "v1/messages"
    usage = {**USAGE, **(reply.usage or {})}
    bill = _bill(reply.model or request["model"], usage)
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": bill.model,
        "content": [_block(reply)],
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if request.get("stream"):
        pieces = [_event(*each) for each in _events(message, reply)]
        return Exchange(pieces=pieces, bill=bill, streams=True)
    return Exchange(pieces=[Piece(json.dumps(message).encode())], bill=bill)


def _bill(model: str, usage: Mapping[str, Any]) -> Bill:
    """Anthropic's `input_tokens` are those after the last cache breakpoint: the rest is added."""
    written, read = usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"]
    return Bill(
        provider="anthropic",
        model=model,
        input=usage["input_tokens"] + written + read,
        output=usage["output_tokens"],
        cached=read,
        written=written,
        written_1h=usage["cache_creation"]["ephemeral_1h_input_tokens"],
    )


def _block(reply: Reply) -> dict[str, Any]:
    if reply.tool is None:
        return {"type": "text", "text": reply.text}
    name, arguments = reply.tool
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}


def _events(message: Mapping[str, Any], reply: Reply) -> Iterator[tuple[dict[str, Any], int]]:
    """Server-sent events, and the tokens in each; the last one tells usage without its TTLs."""
    usage = message["usage"]
    begun = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    told = {key: usage[key] for key in usage if key not in ("cache_creation", "service_tier")}
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    block = {"type": "text", "text": ""}
    yield {"type": "message_start", "message": begun}, 0
    yield {"type": "content_block_start", "index": 0, "content_block": block}, 0
    for text in token_texts(reply.text):
        part = {"type": "text_delta", "text": text}
        yield {"type": "content_block_delta", "index": 0, "delta": part}, 1
    yield {"type": "content_block_stop", "index": 0}, 0
    yield {"type": "message_delta", "delta": delta, "usage": told}, 0
    yield {"type": "message_stop"}, 0


def _event(body: Mapping[str, Any], tokens: int) -> Piece:
    name = str(body["type"]).encode()
    return Piece(b"event: " + name + b"\ndata: " + json.dumps(body).encode() + b"\n\n", tokens)
