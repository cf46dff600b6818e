"""Decisions, outcomes and states of models as rows that threads and processes share."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Insert, RowMapping, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.ledger import Scope
from llmops_langchain.routing.health import Told
from llmops_langchain.routing.records import Outcome, Record
from llmops_langchain.routing.seen import Seen, packed, unpacked
from llmops_langchain.storage import Database
from llmops_langchain.storage.counters import advance
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.leases import Into
from llmops_langchain.storage.packing import Packer
from llmops_langchain.storage.schema import decisions, generations, outcomes, router_state
from llmops_langchain.storage.sweeping import sweep, swept

__all__ = ["News", "RoutingRows"]

_CHANGES, _FORGOTTEN = "routing", "routing:forgotten"
"""Counters: writes of outcomes, and rounds of forgetting."""

_MOST_OUTCOMES = 20_000
"""Of one pool that are kept: the newest."""

_TOLD = ("decision_id", "choice", "score", "source", "ts", "input_tokens", "propensity", "weight")

_COUNTERS = select(generations.c.name, generations.c.value).where(
    generations.c.name.in_((_CHANGES, _FORGOTTEN))
)
_STATES = select(router_state).where(router_state.c.pool == bindparam("pool"))
_NEWER = (
    select(outcomes)
    .where(
        outcomes.c.pool == bindparam("pool"),
        outcomes.c.embedder == bindparam("embedder"),
        outcomes.c.change > bindparam("after"),
    )
    .order_by(outcomes.c.change, outcomes.c.decision_id, outcomes.c.choice)
)
_FOUND = select(decisions).where(decisions.c.id == bindparam("id"))
_OF_LATE = (decisions.c.pool == bindparam("pool"), decisions.c.ts >= bindparam("since"))
_SINCE = select(decisions).where(*_OF_LATE).order_by(decisions.c.ts)
_SPENT = select(func.coalesce(func.sum(decisions.c.cost), 0)).where(*_OF_LATE)
_CALLS = select(func.count()).select_from(decisions).where(*_OF_LATE)


class News(NamedTuple):
    """What is new in the rows of a pool."""

    outcomes: list[Outcome]
    cursor: int
    """Where the next look begins."""
    forgotten: int
    """Grows when rows were forgotten: then all must be read again."""
    states: dict[str, Told]
    """How each model fares, by its name."""


class RoutingRows:
    """The tables of all routers of a database; each method is one transaction.

    Prompts are kept as vectors and features, encrypted if there are keys.

    Args:
        database: Where the rows are.
        encryption_keys: Fernet keys: the first encrypts, all decrypt.
        keeps_prompts: Whether vectors of prompts may be written at all.
        retention: Seconds that a decision is kept.

    Raises:
        ConfigurationError: If a key is no Fernet key.
    """

    def __init__(
        self,
        database: Database,
        *,
        encryption_keys: Sequence[str] = (),
        keeps_prompts: bool = True,
        retention: float = 30 * 86_400.0,
    ) -> None:
        self._database, self._packer = database, Packer(encryption_keys)
        self._keeps_prompts, self._retention = keeps_prompts, retention
        self._into: Into = sqlite.insert if database.is_sqlite else postgresql.insert

    def write(
        self,
        pool: str,
        embedder: str | None,
        *,
        decided: Sequence[Record],
        judged: Sequence[Outcome],
        states: Mapping[str, Told],
    ) -> None:
        """Keep decisions, outcomes and states; each takes the place of an older word of the same.

        Raises:
            StorageError: If the database cannot do it; nothing of it is kept then.
        """
        records = [self._record_row(pool, embedder, each) for each in _ordered(decided)]
        told = [
            {"pool": pool, "choice": name, **state._asdict()}
            for name, state in sorted(states.items())
        ]
        with self._database.begin() as connection:
            if records:
                connection.execute(_put_decisions(self._into), records)
            if judged and embedder is not None and self._keeps_prompts:
                connection.execute(advance(self._into), {"name": _CHANGES})
                change = _counters(connection)[_CHANGES]
                rows = [self._outcome_row(pool, embedder, each, change) for each in judged]
                connection.execute(_put_outcomes(self._into), rows)
            if told:
                connection.execute(_put_states(self._into), told)

    def news(self, pool: str, embedder: str | None, after: int) -> News:
        """Outcomes that were written since `after`, and how the models fare.

        Raises:
            StorageError: If the database cannot say.
        """
        with self._database.begin(read_only=True) as connection:
            counters = _counters(connection)
            asked = {"pool": pool, "embedder": embedder, "after": after}
            is_new = embedder is not None and counters[_CHANGES] > after
            rows = list(connection.execute(_NEWER, asked).mappings()) if is_new else []
            states = connection.execute(_STATES, {"pool": pool}).all()
        return News(
            list(filter(None, map(self._outcome, rows))),
            counters[_CHANGES],
            counters[_FORGOTTEN],
            {
                row.choice: Told(
                    row.failures, row.rests_until, row.latency, row.answer_tokens, row.updated
                )
                for row in states
            },
        )

    def find(self, run_id: UUID) -> Record | None:
        """The decision of a run; `None` if it is not kept.

        Raises:
            StorageError: If the database cannot say.
        """
        with self._database.begin(read_only=True) as connection:
            row = connection.execute(_FOUND, {"id": run_id}).mappings().first()
        return None if row is None else self._record(row)

    def since(self, pool: str, since: float) -> Iterator[tuple[Record, list[tuple[str, float]]]]:
        """Decisions from a moment on, each with the scores that its answers had.

        Raises:
            StorageError: If the database cannot say.
        """
        with self._database.begin(read_only=True) as connection:
            scored: dict[UUID, list[tuple[str, float]]] = {}
            known = select(outcomes.c.decision_id, outcomes.c.choice, outcomes.c.score)
            for row in connection.execute(known.where(outcomes.c.pool == pool)):
                scored.setdefault(row.decision_id, []).append((row.choice, row.score))
            asked = {"pool": pool, "since": since}
            rows = list(connection.execute(_SINCE, asked).mappings())
        return ((self._record(row), scored.get(row["id"], [])) for row in rows)

    def spent(self, pool: str, since: float, lately: float) -> tuple[int, int]:
        """Nano-dollars of the pool's calls from one moment on, and its calls from another on.

        Raises:
            StorageError: If the database cannot say.
        """
        with self._database.begin(read_only=True) as connection:
            cost = connection.execute(_SPENT, {"pool": pool, "since": since}).scalar_one()
            calls = connection.execute(_CALLS, {"pool": pool, "since": lately}).scalar_one()
        return int(cost), int(calls)

    def maintain(self, now: float) -> Done:
        """Let go what is past its retention, and all but the newest outcomes of each pool."""
        expired = swept(decisions.c.id, decisions.c.ts < now - self._retention)
        done = {"expired": sweep(self._database, expired)}
        with self._database.begin(read_only=True) as connection:
            newest = select(outcomes.c.pool, func.count()).group_by(outcomes.c.pool)
            crowded = [
                pool for pool, number in connection.execute(newest) if number > _MOST_OUTCOMES
            ]
        done["outcomes"] = sum(self._thinned(pool) for pool in crowded)
        return done

    def forget(self, whom: Subject) -> int:
        """Delete the decisions and outcomes of a person or a conversation; how many there were."""
        touched = 0
        for table, key in ((decisions, "id"), (outcomes, "decision_id")):
            theirs = swept(table.c[key], *whom.rows_of(table))
            touched += sweep(self._database, theirs)
        if touched:
            self._database.write((advance(self._into), {"name": _FORGOTTEN}))
        return touched

    def _thinned(self, pool: str) -> int:
        oldest = (
            select(outcomes.c.change)
            .where(outcomes.c.pool == pool)
            .order_by(outcomes.c.change.desc())
            .offset(_MOST_OUTCOMES)
            .limit(1)
        )
        with self._database.begin() as connection:
            last = connection.execute(oldest).scalar()
            gone = delete(outcomes).where(outcomes.c.pool == pool, outcomes.c.change <= last)
            return connection.execute(gone).rowcount if last is not None else 0

    def _record_row(self, pool: str, embedder: str | None, record: Record) -> dict[str, Any]:
        has_seen = record.seen is not None and embedder is not None and self._keeps_prompts
        return {
            "id": record.id,
            "ts": record.ts,
            "pool": pool,
            **_of_whom(record.scope),
            "choice": record.choice,
            "propensity": record.propensity,
            "answered_by": record.answered_by,
            "cost": record.cost,
            "latency": record.latency,
            "input_tokens": record.input_tokens,
            "body": record.body,
            "embedder": embedder if has_seen else None,
            "seen": self._packed(record.id, record.seen) if has_seen and record.seen else None,
        }

    def _record(self, row: RowMapping) -> Record:
        seen = row["seen"]
        return Record(
            id=row["id"],
            ts=row["ts"],
            choice=row["choice"],
            propensity=row["propensity"],
            body=bytes(row["body"]),
            seen=None if seen is None else self._unpacked(row["id"], seen),
            input_tokens=row["input_tokens"],
            embedder=row["embedder"],
            scope=_scope(row),
            answered_by=row["answered_by"],
            cost=row["cost"],
            latency=row["latency"],
        )

    def _outcome_row(
        self, pool: str, embedder: str, outcome: Outcome, change: int
    ) -> dict[str, Any]:
        return {
            "decision_id": outcome.decision_id,
            "choice": outcome.choice,
            "ts": outcome.ts,
            "pool": pool,
            **_of_whom(outcome.scope),
            "score": outcome.score,
            "weight": outcome.weight,
            "source": outcome.source,
            "propensity": outcome.propensity,
            "input_tokens": outcome.input_tokens,
            "embedder": embedder,
            "seen": self._packed(outcome.decision_id, outcome.seen),
            "change": change,
        }

    def _outcome(self, row: RowMapping) -> Outcome | None:
        seen = self._unpacked(row["decision_id"], row["seen"])
        if seen is None:
            return None
        told: dict[str, Any] = {name: row[name] for name in _TOLD}
        return Outcome(**told, seen=seen, scope=_scope(row))

    def _packed(self, decision_id: UUID, seen: Seen) -> bytes:
        return self._packer.pack(decision_id.bytes, packed(seen))

    def _unpacked(self, decision_id: UUID, body: bytes) -> Seen | None:
        try:
            return unpacked(self._packer.unpack(decision_id.bytes, body))
        except ValueError:  # of another key, or damaged: nothing can be learnt of it
            return None


def _ordered(decided: Sequence[Record]) -> list[Record]:
    # In one order everywhere, so that processes do not wait for each other in a circle.
    return sorted(decided, key=lambda each: each.id)


def _of_whom(scope: Scope) -> dict[str, str | None]:
    return {"workspace": scope.workspace, "user": scope.user, "thread": scope.thread}


def _scope(row: RowMapping) -> Scope:
    # A mapping of a row has the names of the columns in SQL.
    return Scope(workspace=row["workspace"], user=row["user_id"], thread=row["thread"])


def _counters(connection: Connection) -> dict[str, int]:
    found = {row.name: row.value for row in connection.execute(_COUNTERS)}
    return {_CHANGES: found.get(_CHANGES, 0), _FORGOTTEN: found.get(_FORGOTTEN, 0)}


@cache
def _put_decisions(into: Into) -> Insert:
    changed = ("answered_by", "cost", "latency")
    insert = into(decisions)
    return insert.on_conflict_do_update(
        index_elements=["id"], set_={name: insert.excluded[name] for name in changed}
    )


@cache
def _put_outcomes(into: Into) -> Insert:
    insert = into(outcomes)
    kept = ("ts", "score", "weight", "source", "change")
    return insert.on_conflict_do_update(
        index_elements=["decision_id", "choice"],
        set_={name: insert.excluded[name] for name in kept},
        where=insert.excluded.weight >= outcomes.c.weight,
    )


@cache
def _put_states(into: Into) -> Insert:
    insert = into(router_state)
    return insert.on_conflict_do_update(
        index_elements=["pool", "choice"],
        set_={name: insert.excluded[name] for name in Told._fields},
        where=insert.excluded.updated >= router_state.c.updated,
    )
