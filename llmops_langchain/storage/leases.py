"""Leave something to one process at a time, and to the next one when that one has died."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from sqlalchemy import Insert, bindparam, delete, func, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.clock import Clock
from llmops_langchain.errors import ConfigurationError, StorageError
from llmops_langchain.storage.database import Database
from llmops_langchain.storage.schema import leases
from llmops_langchain.storage.sweeping import swept
from llmops_langchain.storage.types import new_id

__all__ = ["RELEASE", "RENEW", "RENEW_ALL", "STALE", "Into", "Lease", "claim", "lease"]

Into = Callable[[Any], sqlite.Insert] | Callable[[Any], postgresql.Insert]
"""`insert` of the dialect: `ON CONFLICT` is no word of standard SQL."""

_leases = leases.c
_of_owner = _leases.owner == bindparam("holder")

RELEASE = delete(leases).where(_leases.name == bindparam("claim"), _of_owner)
"""Ends what `holder` has of `claim`."""

RENEW = (
    update(leases)
    .where(_leases.name == bindparam("claim"), _of_owner)
    .values(expires_at=bindparam("until"))
)
"""Lets it last until then, if `holder` still has it."""

RENEW_ALL = (
    update(leases)
    .where(
        _of_owner,
        func.substr(_leases.name, 1, func.length(bindparam("kind"))) == bindparam("kind"),
    )
    .values(expires_at=bindparam("until"))
)
"""The same for everything of `holder` whose name begins with `kind`."""

STALE = swept(_leases.name, _leases.expires_at <= bindparam("now"))
"""Deletes some that are over."""


@cache
def claim(into: Into) -> Insert:
    """Takes what is free, over, or its owner's already; otherwise no row changes."""
    insert = into(leases).values(
        name=bindparam("claim"), owner=bindparam("holder"), expires_at=bindparam("until")
    )
    replaced = {name: insert.excluded[name] for name in ("owner", "expires_at")}
    to_have = or_(_leases.expires_at <= bindparam("now"), _leases.owner == insert.excluded.owner)
    return insert.on_conflict_do_update(index_elements=["name"], set_=replaced, where=to_have)


class Lease:
    """What the holder of a lease can do with it.

    Args:
        database: Where it is written down.
        name: What it is for.
        seconds: How long it lasts from when it was taken or renewed.
        clock: Returns seconds since the Unix epoch.
        owner: Who holds it.
    """

    def __init__(
        self, database: Database, name: str, seconds: float, clock: Clock, *, owner: str
    ) -> None:
        self._database, self._seconds, self._clock = database, seconds, clock
        self._whose = {"claim": name, "holder": owner}

    def take(self) -> bool:
        """Whether it is this owner's now: nobody had it, or whoever had it let it run out.

        Raises:
            StorageError: If the database cannot say.
        """
        now = self._clock()
        into: Into = sqlite.insert if self._database.is_sqlite else postgresql.insert
        given = {**self._whose, "now": now, "until": now + self._seconds}
        return self._database.write((claim(into), given)) == [1]

    def renew(self) -> bool:
        """Let it last as long again from now on; `False` if somebody else has taken it.

        Raises:
            StorageError: If the database cannot say.
        """
        until = self._clock() + self._seconds
        return self._database.write((RENEW, {**self._whose, "until": until})) == [1]

    def end(self) -> None:
        """Give it up, if it is still this owner's.

        Raises:
            StorageError: If the database cannot do it; the lease then runs out by itself.
        """
        self._database.write((RELEASE, self._whose))


@contextmanager
def lease(
    database: Database, name: str, seconds: float, clock: Clock, *, owner: str | None = None
) -> Iterator[Lease | None]:
    """Do something that only one process at a time shall do, on any number of hosts.

    Whoever dies inside the block keeps the others out for `seconds` at most. A block that takes
    longer must `renew` it, or another process begins beside it. Hosts compare the lease with their
    own clocks, so it must be longer than those differ.

    Args:
        database: What the processes share.
        name: What is done.
        seconds: How long the lease lasts unless it is renewed.
        clock: Returns seconds since the Unix epoch.
        owner: Who does it; by default nobody else, not even another thread of this process.

    Yields:
        The lease; `None` if somebody else has it.

    Raises:
        ConfigurationError: If `seconds` is not positive.
        StorageError: If the database cannot say whose it is.

    Example:
        >>> from llmops_langchain.clock import system_clock
        >>> with Database("sqlite://") as database:
        ...     with lease(database, "tidy", 60, system_clock) as mine:
        ...         with lease(database, "tidy", 60, system_clock) as another:
        ...             print(mine is not None, another)
        True None
    """
    if not seconds > 0:
        msg = f"`seconds` must be positive, got {seconds!r}"
        raise ConfigurationError(msg)
    wanted = Lease(database, name, seconds, clock, owner=owner or str(new_id()))
    if not wanted.take():
        yield None
        return
    try:
        yield wanted
    finally:
        with suppress(StorageError):  # it runs out by itself
            wanted.end()
