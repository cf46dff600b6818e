"""What every table is made with."""

from sqlalchemy import Boolean, Column, Integer, MetaData, false

__all__ = ["count", "flag", "metadata"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def count(name: str) -> Column[int]:
    """A number that is 0 unless it is said."""
    return Column(name, Integer, nullable=False, server_default="0")


def flag(name: str) -> Column[bool]:
    """False unless it is said."""
    return Column(name, Boolean, nullable=False, server_default=false())
