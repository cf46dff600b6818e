"""Whose fault it is that a batch cannot be stored."""

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    StatementError,
)

__all__ = ["is_about_a_value"]

# Beginnings of the states in which PostgreSQL refuses a value: too large, or of another type.
_REFUSALS = ("54", "42804")


def is_about_a_value(error: Exception) -> bool:
    """Whether one event is to blame, so that the others can be stored without it."""
    if not isinstance(error, DBAPIError):
        of_python = (StatementError, TypeError, ValueError, AttributeError, OverflowError)
        return isinstance(error, of_python)
    if isinstance(error, (DataError, IntegrityError)):
        return True
    state = getattr(error.orig, "sqlstate", None)  # only a server's answer has one
    if state is None:
        return isinstance(error, (InterfaceError, ProgrammingError))
    return bool(state.startswith(_REFUSALS))
