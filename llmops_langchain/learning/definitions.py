"""Kinds of work as somebody writes them down: literal phrases, checked before they are used."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.phrases import words_of

__all__ = ["Definition", "Lexicon", "definition", "definitions_of", "lexicon_of"]

VERSION = 1
_LARGEST, _DEEPEST = 131_072, 6
"""Characters of a file; mappings and lists in each other, where a lexicon has four."""
_MOST, _MOST_PHRASES, _MOST_WORDS, _LONGEST = 200, 500, 8, 200
"""Patterns in all, entries of one list, words of one phrase, characters of one entry."""

_NAME = re.compile(r"[^\W\d]\w{0,63}")
_LISTS = ("phrases", "verbs", "weak", "not", "prototypes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What one kind of work is called."""

    description: str = ""
    phrases: tuple[str, ...] = ()
    """Count wherever they stand."""
    verbs: tuple[str, ...] = ()
    """Count where somebody wants to, can or may do it."""
    weak: tuple[str, ...] = ()
    """Count beside another phrase, or in a sentence that is near the prototypes."""
    excluded: tuple[str, ...] = ()
    """What is inside one of these does not count; `not` in YAML."""
    prototypes: tuple[str, ...] = ()
    """Sentences of this kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """All kinds of work that are known."""

    patterns: Mapping[str, Definition]
    none: tuple[str, ...] = ()
    """Sentences of no kind."""


def lexicon_of(source: str | Path) -> Lexicon:
    """Read a lexicon.

    Args:
        source: YAML text, or a `Path` to a file of it.

    Returns:
        What it defines.

    Raises:
        ConfigurationError: If it is no lexicon; the message names the entry.
    """
    known = _mapping(_loaded(source), "the lexicon", {"version", "patterns", "none"})
    if known.get("version") != VERSION:
        msg = f"`version` of the lexicon must be {VERSION}, got {known.get('version')!r}"
        raise ConfigurationError(msg)
    return Lexicon(
        patterns=definitions_of(known.get("patterns")),
        none=_texts(known.get("none", []), "`none`"),
    )


def definitions_of(patterns: object) -> dict[str, Definition]:
    """Check kinds of work.

    Args:
        patterns: By name, the lists of each.

    Returns:
        The checked definitions.

    Raises:
        ConfigurationError: If something is wrong with one; the message names it.
    """
    if not isinstance(patterns, Mapping) or not 0 < len(patterns) <= _MOST:
        msg = f"`patterns` must map 1 to {_MOST} names to lists of phrases"
        raise ConfigurationError(msg)
    return {str(name): definition(name, entry) for name, entry in patterns.items()}


def definition(name: object, entry: object) -> Definition:
    """Check one kind of work.

    Args:
        name: What it is called: letters, digits and underscores.
        entry: Its lists, under the names that YAML has.

    Returns:
        The checked definition.

    Raises:
        ConfigurationError: If something is wrong with it; the message says where.

    Example:
        >>> definition("billing", {"phrases": ["invoice"], "not": ["invoice date"]}).excluded
        ('invoice date',)
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"a pattern's name takes letters, digits and underscores (at most 64), got {name!r}"
        raise ConfigurationError(msg)
    given = _mapping(entry, f"pattern {name!r}", {"description", *_LISTS})
    description = given.get("description", "")
    if not isinstance(description, str) or len(description) > _LONGEST:
        msg = f"`description` of pattern {name!r} must be a text of at most {_LONGEST} characters"
        raise ConfigurationError(msg)
    lists = {each: _texts(given.get(each, []), f"`{each}` of pattern {name!r}") for each in _LISTS}
    _check_phrases(name, lists)
    excluded = lists.pop("not")
    return Definition(description=description, excluded=excluded, **lists)


def _loaded(source: str | Path) -> Any:
    try:
        text = source.read_text("utf-8") if isinstance(source, Path) else source
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the lexicon {str(source)!r} cannot be read: {error}"
        raise ConfigurationError(msg) from error
    if len(text) > _LARGEST:
        msg = f"a lexicon takes at most {_LARGEST} characters, got {len(text)}"
        raise ConfigurationError(msg)
    try:
        _check_shape(text)
        return yaml.safe_load(text)
    # An impossible date, such as 2024-99-99, is a plain ValueError.
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        msg = f"the lexicon is no plain YAML: {error}"
        raise ConfigurationError(msg) from error


def _check_shape(text: str) -> None:
    """Refuse what takes little to write and much to read: aliases of aliases, deep nesting."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            msg = "a lexicon takes no YAML aliases (`*name`)"
            raise ConfigurationError(msg)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            msg = f"the lexicon is no plain YAML: nested deeper than {_DEEPEST} levels"
            raise ConfigurationError(msg)


def _mapping(given: object, where: str, allowed: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        msg = f"{where} must be a mapping, got {type(given).__name__}"
        raise ConfigurationError(msg)
    unknown = sorted(str(each) for each in given if each not in set(allowed))
    if unknown:
        msg = f"{where} takes {', '.join(sorted(allowed))}; got {unknown[0]!r}"
        raise ConfigurationError(msg)
    return given


def _texts(given: object, where: str) -> tuple[str, ...]:
    if not isinstance(given, (list, tuple)) or len(given) > _MOST_PHRASES:
        msg = f"{where} must be a list of at most {_MOST_PHRASES} texts"
        raise ConfigurationError(msg)
    for each in given:
        # `- 401` is a number to YAML, and `- on` a truth value: neither is silently taken.
        if not isinstance(each, str) or not each.strip() or len(each) > _LONGEST:
            msg = f"{where} takes texts of 1 to {_LONGEST} characters, got {each!r}; quote it"
            raise ConfigurationError(msg)
    return tuple(dict.fromkeys(given))


def _check_phrases(name: str, lists: Mapping[str, tuple[str, ...]]) -> None:
    if not any(lists[each] for each in ("phrases", "verbs", "weak")):
        msg = f"pattern {name!r} needs `phrases`, `verbs` or `weak`"
        raise ConfigurationError(msg)
    for each in ("phrases", "verbs", "weak", "not"):
        for phrase in lists[each]:
            if not 0 < len(words_of(phrase)) <= _MOST_WORDS:
                msg = f"`{each}` of pattern {name!r}: 1 to {_MOST_WORDS} words, got {phrase!r}"
                raise ConfigurationError(msg)
