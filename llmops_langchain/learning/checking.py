"""An experience out of whatever somebody says of a run: bounded, in one spelling, or refused."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from hashlib import blake2b
from math import isfinite
from typing import Any
from uuid import UUID

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.experience import Experience
from llmops_langchain.storage.types import storable_text

__all__ = ["MOST_TASK", "checked", "derived_id", "stack_of", "task_key", "text_of"]

MOST_TASK = 100_000
"""Characters of a task that are kept; of a longer one the begin and the end."""

_MOST_LESSON, _MOST_NAME = 2_000, 200
"""Characters of a lesson, and of the name of a tool, a step or a part of a stack that are kept."""

_LONGEST_ID = 300
"""Characters of what says whose a run was: cut off, two of them might become one."""

_MOST_OF_EACH = 64
"""Lessons, tools, steps, names of a stack, or metrics of one experience."""

_ONE_NAME = {
    "completion_time_seconds": "completion_time",
    "duration": "completion_time",
    "cost_usd": "cost",
    "iterations_needed": "iterations",
}
"""Other names of metrics that this package has a name for."""

_ARTICLES = frozenset(("a", "an", "the", "please"))
_WORD = re.compile(r"\w+|[^\w\s]")
_YEAR_10_000 = 253_402_300_800.0


def checked(said: Mapping[str, Any]) -> Experience:
    """The experience that is meant.

    Args:
        said: The fields of `Experience`; ids may be text.

    Raises:
        ConfigurationError: If a field is missing, unknown, or not what it should be; it is named.
    """
    if unknown := sorted(set(said) - _FIELDS.keys()):
        msg = f"an experience has no {', '.join(map(repr, unknown))}; it has {', '.join(_FIELDS)}"
        raise ConfigurationError(msg)
    if missing := sorted(_NEEDED - said.keys()):
        msg = f"an experience needs {', '.join(f'`{name}`' for name in missing)}"
        raise ConfigurationError(msg)
    made = {name: _FIELDS[name](name, value) for name, value in said.items() if value is not None}
    if lacking := sorted(_NEEDED - made.keys()):
        msg = f"`{lacking[0]}` must not be None"
        raise ConfigurationError(msg)
    return Experience(**made)


def task_key(task: str) -> bytes:
    """Equal for wordings of a task that differ in case, space, articles and the final point.

    Example:
        >>> task_key("Build the login page.") == task_key("build a login  page")
        True
        >>> task_key("Build login page 1") == task_key("Build login page 2")
        False
    """
    plain = unicodedata.normalize("NFKC", task).casefold()
    words = [word for word in _WORD.findall(plain) if word not in _ARTICLES]
    while words and words[-1] in ".!?":
        words.pop()
    return blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=16).digest()


def derived_id(workspace: str | None, run_id: UUID) -> UUID:
    """The id of what a workspace learnt of a run: the same each time, another in each workspace."""
    said = f"{workspace is not None:d}{workspace or ''}".encode("utf-8", "replace")
    return UUID(bytes=blake2b(run_id.bytes, digest_size=16, key=_digest(said)).digest())


def stack_of(names: object) -> tuple[str, ...]:
    """The names of a tech stack, in lower case, sorted, each once.

    Raises:
        ConfigurationError: If it is not a list of texts.
    """
    return tuple(sorted({name.lower() for name in _names("tech_stack", names)}))


def text_of(task: object) -> str:
    """A task as it can be kept and compared.

    Raises:
        ConfigurationError: If it is no text, or an empty one.
    """
    text = _text("task_description", task)
    if len(text) > MOST_TASK:
        half = MOST_TASK // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    return text


def _digest(said: bytes) -> bytes:
    return blake2b(said, digest_size=32).digest()


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not (text := storable_text(value).strip()):
        msg = f"`{name}` must be a text that is not empty, got {type(value).__name__}"
        raise ConfigurationError(msg)
    return text


def _task(_: str, value: object) -> str:
    return text_of(value)


def _name(name: str, value: object) -> str:
    # Ids are numbers in many apps.
    given = str(value) if isinstance(value, int | UUID) and not isinstance(value, bool) else value
    text = _text(name, given)
    if len(text) > _LONGEST_ID:
        msg = f"`{name}` has at most {_LONGEST_ID} characters, got {len(text)}"
        raise ConfigurationError(msg)
    return text


def _word(name: str, value: object) -> str:
    return _text(name, value)[:_MOST_NAME]


def _names(name: str, value: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each[:_MOST_NAME] for each in _texts(name, value)))


def _steps(name: str, value: object) -> tuple[str, ...]:
    return tuple(each[:_MOST_NAME] for each in _texts(name, value))


def _lessons(name: str, value: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each[:_MOST_LESSON] for each in _texts(name, value)))


def _texts(name: str, value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        msg = f"`{name}` must be a list of texts, got {type(value).__name__}"
        raise ConfigurationError(msg)
    return [_text(name, each) for each in list(value)[:_MOST_OF_EACH]]


def _success(name: str, value: object) -> bool:
    # A share of 0 to 1 is refused: what half a success is, only the user can say.
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    msg = f"`{name}` must be True or False, got {value!r}"
    raise ConfigurationError(msg)


def _metrics(name: str, value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        msg = f"`{name}` must map names to numbers, got {type(value).__name__}"
        raise ConfigurationError(msg)
    given = list(value.items())[:_MOST_OF_EACH]
    return {
        _ONE_NAME.get(key := _name(name, each), key): _number(each, number)
        for each, number in given
        if number is not None
    }


def _number(name: object, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not isfinite(number):
        msg = f"the metric {name!r} must be a finite number, got {value!r}"
        raise ConfigurationError(msg)
    return number


def _moment(name: str, value: object) -> float:
    number = _number(name, value)
    if not 0 <= number < _YEAR_10_000:
        msg = f"`{name}` is in seconds since 1970 and before the year 10,000, got {value!r}"
        raise ConfigurationError(msg)
    return number


def _id(name: str, value: object) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        msg = f"`{name}` must be a UUID, got {value!r}"
        raise ConfigurationError(msg) from None


def _stack(_: str, value: object) -> tuple[str, ...]:
    return stack_of(value)


_BY_NAME: dict[str, Callable[[str, Any], Any]] = {
    "id": _id,
    "run_id": _id,
    "ts": _moment,
    "task_description": _task,
    "tech_stack": _stack,
    "success": _success,
    "metrics": _metrics,
    "lessons": _lessons,
    "patterns": _names,
    "tools": _names,
    "steps": _steps,
    "model": _word,
    "failure": _word,
}
_FIELDS = {each.name: _BY_NAME.get(each.name, _name) for each in fields(Experience)}
_NEEDED = frozenset(("id", "ts", "project_id", "task_description", "success"))
