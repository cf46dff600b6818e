"""Column types that mean the same on SQLite and PostgreSQL."""

from uuid import UUID

from sqlalchemy import JSON, BigInteger, Dialect, Double, LargeBinary, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine
from typing_extensions import override
from uuid_utils.compat import uuid7

__all__ = ["Id", "NanoDollars", "Seconds", "Tags", "new_id", "storable_text"]

NanoDollars = BigInteger
"""Money in billionths of a US dollar: sums are exact, and 9.2 billion dollars fit."""

Seconds = Double
"""A duration, or a moment as UTC seconds since the Unix epoch."""

Tags = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A flat JSON object of strings; none at all is NULL."""

new_id = uuid7
"""A UUIDv7: unique everywhere and sorted by the time it was made, so inserts stay together."""


class Id(TypeDecorator[UUID]):
    """A UUID: PostgreSQL's own type there, 16 bytes (not 36 characters) in SQLite."""

    impl = Uuid
    cache_ok = True

    @override
    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[UUID] | TypeEngine[bytes]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(LargeBinary(16))
        return dialect.type_descriptor(Uuid())

    @override
    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> UUID | bytes | None:
        return value.bytes if value is not None and dialect.name == "sqlite" else value

    @override
    def process_result_value(self, value: UUID | bytes | None, dialect: Dialect) -> UUID | None:
        return UUID(bytes=value) if isinstance(value, bytes) else value


def storable_text(value: object) -> str:
    """Text as both databases take it: without NUL, and with `?` for lone surrogates."""
    return str(value).encode("utf-8", "replace").decode().replace("\0", "")
