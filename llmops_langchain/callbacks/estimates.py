"""What a call may cost: pure functions, and what was learnt from earlier calls."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any
from uuid import UUID

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage
from langchain_core.utils.function_calling import convert_to_json_schema

from llmops_langchain.callbacks.marks import is_marked
from llmops_langchain.ledger import LLM_CALL, Event
from llmops_langchain.models import Rates, TokenUsage
from llmops_langchain.tokens import count_tokens

__all__ = ["MOST_OUTPUT", "Experience", "Size", "cap_of", "capping", "choices", "size_of"]

MOST_OUTPUT = 4_096
"""Tokens that a strict budget lets a call answer where neither the call nor the model says."""

_USUAL_OUTPUT = 1_024
"""Tokens an answer is expected to have of a model that was hardly asked yet."""

_ENOUGH, _REMEMBERED = 10, 200
"""Calls after which a model's own answers count, and how many of the newest are looked at."""

_LONG = 500
"""Tokens of a prompt from which on its ratio tells something."""

_MOST_OPEN, _MOST_MODELS = 10_000, 1_000
"""Calls under way, and names of models, that are kept in mind."""

_CAPS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "num_predict",
    "max_tokens_to_sample",
)
"""What providers' classes call the longest answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Tokens of a call that is to be made."""

    input_tokens: int
    """As counted here, and corrected by what the provider counted before."""
    output_tokens: int
    """The longest answer, or the expected one, of all choices together."""
    is_written: bool = False
    """The prompt is marked to be kept in the provider's cache, which costs more than to send it."""

    def usage(self, *, answered: bool) -> TokenUsage:
        """The usage at the highest price the call may have; without an answer, its input alone."""
        written = self.input_tokens if self.is_written else 0
        return TokenUsage(
            input_tokens=self.input_tokens,
            written_tokens=written,
            written_1h_tokens=written,
            output_tokens=self.output_tokens if answered else 0,
        )

    def most(self, rates: Rates) -> int:
        """Nano-dollars of the whole call; an answer may be all reasoning."""
        dearer = max(0, rates.reasoning - rates.output)
        return rates.cost(self.usage(answered=True)) + ceil(dearer * self.output_tokens / 1_000_000)

    def at_risk(self, rates: Rates) -> int:
        """Nano-dollars of its input."""
        return rates.cost(self.usage(answered=False))


def cap_of(model: BaseLanguageModel[Any], asked: Mapping[str, Any]) -> int | None:
    """The longest answer that the call, or the model, allows; `None` if neither says."""
    if any(name in asked for name in _CAPS):
        return _cap_in(asked)  # also none: that lifts the model's own
    return _cap_in(vars(model))


def capping(model: BaseLanguageModel[Any], asked: Mapping[str, Any]) -> str | None:
    """The name under which this model takes a cap with a call; `None` if it has none."""
    fields = type(model).model_fields
    return next((name for name in _CAPS if name in asked or name in fields), None)


def choices(model: BaseLanguageModel[Any], asked: Mapping[str, Any]) -> int:
    """How many answers are asked for."""
    told = (asked.get(name) or vars(model).get(name) for name in ("n", "best_of"))
    return max((n for n in told if isinstance(n, int) and n > 0), default=1)


def size_of(
    prompt: Sequence[BaseMessage] | str, name: str, asked: Mapping[str, Any], *, output_tokens: int
) -> Size:
    """The size of a call with an answer of so many tokens."""
    tools = [tool for tool in asked.get("tools") or asked.get("functions") or () if tool]
    input_tokens = count_tokens(prompt, name, tools)
    input_tokens += sum(
        count_tokens("", name, [schema])
        for key in ("response_format", "output_config")
        if (schema := _schema(asked.get(key))) is not None
    )
    return Size(
        input_tokens=input_tokens, output_tokens=output_tokens, is_written=is_marked(prompt, asked)
    )


def _cap_in(given: Mapping[str, Any]) -> int | None:
    values = (given.get(name) for name in _CAPS)
    return next((it for it in values if isinstance(it, int) and it > 0), None)


def _schema(form: object) -> Mapping[str, Any] | None:
    """What the answer must look like, as it is sent."""
    if isinstance(form, type):
        try:
            return convert_to_json_schema(form)
        except (TypeError, ValueError):
            return None
    return form if isinstance(form, Mapping) else None


class Experience:
    """What recorded calls say of the next one: how long answers are, how input was counted.

    Threads may share it: what one overwrites of another is one call of many.
    """

    def __init__(self) -> None:
        self._answers: dict[str, deque[int]] = {}
        self._ratios: dict[str, deque[float]] = {}
        self._added: dict[str, deque[int]] = {}
        self._asked: dict[UUID, tuple[str, int]] = {}

    def expected_output(self, model: str) -> int:
        """Tokens that nine of ten of the model's answers do not exceed."""
        seen = sorted(self._answers.get(model) or ())
        if len(seen) < _ENOUGH:
            return _USUAL_OUTPUT
        return max(1, seen[ceil(0.9 * len(seen)) - 1])

    def corrected(self, model: str, counted: int) -> int:
        """The most that the provider would count, as it did lately, for what is counted here.

        Long prompts tell by what to multiply, short ones what is added to each: an image, a tool
        of the provider's own.
        """
        ratios: Sequence[float] = self._ratios.get(model) or ()
        added: Sequence[int] = self._added.get(model) or ()
        return ceil(counted * max((1.0, *ratios))) + max((0, *added))

    def asked(self, run_id: UUID, model: str, counted: int) -> None:
        """Remember by which name a call was asked, and what was counted, until it is heard."""
        if len(self._asked) >= _MOST_OPEN:
            self._asked.clear()
        self._asked[run_id] = (model, counted)

    def goes_on_as(self, run_id: UUID, other: UUID) -> None:
        """A call that was asked under one id ends under another."""
        if (asked := self._asked.pop(run_id, None)) is not None:
            self._asked[other] = asked

    def hear(self, event: Event) -> None:
        """Learn from a call that ended; the answer may be under another name than the question."""
        model, counted = self._asked.pop(event.id, (event.model or "", 0))
        if event.name != LLM_CALL or event.status != "ok" or event.cache_tier or event.estimated:
            return
        _recent(self._answers, model).append(event.output_tokens)
        if counted >= _LONG:
            _recent(self._ratios, model).append(event.input_tokens / counted)
        elif counted:
            _recent(self._added, model).append(event.input_tokens - counted)


def _recent(kept: dict[str, deque[Any]], model: str) -> deque[Any]:
    if len(kept) >= _MOST_MODELS:
        kept.clear()
    return kept.setdefault(model, deque(maxlen=_REMEMBERED))
