"""A provider on loopback that refuses what OpenAI and Anthropic refuse, with their words.

Histories that are too long or hold half a tool call are answered with HTTP 400, all others as
scripted. It judges the JSON it is sent and imports nothing of the package.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Self

from typing_extensions import override

__all__ = ["Asked", "Call", "StrictProvider"]


@dataclass(frozen=True, slots=True)
class Call:
    """An answer that asks for a tool."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came."""

    body: Mapping[str, Any]
    tokens: int
    refusal: str | None
    """Why it was refused."""

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """Its messages, the system's first wherever the API wants them."""
        system = self.body.get("system")
        head = [{"role": "system", "content": system}] if system else []
        return [*head, *self.body["messages"]]


Script = Callable[[Asked], str | Call]
"""What is answered to a request that was not refused."""


class StrictProvider:
    """`with StrictProvider(1000) as provider:` and clients at `provider.url`.

    Args:
        context: Tokens that a request may have.
        script: What it answers; a short sentence by default.
        characters_per_token: How it counts: JSON characters of messages, system and tools.
        vague: Leaves the figures out where it refuses what is too long.
    """

    def __init__(
        self,
        context: int = 1_000_000,
        script: Script = lambda _: "Understood.",
        *,
        characters_per_token: float = 4.0,
        vague: bool = False,
    ) -> None:
        self.context, self.script, self.vague = context, script, vague
        self.asked: list[Asked] = []
        self._characters = characters_per_token
        self._ids, self._lock = count(1), threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def answered(self) -> list[Asked]:
        """The requests that were not refused."""
        return [each for each in self.asked if each.refusal is None]

    @property
    def refused(self) -> list[str]:
        """Why requests were refused."""
        return [each.refusal for each in self.asked if each.refusal is not None]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def judge(self, body: Mapping[str, Any], *, anthropic: bool) -> Asked:
        """Look at a request, and keep it."""
        counted = [body[key] for key in ("system", "messages", "tools") if body.get(key)]
        tokens = int(len(json.dumps(counted, ensure_ascii=False)) / self._characters)
        judged = _anthropic_refusal if anthropic else _openai_refusal
        long = _anthropic_long if anthropic else _openai_long
        refusal = judged(body["messages"])
        if refusal is None and tokens > self.context:
            refusal = long(tokens, self.context, vague=self.vague)
        asked = Asked(body=body, tokens=tokens, refusal=refusal)
        with self._lock:
            self.asked.append(asked)
        return asked

    def new_id(self, prefix: str) -> str:
        """An id that no other answer has."""
        return f"{prefix}_{next(self._ids)}"


def _openai_long(tokens: int, context: int, *, vague: bool) -> str:
    if vague:
        return "Your input exceeds the context window of this model. context_length_exceeded"
    return (
        f"This model's maximum context length is {context} tokens. However, your messages "
        f"resulted in {tokens} tokens. Please reduce the length of the messages."
    )


def _anthropic_long(tokens: int, context: int, *, vague: bool) -> str:
    figures = "" if vague else f": {tokens} tokens > {context} maximum"
    return f"prompt is too long{figures}"


def _openai_refusal(messages: Sequence[Mapping[str, Any]]) -> str | None:
    if not messages:
        return "Invalid 'messages': empty array. Expected an array with minimum length 1."
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return (
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'."
                )
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return _unanswered(waiting)
        else:
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
    return _unanswered(waiting) if waiting else None


def _unanswered(ids: Sequence[str]) -> str:
    return (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        + ", ".join(ids)
    )


def _anthropic_refusal(messages: Sequence[Mapping[str, Any]]) -> str | None:
    if not messages:
        return "messages: at least one message is required"
    if messages[0]["role"] != "user":
        return 'messages: first message must use the "user" role'
    before: set[str] = set()
    for at, message in enumerate(messages):
        if message["role"] not in ("user", "assistant"):
            return f"messages.{at}.role: Input should be 'user' or 'assistant'"
        results = [b["tool_use_id"] for b in _blocks(message, "tool_result")]
        strangers = [each for each in results if each not in before]
        if strangers:
            return (
                f"messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` "
                f"blocks: {strangers[0]}. Each `tool_result` block must have a corresponding "
                "`tool_use` block in the previous message."
            )
        if before - set(results):
            return _without_result(at - 1, before - set(results))
        before = {b["id"] for b in _blocks(message, "tool_use")}
    return _without_result(len(messages) - 1, before) if before else None


def _without_result(at: int, ids: set[str]) -> str:
    return (
        f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(sorted(ids))}. Each `tool_use` block must have a corresponding "
        "`tool_result` block in the next message."
    )


def _blocks(message: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    content = message["content"]
    return [] if isinstance(content, str) else [b for b in content if b["type"] == kind]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def _handler_of(provider: StrictProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        server_of = provider

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: StrictProvider

    def do_POST(self) -> None:
        self.close_connection = True  # no later event loop finds a connection of this one
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        anthropic = self.path.endswith("/messages")
        asked = self.server_of.judge(body, anthropic=anthropic)
        if asked.refusal is not None:
            self._send(400, "application/json", _refused(asked.refusal, anthropic=anthropic))
            return
        said = self.server_of.script(asked)
        written = _anthropic_answer if anthropic else _openai_answer
        events, whole = written(asked, said, self.server_of.new_id)
        if body.get("stream"):
            self._send(200, "text/event-stream", b"".join(map(_event, events)))
        else:
            self._send(200, "application/json", json.dumps(whole).encode())

    @override
    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _refused(message: str, *, anthropic: bool) -> bytes:
    error: dict[str, Any] = {"type": "invalid_request_error", "message": message}
    if anthropic:
        return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()
    code = "context_length_exceeded" if "context" in message else None
    return json.dumps({"error": {**error, "param": "messages", "code": code}}).encode()


_Answer = tuple[list[Any], Mapping[str, Any]]
"""The same answer as server-sent events and as one body."""


def _openai_answer(asked: Asked, said: str | Call, new_id: Callable[[str], str]) -> _Answer:
    usage = {
        "prompt_tokens": asked.tokens,
        "completion_tokens": 5,
        "total_tokens": asked.tokens + 5,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    head = {"id": new_id("chatcmpl"), "created": 1_700_000_000, "model": asked.body["model"]}
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if isinstance(said, Call):
        function = {"name": said.name, "arguments": json.dumps(said.arguments)}
        calls = [{"index": 0, "id": new_id("call"), "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
    why = "tool_calls" if isinstance(said, Call) else "stop"
    chunk = {**head, "object": "chat.completion.chunk"}
    events = [
        {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": why}]},
        {**chunk, "choices": [], "usage": usage},
        "[DONE]",
    ]
    choice = {"index": 0, "message": message, "finish_reason": why}
    return events, {**head, "object": "chat.completion", "choices": [choice], "usage": usage}


def _anthropic_answer(asked: Asked, said: str | Call, new_id: Callable[[str], str]) -> _Answer:
    usage = {"input_tokens": asked.tokens, "output_tokens": 5}
    block: dict[str, Any] = {"type": "text", "text": said}
    empty, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": said}
    if isinstance(said, Call):
        block = {"type": "tool_use", "id": new_id("toolu"), "name": said.name}
        empty = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(said.arguments)}
        block["input"] = dict(said.arguments)
    why = "tool_use" if isinstance(said, Call) else "end_turn"
    message = {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": asked.body["model"],
        "content": [block],
        "stop_reason": why,
        "stop_sequence": None,
        "usage": usage,
    }
    begun = {**message, "content": [], "stop_reason": None}
    end = {"stop_reason": why, "stop_sequence": None}
    events = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": usage},
        {"type": "message_stop"},
    ]
    return events, message


def _event(body: Mapping[str, Any] | str) -> bytes:
    if isinstance(body, str):
        return f"data: {body}\n\n".encode()
    name = f"event: {body['type']}\n" if "type" in body else ""
    return f"{name}data: {json.dumps(body)}\n\n".encode()
