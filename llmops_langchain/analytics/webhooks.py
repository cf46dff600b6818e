"""Sends insights to a URL, and to no machine of the inside."""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import orjson

from llmops_langchain.analytics.insights import Insight
from llmops_langchain.errors import ConfigurationError

__all__ = ["webhook"]

_PORTS = {"https": 443, "http": 80}


def webhook(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 5.0,
    allow_private: bool = False,
) -> Callable[[Insight], None]:
    """A hook for `on_insight` that posts each insight as JSON.

    The name is looked up once a call and the connection goes to that very address, so that no
    second answer of a name server leads elsewhere; redirects are not followed, and addresses that
    are not of the public internet are refused.

    Args:
        url: `https://…`; plain `http` only with `allow_private`.
        headers: Sent along, such as `Authorization`.
        timeout: Seconds for each step.
        allow_private: Let it go to addresses of one's own network, and without encryption.

    Raises:
        ConfigurationError: If the URL is none that may be used. The hook raises `OSError` if the
            address is refused, or nobody answers with success.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    is_fine = parts.scheme == "https" or (parts.scheme == "http" and allow_private)
    if not is_fine or not parts.hostname or not port or parts.username is not None:
        msg = (
            "a webhook's URL is `https://host/path`, without a login in it"
            f"{'' if allow_private else ' (`http` needs `allow_private`)'}"
        )
        raise ConfigurationError(msg)
    host, path = parts.hostname, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    secure = ssl.create_default_context() if parts.scheme == "https" else None

    def send(insight: Insight) -> None:
        address = _address(host, port, allow_private=allow_private)
        connection = _Pinned(host, port, address, secure, timeout)
        try:
            connection.request(
                "POST",
                path,
                orjson.dumps(insight.to_dict(), default=str),
                {"Content-Type": "application/json", **(headers or {})},
            )
            status = connection.getresponse().status
        finally:
            connection.close()
        if not 200 <= status < 300:  # noqa: PLR2004 - success; a redirect is none
            msg = f"the webhook at {host!r} answered {status}"
            raise OSError(msg)

    return send


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the name stands for by now."""

    def __init__(
        self, host: str, port: int, address: str, secure: ssl.SSLContext | None, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address, self._secure = address, secure

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock: Any = plain
        if self._secure is not None:
            self.sock = self._secure.wrap_socket(plain, server_hostname=self.host)


def _address(host: str, port: int, *, allow_private: bool) -> str:
    """The first address of a host; all of them must be of the public internet.

    Raises:
        OSError: If there is none, or one that is not.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    if not allow_private and not all(map(_is_public, addresses)):
        msg = f"{host!r} leads to an address of the inside: `allow_private=True` if that is meant"
        raise OSError(msg)
    return addresses[0]


def _is_public(address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_global and not found.is_multicast
