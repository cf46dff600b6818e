"""What OpenAI sends: chat completions, text completions, responses and embeddings."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from usage_truth.bills import Bill, prompt_tokens, text_tokens, token_texts
from usage_truth.loopback import Exchange, Piece, Reply

__all__ = ["openai_wire"]

_DONE = Piece(b"data: [DONE]\n\n")
_TEXT_ENCODING = _EMBEDDING_ENCODING = "cl100k_base"
"""The vocabulary of the embedding models, and of the one that still has the text interface."""


def openai_wire(path: str, request: Mapping[str, Any], reply: Reply) -> Exchange:
    """The answer to a request to `…/v1/<path>`."""
    answers = {
        "v1/chat/completions": _chat,
        "v1/completions": _text,
        "v1/responses": _responses,
        "v1/embeddings": _embeddings,
    }
    return answers[path](request, reply)


def _chat(request: Mapping[str, Any], reply: Reply) -> Exchange:
    usage = reply.usage or _counted(
        prompt_tokens(request["messages"]), request.get("n", 1) * text_tokens(reply.text)
    )
    bill = _bill(request, reply, usage)
    if request.get("stream"):
        pieces = [_event(*each) for each in _chat_chunks(request, reply, usage)]
        return Exchange(pieces=[*pieces, _DONE], bill=bill, streams=True)
    choices = [
        {"index": index, "message": _message(reply), "finish_reason": _reason(reply)}
        for index in range(request.get("n", 1))
    ]
    body = {**_head(bill.model, reply, "chat.completion"), "choices": choices, "usage": usage}
    return Exchange(pieces=[_whole(body)], bill=bill)


def _chat_chunks(
    request: Mapping[str, Any], reply: Reply, usage: Mapping[str, Any]
) -> Iterator[tuple[dict[str, Any], int]]:
    """Chunks and the tokens in each: the role, a token each, the reason, and usage if asked for."""
    head = _head(reply.model or request["model"], reply, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""}), 0
    for text in token_texts(reply.text):
        yield chunk({"content": text}), 1
    yield chunk({}, _reason(reply)), 0
    if (request.get("stream_options") or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": usage}, 0


def _text(request: Mapping[str, Any], reply: Reply) -> Exchange:
    prompts = [request["prompt"]] if isinstance(request["prompt"], str) else request["prompt"]
    count = partial(text_tokens, encoding=_TEXT_ENCODING)
    usage = _counted(sum(map(count, prompts)), len(prompts) * count(reply.text))
    bill = _bill(request, reply, usage)
    head = _head(bill.model, reply, "text_completion")
    choice = {"index": 0, "text": reply.text, "finish_reason": "stop", "logprobs": None}
    if request.get("stream"):
        parts = token_texts(reply.text, _TEXT_ENCODING)
        chunks = [{**head, "choices": [{**choice, "text": part}]} for part in parts]
        pieces = [*(_event(chunk, 1) for chunk in chunks), _DONE]
        return Exchange(pieces=pieces, bill=bill, streams=True)
    choices = [{**choice, "index": index} for index in range(len(prompts))]
    return Exchange(pieces=[_whole({**head, "choices": choices, "usage": usage})], bill=bill)


def _responses(request: Mapping[str, Any], reply: Reply) -> Exchange:
    told = reply.usage or _counted(11, text_tokens(reply.text))
    bill = _bill(request, reply, told)
    usage = {
        "input_tokens": told["prompt_tokens"],
        "input_tokens_details": told["prompt_tokens_details"],
        "output_tokens": told["completion_tokens"],
        "output_tokens_details": told["completion_tokens_details"],
        "total_tokens": told["total_tokens"],
    }
    content = {"type": "output_text", "text": reply.text, "annotations": []}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [content],
    }
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": bill.model,
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": reply.tier or "default",
        "usage": usage,
    }
    if request.get("stream"):
        events = _response_events(body, message, reply)
        return Exchange(pieces=[_named(*each) for each in events], bill=bill, streams=True)
    return Exchange(pieces=[_whole(body)], bill=bill)


def _response_events(
    body: Mapping[str, Any], message: Mapping[str, Any], reply: Reply
) -> Iterator[tuple[dict[str, Any], int]]:
    begun = {**body, "status": "in_progress", "output": [], "usage": None}
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    item = {**message, "content": [], "status": "in_progress"}
    yield {"type": "response.created", "response": begun}, 0
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}, 0
    for text in token_texts(reply.text):
        yield {"type": "response.output_text.delta", **place, "delta": text, "logprobs": []}, 1
    yield {"type": "response.output_text.done", **place, "text": reply.text, "logprobs": []}, 0
    yield {"type": "response.completed", "response": body}, 0


def _embeddings(request: Mapping[str, Any], _reply: Reply) -> Exchange:
    texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
    read = sum(text_tokens(each, _EMBEDDING_ENCODING) for each in texts)
    bill = Bill(provider="openai", model=request["model"], input=read)
    body = {
        "object": "list",
        "model": bill.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": [0.6, 0.8]}
            for index in range(len(texts))
        ],
        "usage": {"prompt_tokens": read, "total_tokens": read},
    }
    return Exchange(pieces=[_whole(body)], bill=bill)


def _counted(read: int, written: int) -> dict[str, Any]:
    """A usage block as OpenAI writes it: every detail is there, mostly 0."""
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _bill(request: Mapping[str, Any], reply: Reply, usage: Mapping[str, Any]) -> Bill:
    into, out = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    return Bill(
        provider="openai",
        model=reply.model or request["model"],
        input=usage["prompt_tokens"],
        output=usage["completion_tokens"],
        cached=into["cached_tokens"],
        written=into.get("cache_write_tokens", 0),
        audio_input=into["audio_tokens"],
        reasoning=out["reasoning_tokens"],
        audio_output=out["audio_tokens"],
        tier=reply.tier,
    )


def _head(model: str, reply: Reply, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1_700_000_000,
        "model": model,
        "service_tier": reply.tier or "default",
        "system_fingerprint": "fp_1",
    }


def _message(reply: Reply) -> dict[str, Any]:
    if reply.tool is None:
        return {"role": "assistant", "content": reply.text, "refusal": None}
    name, arguments = reply.tool
    call = {"name": name, "arguments": json.dumps(arguments)}
    calls = [{"id": "call_1", "type": "function", "function": call}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _reason(reply: Reply) -> str:
    return "tool_calls" if reply.tool else "stop"


def _whole(body: Mapping[str, Any]) -> Piece:
    return Piece(json.dumps(body).encode())


def _event(body: Mapping[str, Any], tokens: int) -> Piece:
    return Piece(b"data: " + json.dumps(body).encode() + b"\n\n", tokens)


def _named(body: Mapping[str, Any], tokens: int) -> Piece:
    return Piece(b"event: " + str(body["type"]).encode() + b"\n" + _event(body, 0).body, tokens)
