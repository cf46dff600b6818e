"""Addresses: one spelling to compare by, and one shape for all that look alike."""

import unicodedata
from dataclasses import dataclass
from typing import cast

from llmops_langchain.errors import ConfigurationError

__all__ = ["Address", "address"]

# Letters of other scripts that look like Latin ones in common fonts, as far as Unicode's table of
# confusables (UTS 39) has them for Greek, Cyrillic and Armenian small letters.
_LOOKS = str.maketrans(
    {
        **dict(zip("авгеһіјкӏмнорсԛѕтуѵԝхѡԁьз", "abrehijklmnopcqstyvwxwdb3", strict=True)),
        **dict(zip("αβγεηικνορτυχωϲϳ", "abyenikvoptuxwcj", strict=True)),
        **dict(zip("աեոսցքօհյզք", "wenuggohjqp", strict=True)),
        **dict(zip("ıɡɩʋ", "igiu", strict=True)),  # noqa: RUF001 - that is what they are for
    }
)
_SCRIPTS_OF_ASIA = ({"CJK", "HIRAGANA", "KATAKANA", "LATIN"}, {"CJK", "HANGUL", "LATIN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One email address in three forms."""

    email: str
    """As it is written, with its domain in small letters."""
    key: str
    """As it is compared: in small letters, the domain in ASCII."""
    shape: str
    """The same for addresses that look alike."""


def address(given: str) -> Address:
    """An address, checked; nothing is looked up.

    Raises:
        ConfigurationError: If it is no address, or mixes scripts so that it looks like another.

    Example:
        >>> address("Ann@Example.com").key
        'ann@example.com'
    """
    from email_validator import EmailNotValidError, validate_email

    if not isinstance(cast("object", given), str):
        msg = f"`email` is a text, got {type(given).__name__!r}"
        raise ConfigurationError(msg)
    try:
        found = validate_email(given, check_deliverability=False)
    except EmailNotValidError as error:
        msg = f"`email` is no address: {error}"
        raise ConfigurationError(msg) from None
    local = unicodedata.normalize("NFKC", found.local_part).casefold()
    if any(map(_is_mixed, [local, *found.domain.split(".")])):
        msg = "`email` mixes letters of several scripts, as addresses do that pose as others"
        raise ConfigurationError(msg)
    return Address(
        email=found.normalized,
        key=f"{local}@{found.ascii_domain}",
        shape=f"{_shape(local)}@{_shape(unicodedata.normalize('NFKC', found.domain).casefold())}",
    )


def _is_mixed(part: str) -> bool:
    """Whether its letters come from scripts that are not written together."""
    scripts = {unicodedata.name(each, "?").split()[0] for each in part if each.isalpha()}
    return len(scripts) > 1 and not any(scripts <= those for those in _SCRIPTS_OF_ASIA)


def _shape(part: str) -> str:
    """Without accents, and with the Latin letters that others look like."""
    bare = "".join(
        each for each in unicodedata.normalize("NFD", part) if not unicodedata.combining(each)
    )
    return bare.translate(_LOOKS)
