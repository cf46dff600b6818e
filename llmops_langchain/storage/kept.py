"""What every part that keeps rows offers, and the one who asks them in turn."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import ColumnElement, Table

from llmops_langchain.clock import Clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.database import Database
from llmops_langchain.storage.leases import Lease, lease

__all__ = ["Done", "Kept", "Maintenance", "Subject"]

logger = logging.getLogger(__name__)

Done = Mapping[str, int]
"""How often something was done, by a word for it."""

_LEASE = 300.0
"""Seconds that one part may take before another process may begin too, which does no harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose rows are to be forgotten: one user's, or those of one conversation.

    Raises:
        ConfigurationError: If not exactly one of `user` and `thread` is named.
    """

    user: str | None = None
    """As `track(user=…)` or `config["metadata"]` named the person."""
    thread: str | None = None
    """As `track(thread=…)` or `config["metadata"]` named the conversation."""
    workspace: str | None = None
    """Only what belongs to this tenant; `None` means all."""

    def __post_init__(self) -> None:
        named = [each for each in (self.user, self.thread) if each]
        if len(named) != 1 or not isinstance(named[0], str):
            msg = f"name either a `user` or a `thread`, got {self.user!r} and {self.thread!r}"
            raise ConfigurationError(msg)

    @property
    def named(self) -> dict[str, str]:
        """What rows of this subject have, by the key of its column."""
        said = {"user": self.user, "thread": self.thread, "workspace": self.workspace}
        return {name: value for name, value in said.items() if value is not None}

    def rows_of(self, table: Table) -> list[ColumnElement[bool]]:
        """The conditions that hold for the subject's rows of a table with these columns."""
        return [table.c[name] == value for name, value in self.named.items()]


class Kept(Protocol):
    """A part that keeps rows: it lets old ones go, and those of one person."""

    def maintain(self, now: float) -> Done:
        """Do what is due, a little at a time, and say how often what was done.

        Any number of processes may do it at once, though usually one at a time does.

        Args:
            now: Seconds since the Unix epoch.

        Raises:
            StorageError: If the database cannot do it; what was done before stays done.
        """

    def forget(self, whom: Subject) -> int:
        """Delete what tells of a person or a conversation; how many rows that touched.

        Raises:
            StorageError: If the database cannot do it; what was done before stays done.
        """


class Maintenance:
    """Asks parts in turn, and lets none that fails stop the others.

    Args:
        database: What the processes share, so that one at a time does the housekeeping.
        parts: By name, in the order in which they are asked.
        clock: Returns seconds since the Unix epoch.

    Example:
        >>> from llmops_langchain.clock import system_clock
        >>> class Shelf:
        ...     def maintain(self, now):
        ...         return {"expired": 3}
        >>> with Database("sqlite://") as database:
        ...     Maintenance(database, {"shelf": Shelf()}, clock=system_clock).run()
        {'shelf': {'expired': 3}}
    """

    def __init__(self, database: Database, parts: Mapping[str, Kept], *, clock: Clock) -> None:
        self._database, self._parts, self._clock = database, dict(parts), clock

    def run(self, now: float | None = None) -> dict[str, dict[str, int]]:
        """One round, unless another process is at it.

        Args:
            now: Seconds since the Unix epoch; by default what the clock says.

        Returns:
            What each part did, by part; `{"failed": 1}` for one that could not, which is logged.
            Nothing at all if another process has the lease `maintain`.

        Raises:
            StorageError: If the database cannot say whose the lease is.
        """
        with lease(self._database, "maintain", _LEASE, self._clock) as held:
            if held is None:
                return {}
            now = self._clock() if now is None else now
            return {
                name: self._maintained(name, part, now, held) for name, part in self._parts.items()
            }

    def forget(self, whom: Subject) -> dict[str, int]:
        """Let every part forget a person or a conversation.

        Returns:
            How many rows that touched, by part.

        Raises:
            StorageError: What the first part that could not do it raised, once the others have
                done it: forget again when the database is back.
        """
        touched, failed = dict[str, int](), dict[str, Exception]()
        for name, part in self._parts.items():
            try:
                touched[name] = part.forget(whom)
            except Exception as error:  # noqa: BLE001 - it is raised below
                failed[name] = error
        for first in failed.values():
            first.add_note(f"not all is forgotten: {', '.join(failed)} failed; forget again")
            raise first
        return touched

    def _maintained(self, name: str, part: Kept, now: float, held: Lease) -> dict[str, int]:
        try:
            held.renew()
            return dict(part.maintain(now))
        except Exception as error:  # noqa: BLE001 - the others must have their turn, whatever it is
            # Its class alone: the text of an error may quote what was stored.
            logger.warning("the housekeeping of %s failed: %s", name, type(error).__name__)
            return {"failed": 1}
