"""A webhook goes out, and to no machine of the inside."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from llmops_langchain import ConfigurationError, Insight
from llmops_langchain.analytics import webhook

INSIGHT = Insight(
    type="high_cost",
    severity="high",
    title="High Daily Costs",
    description="d",
    recommendation="r",
    evidence={"a": 1},
    about={"project": "p"},
)


class Server(HTTPServer):
    got: list[tuple[str, dict[str, object], str | None]]
    answer = 204


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body), self.headers["Authorization"]))
        self.send_response(self.server.answer)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(request) -> Iterator[Server]:
    request.getfixturevalue("socket_enabled")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.got = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def answers(monkeypatch, *addresses: str) -> None:
    """Let every name stand for these addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (each, 443)) for each in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_an_insight_arrives_as_json(server) -> None:
    url = f"http://127.0.0.1:{server.server_port}/hook?a=b"
    webhook(url, headers={"Authorization": "Bearer x"}, allow_private=True)(INSIGHT)
    ((path, body, login),) = server.got
    assert (path, login) == ("/hook?a=b", "Bearer x")
    assert (body["type"], body["fingerprint"]) == ("high_cost", INSIGHT.fingerprint)


@pytest.mark.parametrize("status", [302, 500])
def test_without_success_it_fails_and_follows_no_redirect(server, status) -> None:
    server.answer = status
    url = f"http://127.0.0.1:{server.server_port}/"
    with pytest.raises(OSError, match=f"answered {status}"):
        webhook(url, allow_private=True)(INSIGHT)
    assert len(server.got) == 1


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.1"),
        *("100.64.0.1", "224.0.0.1", "::1", "fd00::1", "fe80::1%eth0", "::ffff:127.0.0.1"),
    ],
)
def test_names_of_the_inside_are_refused(monkeypatch, address) -> None:
    answers(monkeypatch, address)
    with pytest.raises(OSError, match="address of the inside"):
        webhook("https://hook.example.com/")(INSIGHT)


def test_one_address_of_the_inside_among_others_is_enough(monkeypatch) -> None:
    answers(monkeypatch, "93.184.216.34", "10.0.0.1")
    with pytest.raises(OSError, match="address of the inside"):
        webhook("https://hook.example.com/")(INSIGHT)


def test_the_connection_goes_to_the_address_that_was_looked_up(monkeypatch) -> None:
    """Not to what a name server says a moment later."""
    asked = []
    answers(monkeypatch, "93.184.216.34")

    def refused(address: tuple[str, int], *_: object) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(ConnectionRefusedError):
        webhook("https://hook.example.com/")(INSIGHT)
    assert asked == [("93.184.216.34", 443)]


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "ftp://example.com/", "https://", "example.com", ""),
        *("https://me:secret@example.com/", "https://example.com:99999/", "file:///etc/passwd"),
    ],
)
def test_urls_that_may_not_be_used(url) -> None:
    with pytest.raises(ConfigurationError, match="a webhook's URL is") as caught:
        webhook(url)
    assert "secret" not in str(caught.value)
