"""What says whether an answer is good enough, so that a better model need not be asked."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any

import orjson
from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel, TypeAdapter, ValidationError

from llmops_langchain.errors import ConfigurationError

__all__ = [
    "Verifier",
    "keeps_to",
    "likely",
    "says_nothing",
    "verdict",
    "verifier",
]

logger = logging.getLogger(__name__)

Verifier = Callable[[AIMessage], bool | float | None]
"""How good an answer is, 0 to 1; from 0.5 on it is taken, and so is one it says `None` of."""


def verifier(given: Verifier | type[BaseModel] | Sequence[Any] | None) -> Verifier | None:
    """One verifier of what a router was given: a function, a schema, or several.

    Raises:
        ConfigurationError: If it is nothing of that.
    """
    if given is None:
        return None
    if isinstance(given, type) and issubclass(given, BaseModel):
        return keeps_to(given)
    if callable(given) and not isinstance(given, type):
        if iscoroutinefunction(given):
            msg = "`verify` is a plain function: judge slowly by `feedback`, after the answer"
            raise ConfigurationError(msg)
        return given
    if isinstance(given, Sequence) and not isinstance(given, str):
        each = [one for one in map(verifier, given) if one is not None]
        return lambda answer: _least(each, answer)
    msg = f"`verify` is a function of an answer or a pydantic model, got {type(given).__name__!r}"
    raise ConfigurationError(msg)


def keeps_to(schema: type[Any]) -> Verifier:
    """Takes answers that have this form: as JSON text, or as arguments of a tool call.

    Example:
        >>> class City(BaseModel):
        ...     name: str
        >>> check = keeps_to(City)
        >>> check(AIMessage('{"name": "Paris"}')), check(AIMessage("It is Paris."))
        (True, False)
    """
    adapter = TypeAdapter[Any](schema)

    def check(answer: AIMessage) -> bool:
        if answer.invalid_tool_calls:
            return False
        try:
            if answer.tool_calls:
                for call in answer.tool_calls:
                    adapter.validate_python(call["args"])
            else:
                adapter.validate_python(orjson.loads(_bare(answer.text)))
        except (ValidationError, ValueError):
            return False
        return True

    return check


def likely(at_least: float) -> Verifier:
    """Takes answers whose tokens were this probable in the mean, where the provider tells.

    An answer without log probabilities is taken: bind `logprobs=True` to the models that have them.

    Args:
        at_least: The geometric mean of the tokens' probabilities, 0 to 1.

    Raises:
        ConfigurationError: If it is not between 0 and 1.
    """
    if not 0 <= at_least <= 1:
        msg = f"`at_least` is a probability between 0 and 1, got {at_least!r}"
        raise ConfigurationError(msg)

    def check(answer: AIMessage) -> bool | None:
        told = answer.response_metadata.get("logprobs")
        content = told.get("content") if isinstance(told, Mapping) else None
        if not content:
            return None
        logarithms = [float(each["logprob"]) for each in content]
        return math.exp(sum(logarithms) / len(logarithms)) >= at_least

    return check


def verdict(verify: Verifier, answer: AIMessage) -> float | None:
    """What it says, 0 to 1; `None` of an answer that it cannot judge."""
    try:
        said = verify(answer)
        score = math.nan if said is None else float(said)
    except Exception as error:  # noqa: BLE001 - a help: the answer is there and may be right
        logger.warning("an answer could not be verified: %s", type(error).__name__)
        return None
    return None if math.isnan(score) else min(1.0, max(0.0, score))


def _least(verifiers: Sequence[Verifier], answer: AIMessage) -> float | None:
    said = [score for each in verifiers if (score := each(answer)) is not None]
    return min(map(float, said), default=None)


def says_nothing(message: BaseMessage) -> bool:
    """Whether an answer is of no use to anybody: empty, or calls of tools that cannot be read."""
    if not isinstance(message, AIMessage):
        return False
    calls = message.tool_calls
    return bool(message.invalid_tool_calls) or not (message.content or calls)


def _bare(text: str) -> str:
    """JSON out of the fence that many models put around it."""
    stripped = text.strip()
    if not stripped.startswith("```"):
        return stripped
    return stripped.removesuffix("```").partition("\n")[2].strip()
