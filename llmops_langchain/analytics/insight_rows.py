"""What was found, whom it was told, and what somebody dismissed: one row an insight."""

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.analytics.insights import Insight, State, advanced
from llmops_langchain.errors import NotFoundError
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.schema import insight_states

__all__ = ["InsightRows"]

_t = insight_states.c
_KEPT = 90 * 86_400.0
"""Seconds after which what was not found any more is forgotten."""


class InsightRows:
    """The states of insights.

    Args:
        database: Where they are.

    Example:
        >>> with Database("sqlite://") as database:
        ...     InsightRows(database).maintain(now=0.0)
        {'deleted': 0}
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def advance(
        self,
        found: Mapping[str, Insight],
        about: Mapping[str, str],
        types: frozenset[str],
        now: float,
    ) -> dict[str, tuple[State, bool]]:
        """Bring the states of a scope up to date; whether each found one is to be told.

        Args:
            found: By fingerprint.
            about: Workspace and user that were looked at.
            types: What was looked for.
            now: UTC seconds since the Unix epoch.
        """
        states: dict[str, tuple[State, bool]] = {}
        with self._database.begin() as connection:
            known = {row.fingerprint: row for row in self._of(connection, about, types)}
            for fingerprint in sorted(known.keys() | found.keys()):
                row, insight = known.get(fingerprint), found.get(fingerprint)
                before = None if row is None else _state(row)
                severity = None if insight is None else insight.severity
                state, is_due = advanced(before, severity, now)
                if state is None:
                    continue
                if insight is not None:
                    states[fingerprint] = state, is_due
                    _write(connection, insight, state, about)
                elif state != before:
                    changed = update(insight_states).where(_t.fingerprint == fingerprint)
                    connection.execute(changed.values(status=state.status))
        return states

    def dismiss(self, fingerprint: str) -> None:
        """Mark one.

        Raises:
            NotFoundError: If there is none.
        """
        changed = update(insight_states).where(_t.fingerprint == fingerprint)
        with self._database.begin() as connection:
            if not connection.execute(changed.values(status="dismissed")).rowcount:
                msg = f"no insight {fingerprint!r}: `insights()` tells the fingerprints"
                raise NotFoundError(msg)

    def maintain(self, now: float) -> Done:
        """Forget what was not found for a long time."""
        with self._database.begin() as connection:
            old = delete(insight_states).where(_t.last_seen < now - _KEPT)
            return {"deleted": connection.execute(old).rowcount}

    def forget(self, whom: Subject) -> int:
        """Delete what was found of a user; of conversations nothing is."""
        if whom.user is None:
            return 0
        of_them = delete(insight_states).where(*whom.rows_of(insight_states))
        with self._database.begin() as connection:
            number = connection.execute(of_them).rowcount
            # Insights for others may be about a user's budget.
            rows = connection.execute(select(_t.fingerprint, _t.body).where(_t.user.is_(None)))
            named = [each.fingerprint for each in rows if _is_about(orjson.loads(each.body), whom)]
            gone = delete(insight_states).where(_t.fingerprint.in_(named))
            return number + connection.execute(gone).rowcount

    def _of(
        self, connection: Connection, about: Mapping[str, str], types: frozenset[str]
    ) -> list[Row[Any]]:
        scope = [_t[name].is_not_distinct_from(about.get(name)) for name in ("workspace", "user")]
        asked = select(insight_states).where(_t.type.in_(types), *scope)
        locked = asked if self._database.is_sqlite else asked.with_for_update()
        return list(connection.execute(locked.order_by(_t.fingerprint)).all())


def _is_about(body: Mapping[str, Any], whom: Subject) -> bool:
    about = body["about"]
    is_there = whom.workspace is None or about.get("workspace") == whom.workspace
    return about.get("user") == whom.user and is_there


def _state(row: Row[Any]) -> State:
    return State(
        status=row.status,
        severity=row.severity,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        notified_at=row.notified_at,
    )


def _write(
    connection: Connection, insight: Insight, state: State, about: Mapping[str, str]
) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    changing = {
        "severity": state.severity,
        "status": state.status,
        "first_seen": state.first_seen,
        "last_seen": state.last_seen,
        "notified_at": state.notified_at,
        "body": orjson.dumps(insight.to_dict()),
    }
    made = dialect.insert(insight_states).values(
        {
            _t.fingerprint: insight.fingerprint,
            _t.workspace: about.get("workspace"),
            _t.user: about.get("user"),
            _t.type: insight.type,
            **{_t[name]: value for name, value in changing.items()},
        }
    )
    connection.execute(
        made.on_conflict_do_update(
            index_elements=["fingerprint"],
            set_={_t[name]: made.excluded[name] for name in changing},
        )
    )
