"""Many rows to PostgreSQL at once: copied into a temporary table, then moved from there."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, TableClause, column, table
from sqlalchemy.exc import DBAPIError

__all__ = ["WORTH_COPYING", "copied"]

WORTH_COPYING = 20
"""Rows from which on it is faster than a statement for each."""


def copied(connection: Connection, like: Table, rows: Iterable[Sequence[Any]]) -> TableClause:
    """Bring rows into a temporary table that ends with the transaction.

    Args:
        connection: To PostgreSQL, inside a transaction.
        like: Whose columns the temporary table has.
        rows: Values in the order of the columns, as the driver takes them.

    Returns:
        The temporary table.

    Raises:
        DBAPIError: What the server says of the rows.
    """
    staged = f"staged_{like.name}"
    connection.exec_driver_sql(
        f"CREATE TEMP TABLE IF NOT EXISTS {staged} (LIKE {like.name}) ON COMMIT DROP"
    )
    connection.exec_driver_sql(f"TRUNCATE {staged}")
    columns = ", ".join(each.name for each in like.c)
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
    try:
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {staged} ({columns}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
    except dialect.dbapi.Error as error:
        # As SQLAlchemy would have raised it, without the rows.
        statement = f"COPY {staged}"
        raise DBAPIError.instance(
            statement,
            None,
            error,
            dialect.dbapi.Error,
            hide_parameters=True,
            dialect=dialect,
        ) from error
    return table(staged, *(column(each.name, each.type) for each in like.c))
