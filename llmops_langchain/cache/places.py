"""Which store the settings ask for."""

from llmops_langchain.cache.memory_store import MemoryStore
from llmops_langchain.cache.redis_store import RedisStore
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.store import Store
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage import Database

__all__ = ["store_for"]

_REDIS = ("redis://", "rediss://", "unix://", "valkey://", "valkeys://")


def store_for(
    database: Database, *, url: str | None, space: str, max_bytes: int | None, may_write: bool
) -> Store:
    """Where the answers of one space are kept.

    Args:
        database: What serves unless `url` names a server.
        url: `redis://…` of a Valkey or Redis server; `None` takes the database.
        space: What keeps independent users of one place apart.
        max_bytes: Bound of what is kept; a server has its own (`maxmemory`).
        may_write: `False` keeps answers in this process' memory alone.

    Raises:
        ConfigurationError: If the URL is of another kind, or a bound is given for a server.
        MissingExtraError: If the server's client is not installed.
    """
    if not may_write:
        return MemoryStore(max_bytes=max_bytes)
    if url is None:
        return SqlStore(database, space=space, max_bytes=max_bytes)
    if not url.startswith(_REDIS):
        msg = (
            "`cache_url` must be `redis[s]://…`, `valkey[s]://…` or `unix://…`; "
            "leave it out for the database"
        )
        raise ConfigurationError(msg)
    if max_bytes is not None:
        msg = "`cache_max_bytes` is for a database: set `maxmemory` on the server instead"
        raise ConfigurationError(msg)
    # The client knows Valkey's protocol, but not its name.
    return RedisStore(
        f"redis{url.removeprefix('valkey')}" if url.startswith("valkey") else url, space=space
    )
