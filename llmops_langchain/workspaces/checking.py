"""What ids, names and durations may be."""

import re
import unicodedata
from uuid import UUID

from llmops_langchain.errors import ConfigurationError

__all__ = ["duration", "identifier", "label", "role_name", "uuid_of"]

_LONGEST = 255
_CENTURY = 100 * 365 * 86_400.0
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def identifier(given: object, name: str) -> str:
    """An id as an app gives it.

    Raises:
        ConfigurationError: If it is no text, empty, too long, or holds what cannot be seen.
    """
    if not isinstance(given, str) or not _is_plain(given) or given != given.strip():
        msg = (
            f"`{name}` is a text of 1 to {_LONGEST} characters that can be seen, without spaces "
            f"around it, got {_told(given)}"
        )
        raise ConfigurationError(msg)
    return given


def label(given: object, name: str) -> str:
    """A name for people, without spaces around it.

    Raises:
        ConfigurationError: As for `identifier`.
    """
    text = unicodedata.normalize("NFC", given).strip() if isinstance(given, str) else given
    return identifier(text, name)


def role_name(given: object) -> str:
    """The name of a role.

    Raises:
        ConfigurationError: If it is none.
    """
    if not isinstance(given, str) or not _ROLE.fullmatch(given):
        msg = f"a role is named like `release_manager` (1 to 32 characters), got {_told(given)}"
        raise ConfigurationError(msg)
    return given


def duration(given: float, name: str) -> float:
    """A number of seconds above 0, and of less than a hundred years.

    Raises:
        ConfigurationError: If it is none.
    """
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not is_number or not 0 < given < _CENTURY:
        msg = f"`{name}` is in seconds, above 0 and below {_CENTURY:.0e}, got {_told(given)}"
        raise ConfigurationError(msg)
    return float(given)


def uuid_of(given: UUID | str) -> UUID | None:
    """An id that this package made; `None` for a text that is none."""
    if isinstance(given, UUID):
        return given
    try:
        return UUID(given)
    except (TypeError, ValueError, AttributeError):
        return None


def _is_plain(given: str) -> bool:
    return bool(given.strip()) and len(given) <= _LONGEST and given.isprintable()


def _told(given: object) -> str:
    told = repr(given)
    return told if len(told) <= 80 else f"{told[:80]}…"  # noqa: PLR2004 - enough to know it by
