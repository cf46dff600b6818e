"""A provider on loopback whose line goes dead after so many bytes of an answer."""

import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Self

from typing_extensions import override

__all__ = ["HEADERS", "BrokenLine", "event"]

HEADERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Connection: close\r\nContent-Length: 9999\r\n\r\n"
)
"""An answer has begun, and more is promised than ever comes."""


def event(body: str, name: str = "") -> bytes:
    """One server-sent event."""
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {body}\n\n".encode()


class BrokenLine:
    """`with BrokenLine(HEADERS) as line:` and clients at `line.url`.

    Args:
        sent: What a request is answered with before the line goes dead.
    """

    def __init__(self, sent: bytes) -> None:
        self.sent, self.requests = sent, 0
        handler = type("Handler", (_Handler,), {"line": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(StreamRequestHandler):
    line: BrokenLine

    @override
    def handle(self) -> None:
        length = 0
        while head := self.rfile.readline().strip():
            name, _, value = head.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        self.line.requests += 1
        self.wfile.write(self.line.sent)
        self.connection.shutdown(socket.SHUT_RDWR)
