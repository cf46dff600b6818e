"""A provider on loopback whose every answer fails in one way."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from typing_extensions import override

__all__ = ["FailingProvider", "How"]

How = int | Literal["dies", "hangs", "breaks"]
"""An HTTP status; or the line dies at once, or after a streamed chunk, or nothing ever comes."""

_CHUNK = {
    "id": "chatcmpl_1",
    "object": "chat.completion.chunk",
    "created": 1_700_000_000,
    "model": "failing",
    "choices": [{"index": 0, "delta": {"role": "assistant", "content": "One"}}],
}


class FailingProvider:
    """`with FailingProvider(503) as provider:` and clients at `provider.url`.

    Args:
        how: What becomes of a request.
        message: What its error says.
        headers: What its error says beside.
    """

    def __init__(
        self, how: How, message: str = "scripted", headers: dict[str, str] | None = None
    ) -> None:
        self.how, self.message, self.headers = how, message, headers or {}
        self.requests = 0
        self.over = threading.Event()
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: FailingProvider

    def do_POST(self) -> None:
        self.close_connection = True
        self.rfile.read(int(self.headers["Content-Length"]))
        self.provider.requests += 1
        how = self.provider.how
        if how == "hangs":
            self.provider.over.wait(60)
        elif how == "breaks":
            self._send(200, "text/event-stream", f"data: {json.dumps(_CHUNK)}\n\n".encode(), 9999)
        elif isinstance(how, int):
            self._send(how, "application/json", self._error(how))
        self.connection.shutdown(socket.SHUT_RDWR)

    @override
    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def _error(self, status: int) -> bytes:
        error: dict[str, Any] = {"type": f"error_{status}", "message": self.provider.message}
        if "context" in self.provider.message:
            error["code"] = "context_length_exceeded"
        return json.dumps({"type": "error", "error": error}).encode()

    def _send(self, status: int, kind: str, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.send_header("Connection", "close")
        for name, value in self.provider.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
