"""A provider on loopback: answers as scripted, and keeps the ledger of what it billed."""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from typing_extensions import override

from usage_truth.bills import Bill

__all__ = ["Account", "Exchange", "Loopback", "Piece", "Reply", "Wire"]

_PATIENCE = 30.0
"""Seconds after which a request that nobody releases gives up: only a broken test waits so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the provider does with one request."""

    text: str = "The capital of France is Paris, and it lies on the Seine."
    model: str | None = None
    """The name it answers under; the one it was asked for by default."""
    usage: Mapping[str, Any] | None = None
    """Its usage block as the provider writes it; counted from the texts by default."""
    tool: tuple[str, dict[str, Any]] | None = None
    """A tool call instead of the text."""
    tier: str | None = None
    """The service tier it says it served."""
    status: int = 200
    """An HTTP error instead of an answer."""
    pause: Literal["dies", "waits"] | None = None
    """What happens after `sent` tokens: the line goes dead, or nothing until `release`."""
    sent: int = 0
    """Tokens that are sent before the pause; with 0 not even headers are."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a body, and how many tokens of the answer are in it."""

    body: bytes
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An answer, ready to be sent piece by piece."""

    pieces: Sequence[Piece]
    bill: Bill
    """What it costs when all of it was sent."""
    streams: bool = False


Wire = Callable[[str, Mapping[str, Any], Reply], Exchange]
"""Turns (path, request, reply) into what the provider sends."""


@dataclass
class Account:
    """One customer of the provider, at a URL of its own: replies in their order, and the bills."""

    url: str
    wire: Wire
    replies: deque[Reply]
    bills: list[Bill] = field(default_factory=list)
    requests: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    """Set when a request came to its pause."""
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def release(self) -> None:
        """Let every request that waits go on; the provider finds that its customer left."""
        self.released.set()

    def next_reply(self) -> Reply:
        """The next of the script; its last one answers everything after it."""
        with self._lock:
            self.requests += 1
            return self.replies.popleft() if len(self.replies) > 1 else self.replies[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # of the default 5, the sixth of a burst waits a second


class Loopback:
    """The server; `with Loopback() as server:` and `server.account(wire, replies)`."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._server = _Server(("127.0.0.1", 0), _handler_of(self._accounts))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def account(self, wire: Wire, replies: Sequence[Reply]) -> Account:
        """A new account, with a URL that no client has seen before."""
        name = f"account-{len(self._accounts)}"
        url = f"http://127.0.0.1:{self._server.server_address[1]}/{name}"
        self._accounts[name] = Account(url, wire, deque(replies or [Reply()]))
        return self._accounts[name]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for account in self._accounts.values():
            account.release()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler_of(accounts: Mapping[str, Account]) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        known = accounts

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    known: Mapping[str, Account] = {}

    def do_POST(self) -> None:
        # One request a connection: a client keeps none open that a later event loop might find.
        self.close_connection = True
        _, name, path = self.path.split("/", 2)
        account = self.known[name]
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = account.next_reply()
        with suppress(ConnectionError):  # the customer left: what was sent is billed
            if reply.status == 200:
                self._answer(account, path, request, reply)
            else:
                self._refuse(reply.status)

    @override
    def log_message(self, *_: object) -> None:
        """Nothing is printed."""

    def _refuse(self, status: int) -> None:
        error = {"type": f"error_{status}", "message": f"scripted error {status}"}
        body = json.dumps({"type": "error", "error": error}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("retry-after-ms", "1")  # the clients' own retries need not wait longer
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _answer(
        self, account: Account, path: str, request: Mapping[str, Any], reply: Reply
    ) -> None:
        exchange = account.wire(path, request, reply)
        # The script says how far the answer gets, so the bill stands before a client sees its end.
        account.bills += _bills(exchange, reply)
        if reply.pause and not reply.sent:
            self._pause(account, reply)
        self._begin(exchange)
        sent = 0
        for piece in exchange.pieces:
            self._send(piece.body, chunked=exchange.streams)
            sent += piece.tokens
            if reply.pause and sent == reply.sent:
                self._pause(account, reply)
        if exchange.streams:
            self.wfile.write(b"0\r\n\r\n")

    def _begin(self, exchange: Exchange) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        if exchange.streams:
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(exchange.pieces[0].body)))
        self.end_headers()

    def _send(self, body: bytes, *, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) if chunked else body)

    def _pause(self, account: Account, reply: Reply) -> None:
        account.reached.set()
        if reply.pause == "waits":
            account.released.wait(_PATIENCE)
        # Either the line goes dead, or the customer left meanwhile: no more is generated.
        raise ConnectionAbortedError


def _bills(exchange: Exchange, reply: Reply) -> list[Bill]:
    """A line that died before anything was generated is not billed; a wait has read the prompt."""
    if reply.pause is None:
        return [exchange.bill]
    unpaid = reply.pause == "dies" and not reply.sent
    return [] if unpaid else [exchange.bill.broken_off(reply.sent)]
