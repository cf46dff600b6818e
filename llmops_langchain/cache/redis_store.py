"""Entries on a Redis or Valkey server, for processes on many hosts."""

import math
import re
import struct
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, Self

from llmops_langchain.cache.redis_scripts import SCRIPTS
from llmops_langchain.cache.store import Entry
from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    MissingExtraError,
    StorageError,
)
from llmops_langchain.storage.fork import on_fork

__all__ = ["RedisStore"]

_PATIENCE = 0.25
"""Seconds to connect, and seconds to answer; the user waits for a model's answer meanwhile."""

_MARKS = 100_000
"""Dropped tags that `state` remembers by name (6 MB); with one more, everything is dropped."""

_LONGEST = 10**15
"""Milliseconds until an entry expires; the server takes a little more."""

_HEAD = struct.Struct(">ddH")  # created_at, expires_at (infinite: never), length of the fingerprint

# What redis-py and valkey-py call it, the error it stands for, and what the user can do.
_MEANINGS: dict[str, tuple[type[StorageError], str]] = {
    "AuthenticationError": (DatabaseUnavailableError, "check user name and password"),
    "NoPermissionError": (DatabaseUnavailableError, "let the login run scripts on these keys"),
    "ReadOnlyError": (DatabaseReadOnlyError, "connect to the primary, not to a replica"),
    "OutOfMemoryError": (
        StorageError,
        "raise the server's `maxmemory`, or set its `maxmemory-policy` to `allkeys-lru`",
    ),
    "ConnectionError": (
        DatabaseUnavailableError,
        "check that the server runs and that host, port and login are right",
    ),
    "TimeoutError": (
        DatabaseUnavailableError,
        "check the way to the server and its load, or add `?socket_timeout=1` to the URL",
    ),
}


class RedisStore:
    """Entries on a Redis (5 or later) or Valkey server; several users of one may have each a space.

    Threads may share an object, and a forked child may go on with its parent's (if it was made from
    a URL: redis-py's own client may hang in the child of a busy parent). It connects at first use,
    and again after the server was away. The docstrings of `Store` say what each method does.

    - Entries leave the server when they expire. Size is bounded by the server: set its `maxmemory`,
      and `maxmemory-policy` to `allkeys-lru`. It may let go of any key: a lost claim is a second
      call, a lost generation counts as a `clear`, and nothing that was dropped is ever served.
    - What was cleared or invalidated is gone at once, and is erased before the method returns. If
      the server fails in between, the rest goes when it is next read or expires.
    - A generation is no count from 0, but grows by one with each change.
    - `newest` knows the last 1,000 entries.
    - Redis Cluster is not supported.

    Args:
        url_or_client: `"redis://user:password@host:6379/0"`, `"rediss://…"` (TLS),
            `"unix:///path"`; or a `redis.Redis` or `valkey.Valkey`, with its own time-outs and
            retries. Of a URL, connecting and answering may take 0.25 s each and nothing is tried
            twice; `?socket_timeout=1` and `?socket_connect_timeout=1` give it longer.
        space: Keeps independent users of one server apart.
        prefix: What the names of all keys begin with.

    Raises:
        ConfigurationError: If the URL, the client or a name cannot be used.
        MissingExtraError: If a URL is given and the package `redis` is not installed.
    """

    def __init__(
        self, url_or_client: str | Any, *, space: str = "answers", prefix: str = "llmops"
    ) -> None:
        for name, value, allowed in (("space", space, r"[\w.-]+"), ("prefix", prefix, r"[\w.:-]+")):
            if not re.fullmatch(allowed, value, re.ASCII):
                msg = f"`{name}` must be letters, digits and any of `_.-`, got {value!r}"
                raise ConfigurationError(msg)
        self._given = url_or_client
        self._root = f"{prefix}:{space}/"
        self._closed = False
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave a client made from a URL to the parent, with the locks its threads may hold."""
        self._client = _client(self._given)
        self._error = _error_class(self._client)
        self._where = _place(self._client)
        self._scripts = {
            name: self._client.register_script(source) for name, source in SCRIPTS.items()
        }

    def get(self, key: bytes) -> Entry | None:
        """The entry under `key`, fresh or stale, without its tags."""
        body = self._run("get", key)
        return None if body is None else _entry(body)

    def put(
        self, key: bytes, entry: Entry, *, seen: int | None = None, owner: str | None = None
    ) -> bool:
        """Keep `entry` under `key`, and end `owner`'s claim on it; whether it was kept."""
        what = (key, _body(entry), _lifetime(entry), entry.created_at)
        whose = ("" if seen is None else seen, _bytes(owner or ""))
        return bool(self._run("put", *what, *whose, *map(_bytes, entry.tags)))

    def tag(self, key: bytes, tags: Collection[str]) -> None:
        """Add tags to the entry under `key`, if there is one."""
        self._run("tag", key, *map(_bytes, tags))

    def clear(self) -> int:
        """Drop every entry of the space; the generation after it."""
        generation = int(self._run("clear"))
        cursor: bytes | int = 0
        while int(cursor := self._run("sweep", cursor, f"{self._root}[etx]:*")):
            pass
        return generation

    def invalidate(self, tags: Collection[str], *, now: float) -> int:  # noqa: ARG002 - of `Store`; the server's order counts
        """Drop the entries that have one of `tags`; the generation after it."""
        generation, *doomed = self._run("invalidate", _MARKS, *map(_bytes, tags))
        for entries in doomed:
            while self._run("erase", entries):
                pass
        return int(generation)

    def tagged(self, tags: Collection[str]) -> Collection[bytes]:
        """The keys of the entries that have one of `tags`."""
        found = set[bytes]()
        for tag in map(_bytes, tags):
            at = 0
            while page := self._run("tagged", tag, at):
                at += int(page[0])
                found.update(page[1:])
        return found

    def purge(self, *, now: float) -> int:  # noqa: ARG002 - of `Store`
        """Nothing: entries leave the server when they expire."""
        return 0

    def generation(self) -> int:
        """How often entries were invalidated or cleared, by anybody, from an unknown start."""
        return int(self._run("generation"))

    def claim(self, key: bytes, owner: str, *, now: float, until: float) -> bool:
        """Whether `owner` alone may ask for the answer now."""
        lifetime = _milliseconds(until - now)
        return bool(self._run("claim", key, _bytes(owner), now, until, lifetime))

    def renew(self, owner: str, *, until: float) -> None:
        """Let all claims of `owner` last until then."""
        self._run("renew", _bytes(owner), until)

    def release(self, key: bytes, owner: str) -> None:
        """End the claim of `owner` on `key`, if it still has it."""
        self._run("release", key, _bytes(owner))

    def touch(self, keys: Collection[bytes], *, now: float) -> None:
        """Note that these entries were used, so that others are let go first."""
        self._run("touch", now, *keys)

    def newest(self, limit: int) -> Sequence[Entry]:
        """The entries used or kept last, newest first, without their values and tags."""
        return [_entry(body) for body in self._run("newest", limit)]

    def close(self) -> None:
        """Close the connections made from a URL; a client that was given is its giver's."""
        self._closed = True
        if isinstance(self._given, str):
            self._client.connection_pool.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, script: str, *args: bytes | str | float) -> Any:
        if self._closed:
            msg = f"{self._where!r} was closed: make a new `RedisStore`"
            raise DatabaseUnavailableError(msg)
        try:
            return self._scripts[script](keys=[self._root + "state"], args=[self._root, *args])
        except self._error as error:
            raise _storage_error(error, self._where) from error


def _client(url: str | Any) -> Any:
    if not isinstance(url, str):
        return url
    try:
        import redis
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "redis", extra="redis") from error
    try:
        pool = redis.ConnectionPool.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE
        )
        pool.connection_class(**pool.connection_kwargs)  # refuses options it does not know
    except (ValueError, TypeError):
        # Neither the text nor the cause is shown: they may hold a password.
        msg = "the URL is of no Redis server; write `redis://host:6379/0` or `unix:///path`"
        raise ConfigurationError(msg) from None
    # A client that makes its own pool tries three times, and closes the pool when it is collected:
    # in a forked child that may wait for ever, for a lock that a thread of the parent held.
    return redis.Redis(connection_pool=pool)


def _error_class(client: Any) -> type[Exception]:
    """The base of what the client raises, whichever of the two packages it is from."""
    names = [kind.__module__ for kind in type(client).__mro__]
    package, _, module = next(
        (name.partition(".") for name in names if name.startswith(("redis.", "valkey."))), ("",) * 3
    )
    if module == "client":  # not that of asyncio or of a cluster
        if client.get_encoder().decode_responses:
            msg = "entries are bytes: make the client without `decode_responses`"
            raise ConfigurationError(msg)
        errors = import_module(f"{package}.exceptions")
        error: type[Exception] = getattr(errors, f"{package.title()}Error")
        return error
    msg = f"give a URL, a `redis.Redis` or a `valkey.Valkey`, not a {type(client).__qualname__!r}"
    raise ConfigurationError(msg)


def _place(client: Any) -> str:
    """Where the server is, for messages; no login."""
    options = client.connection_pool.connection_kwargs
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    return str(options.get("path") or f"{host}:{port}/{options.get('db') or 0}")


def _storage_error(error: Exception, where: str) -> StorageError:
    said = f"{where!r}: {str(error).rstrip('.')}"
    for kind in type(error).__mro__:
        if kind.__name__ in _MEANINGS:
            meaning, way_out = _MEANINGS[kind.__name__]
            return meaning(f"{said}: {way_out}")
    return StorageError(said)


def _body(entry: Entry) -> bytes:
    expires = math.inf if entry.expires_at is None else entry.expires_at
    head = _HEAD.pack(entry.created_at, expires, len(entry.fingerprint))
    return head + entry.fingerprint + entry.value


def _entry(body: bytes) -> Entry:
    created, expires, length = _HEAD.unpack_from(body)
    start = _HEAD.size + length
    return Entry(
        value=body[start:],
        created_at=created,
        expires_at=None if expires == math.inf else expires,
        fingerprint=body[_HEAD.size : start],
    )


def _lifetime(entry: Entry) -> int:
    """Milliseconds until the entry goes stale; 0 if it never does."""
    if entry.expires_at is None:
        return 0
    return _milliseconds(entry.expires_at - entry.created_at)


def _milliseconds(seconds: float) -> int:
    """At least one: the server refuses to keep what has already expired."""
    return math.ceil(min(max(seconds * 1000, 1), _LONGEST))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
