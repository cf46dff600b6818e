"""Experiences as rows that threads and processes share: the truth behind every index."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    RowMapping,
    Select,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.experience import Experience
from llmops_langchain.learning.row_form import RowForm, Stored, Vector
from llmops_langchain.storage import Database
from llmops_langchain.storage.counters import advance
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.leases import Into
from llmops_langchain.storage.schema import experiences, generations
from llmops_langchain.storage.sweeping import sweep, swept

__all__ = ["Counted", "ExperienceRows"]

_CHANGES, _FORGOTTEN = "learning", "learning:forgotten"
"""Counters: writes of experiences, and rounds of forgetting."""

_IDENTITY = "learning:database"
"""Names the number by which a database is told from others."""

_PAGE = 1_000
"""Rows that are read at a time."""

_COUNTERS = select(generations.c.name, generations.c.value).where(
    generations.c.name.in_((_CHANGES, _FORGOTTEN))
)


class Counted(NamedTuple):
    """How far the rows have come."""

    change: int
    """Grows with each write."""
    forgotten: int
    """Grows when rows were deleted."""


class ExperienceRows:
    """The table of all experiences of a database; each method is one transaction or a few.

    Args:
        database: Where the rows are.
        encryption_keys: Fernet keys: the first encrypts, all decrypt.
        may_write: Whether texts may be written at all.
        retention: Seconds that an experience is kept; `None` keeps it.

    Raises:
        ConfigurationError: If a key is no Fernet key.
    """

    def __init__(
        self,
        database: Database,
        *,
        encryption_keys: Sequence[str] = (),
        may_write: bool = True,
        retention: float | None = None,
    ) -> None:
        self.database, self._form = database, RowForm(encryption_keys)
        self._may_write, self._retention = may_write, retention
        self._into: Into = sqlite.insert if database.is_sqlite else postgresql.insert

    @property
    def unreadable(self) -> int:
        """Rows that were passed over: damaged, or of a key that is not known."""
        return self._form.unreadable

    def write(
        self, learnt: Sequence[Experience], vectors: Sequence[Vector | None], embedder: str | None
    ) -> None:
        """Keep experiences; each takes the place of an earlier one with its id.

        Raises:
            ConfigurationError: If no text may be stored without an `encryption_key`.
            StorageError: If the database cannot do it; nothing of it is kept then.
        """
        if not self._may_write:
            msg = "`require_encryption` is set: experiences need an `encryption_key`"
            raise ConfigurationError(msg)
        by_id = {
            each.id: self._form.row(each, vector, embedder)
            for each, vector in zip(learnt, vectors, strict=True)
        }
        with self.database.begin() as connection:
            connection.execute(advance(self._into), {"name": _CHANGES})
            change = _counted(connection).change
            # In one order everywhere, so that processes do not wait for each other in a circle.
            rows = [{**by_id[key], "change": change} for key in sorted(by_id)]
            connection.execute(_put(self._into), rows)

    def identity(self) -> int:
        """A number that this database has and, in all likelihood, no other.

        Raises:
            StorageError: If the database cannot say.
        """
        drawn = self._into(generations).values(name=_IDENTITY, value=secrets.randbits(62))
        known = select(generations.c.value).where(generations.c.name == _IDENTITY)
        with self.database.begin() as connection:
            connection.execute(drawn.on_conflict_do_nothing(index_elements=["name"]))
            return int(connection.execute(known).scalar_one())

    def counted(self) -> Counted:
        """How far the rows have come.

        Raises:
            StorageError: If the database cannot say.
        """
        with self.database.begin(read_only=True) as connection:
            return _counted(connection)

    def newest(self, workspace: str | None, after: int, most: int) -> list[Stored]:
        """The newest rows of a workspace that were written since `after`, the oldest first.

        Raises:
            StorageError: If the database cannot say.
        """
        asked = (
            select(experiences)
            .where(_of(workspace), experiences.c.change > after)
            .order_by(experiences.c.change.desc(), experiences.c.id.desc())
            .limit(most)
        )
        with self.database.begin(read_only=True) as connection:
            rows = list(connection.execute(asked).mappings())
        return list(self._form.readable(reversed(rows)))

    def since(self, after: int, most: int = _PAGE) -> tuple[list[Stored], int | None]:
        """Rows of every workspace that were written since `after`, all of a write together.

        Returns:
            About `most` rows, and the last of their changes; `None` if there are none.

        Raises:
            StorageError: If the database cannot say.
        """
        c = experiences.c
        page = select(c.change).where(c.change > after).order_by(c.change).limit(most).subquery()
        with self.database.begin(read_only=True) as connection:
            last = connection.execute(select(func.max(page.c.change))).scalar()
            if last is None:
                return [], None
            asked = select(experiences).where(c.change > after, c.change <= last).order_by(c.change)
            rows = list(connection.execute(asked).mappings())
        return list(self._form.readable(rows)), int(last)

    def found(self, workspace: str | None, ids: Iterable[UUID]) -> dict[UUID, Stored]:
        """Rows of a workspace by their ids; those that are gone are left out.

        Raises:
            StorageError: If the database cannot say.
        """
        wanted = list(ids)
        found: dict[UUID, Stored] = {}
        with self.database.begin(read_only=True) as connection:
            for start in range(0, len(wanted), _PAGE):
                some = experiences.c.id.in_(wanted[start : start + _PAGE])
                rows = connection.execute(select(experiences).where(_of(workspace), some))
                found |= {row.experience.id: row for row in self._form.readable(rows.mappings())}
        return found

    def last_of(self, workspace: str | None, project: str) -> Experience | None:
        """The latest experience of a project; `None` if there is none.

        Raises:
            StorageError: If the database cannot say.
        """
        theirs = select(experiences).where(_of(workspace), experiences.c.project == project)
        asked = theirs.order_by(experiences.c.ts.desc(), experiences.c.change.desc()).limit(1)
        with self.database.begin(read_only=True) as connection:
            rows = list(connection.execute(asked).mappings())
        return next((each.experience for each in self._form.readable(rows)), None)

    def all(self, workspace: str | None) -> Iterator[Stored]:
        """Every row of a workspace, a page at a time, by its id.

        Raises:
            StorageError: If the database cannot say.
        """
        asked = select(experiences).where(_of(workspace)).order_by(experiences.c.id).limit(_PAGE)
        for rows in self._pages(asked):
            yield from self._form.readable(rows)

    def number(self, workspace: str | None) -> int:
        """How many rows a workspace has.

        Raises:
            StorageError: If the database cannot say.
        """
        with self.database.begin(read_only=True) as connection:
            counting = select(func.count()).select_from(experiences).where(_of(workspace))
            return int(connection.execute(counting).scalar_one())

    def reaches(self, number: int) -> bool:
        """Whether there are so many rows, of all workspaces.

        Raises:
            StorageError: If the database cannot say.
        """
        last = select(experiences.c.id).offset(max(0, number - 1)).limit(1)
        with self.database.begin(read_only=True) as connection:
            return number <= 0 or connection.execute(last).first() is not None

    def ids(self) -> Iterator[UUID]:
        """The ids of every row of every workspace.

        Raises:
            StorageError: If the database cannot say.
        """
        for rows in self._pages(select(experiences.c.id).order_by(experiences.c.id).limit(_PAGE)):
            yield from (row["id"] for row in rows)

    def not_embedded(self, embedder: str, most: int, after: int = 0) -> list[Stored]:
        """Rows written since `after` without a vector of this embedder, of any workspace.

        Raises:
            StorageError: If the database cannot say.
        """
        newest = experiences.c.change.desc()
        lacking = select(experiences).where(experiences.c.change > after, _lacks(embedder))
        asked = lacking.order_by(newest).limit(most)
        with self.database.begin(read_only=True) as connection:
            rows = list(connection.execute(asked).mappings())
        return list(self._form.readable(rows))

    def number_not_embedded(self, embedder: str) -> int:
        """How many rows have no vector of this embedder.

        Raises:
            StorageError: If the database cannot say.
        """
        with self.database.begin(read_only=True) as connection:
            counting = select(func.count()).select_from(experiences).where(_lacks(embedder))
            return int(connection.execute(counting).scalar_one())

    def workspaces(self) -> list[str | None]:
        """Those that have rows.

        Raises:
            StorageError: If the database cannot say.
        """
        with self.database.begin(read_only=True) as connection:
            return list(connection.execute(select(experiences.c.workspace).distinct()).scalars())

    def embed(self, vectors: Sequence[tuple[UUID, Vector | None]], embedder: str) -> None:
        """Keep the vectors of rows that are there; `None` for a task that has no direction.

        Raises:
            StorageError: If the database cannot do it.
        """
        c = experiences.c
        put = (
            update(experiences)
            .where(c.id == bindparam("of"))
            .values(vector=bindparam("with_"), embedder=embedder, change=bindparam("at"))
        )
        with self.database.begin() as connection:
            connection.execute(advance(self._into), {"name": _CHANGES})
            change = _counted(connection).change
            told = [
                {
                    "of": key,
                    "with_": None if vector is None else self._form.packed(key, vector),
                    "at": change,
                }
                for key, vector in sorted(vectors, key=lambda each: each[0])
            ]
            connection.execute(put, told)

    def delete(
        self, workspace: str | None, *, ids: Sequence[UUID] = (), project: str | None = None
    ) -> int:
        """Delete rows of a workspace, by id or all of a project; how many there were.

        Raises:
            StorageError: If the database cannot do it; what was committed before stays so.
        """
        c = experiences.c
        touched = 0
        if project is not None:
            touched += sweep(self.database, swept(c.id, _of(workspace), c.project == project))
        for start in range(0, len(ids), _PAGE):
            some = c.id.in_(ids[start : start + _PAGE])
            with self.database.begin() as connection:
                gone = connection.execute(delete(experiences).where(_of(workspace), some))
            touched += gone.rowcount
        return self._forgotten(touched)

    def forget(self, whom: Subject) -> int:
        """Delete the experiences of a person or a conversation; how many there were."""
        theirs = swept(experiences.c.id, *whom.rows_of(experiences))
        return self._forgotten(sweep(self.database, theirs))

    def maintain(self, now: float) -> Done:
        """Let go what is past its retention."""
        if self._retention is None:
            return {"expired": 0}
        old = swept(experiences.c.id, experiences.c.ts < now - self._retention)
        return {"expired": self._forgotten(sweep(self.database, old))}

    def _forgotten(self, touched: int) -> int:
        if touched:
            self.database.write((advance(self._into), {"name": _FORGOTTEN}))
        return touched

    def _pages(self, asked: Select[Any]) -> Iterator[list[RowMapping]]:
        last: UUID | None = None
        while True:
            page = asked if last is None else asked.where(experiences.c.id > last)
            with self.database.begin(read_only=True) as connection:
                rows = list(connection.execute(page).mappings())
            if not rows:
                return
            last = rows[-1]["id"]
            yield rows


def _of(workspace: str | None) -> ColumnElement[bool]:
    """The rows of one tenant; those that nobody named a workspace for are a tenant too."""
    column = experiences.c.workspace
    return column.is_(None) if workspace is None else column == workspace


def _lacks(embedder: str) -> ColumnElement[bool]:
    column = experiences.c.embedder
    return or_(column.is_(None), column != embedder)


def _counted(connection: Connection) -> Counted:
    found = {row.name: row.value for row in connection.execute(_COUNTERS)}
    return Counted(found.get(_CHANGES, 0), found.get(_FORGOTTEN, 0))


@cache
def _put(into: Into) -> Insert:
    insert = into(experiences)
    kept = [column for column in experiences.c if column.key != "id"]
    return insert.on_conflict_do_update(
        index_elements=["id"],
        set_={column.key: insert.excluded[column.key] for column in kept},
        # Whoever knows an id of another tenant cannot write over its row.
        where=experiences.c.workspace.is_not_distinct_from(insert.excluded.workspace),
    )
