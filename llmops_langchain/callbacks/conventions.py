"""What OpenTelemetry's conventions for generative AI call the figures of an event: tables.

Sources: semantic conventions 1.41 (the last release that holds the chapter on generative AI; the
names are those of `opentelemetry-semantic-conventions`), and `semantic-conventions-genai` 0.1, the
repository the chapter moved to. Both are in development: names change, and change here alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from llmops_langchain.ledger.event import EMBEDDING, LLM_CALL, TOOL_CALL, TRIM, Event

__all__ = ["CONVENTIONS", "OPERATIONS", "OWN", "Convention", "Conventions", "Measure", "described"]

Conventions = Literal["1.41", "genai-0.1"]
"""Which release of the conventions names spans and metrics."""

OPERATIONS: Mapping[str, str] = {
    LLM_CALL: "chat",
    EMBEDDING: "embeddings",
    TOOL_CALL: "execute_tool",
}
"""What the conventions call the kind of an event; others become no span."""

# LangChain's word (`ls_provider`, with `-` as `_`) to the convention's; any other stays as it is.
_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "anthropic_bedrock": "aws.bedrock",
    "aws": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "google_anthropic_vertex": "gcp.vertex_ai",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai",
    "openai_codex": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}

# Attribute and field of an event, on every span of a model call.
_ALWAYS = {
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
}
# The same, where there is something to say: `None`, 0 and `False` are left out.
_IF_ANY = {
    "gen_ai.agent.name": "agent",
    "gen_ai.conversation.id": "thread",
    "gen_ai.response.time_to_first_chunk": "time_to_first_token",
    "gen_ai.usage.cache_read.input_tokens": "cached_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
    "llmops.aborted": "aborted",
    "llmops.cache_tier": "cache_tier",
    "llmops.estimated": "estimated",
    "llmops.project": "project",
    "llmops.routed": "routed",
    "llmops.task": "task",
    "llmops.tier": "tier",
    "llmops.unpriced": "unpriced",
    "llmops.workspace": "workspace",
}
_always, _if_any = attrgetter(*_ALWAYS.values()), attrgetter(*_IF_ANY.values())

_CALL = frozenset({LLM_CALL, EMBEDDING})
_COMMON = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
)
_FAILED = (*_COMMON, "error.type")
_OURS = ("gen_ai.provider.name", "gen_ai.request.model", "llmops.project", "llmops.workspace")
_TOKENS = tuple(4.0**power for power in range(14))
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_TOOL = ("gen_ai.agent.name", "gen_ai.tool.name", "error.type")


def _cost(event: Event) -> float:
    return event.cost / 1e9


def _saved(event: Event) -> float:
    return event.saved / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One metric, and how an event is read for it."""

    name: str
    unit: str
    description: str
    value: Callable[[Event], float | None]
    """What is recorded; nothing if it is `None` or 0."""
    events: frozenset[str] = frozenset({LLM_CALL})
    """Names of the events it is read from."""
    labels: tuple[str, ...] = _COMMON
    """Those attributes of the span that the metric is cut by."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Attributes that are the metric's own."""
    buckets: tuple[float, ...] | None = None
    """Upper bounds that the conventions advise for a histogram; `None` for a counter."""
    hits: bool = False
    """Whether answers out of a cache count: no provider was asked for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """The names in which one release differs from another."""

    schema_url: str | None
    written_tokens: str
    """Attribute of the input that was written to the provider's prompt cache."""
    measures: tuple[Measure, ...]


def _usage(name: str, text: str, **read: Any) -> Measure:
    given = {"unit": "{token}", "description": text, **read}
    return Measure(name=name, **given)


def _seconds(name: str, text: str, **read: Any) -> Measure:
    given = {"unit": "s", "description": text, "buckets": _SECONDS, **read}
    return Measure(name=name, **given)


_LATENCY, _FIRST = attrgetter("latency"), attrgetter("time_to_first_token")
_INPUT, _OUTPUT = attrgetter("input_tokens"), attrgetter("output_tokens")
# The modalities of an event's tokens are summed up: nobody can tell them apart any more.
_UNKNOWN = {"gen_ai.token.modality": "unknown"}
_SPENT = "gen_ai.client.inference.usage"

CONVENTIONS: Mapping[Conventions, Convention] = {
    "1.41": Convention(
        schema_url="https://opentelemetry.io/schemas/1.41.0",
        written_tokens="gen_ai.usage.cache_creation.input_tokens",
        measures=(
            *(
                _usage(
                    "gen_ai.client.token.usage",
                    "Number of input and output tokens used.",
                    events=_CALL,
                    value=value,
                    fixed={"gen_ai.token.type": kind},
                    buckets=_TOKENS,
                )
                for kind, value in (("input", _INPUT), ("output", _OUTPUT))
            ),
            _seconds(
                "gen_ai.client.operation.duration",
                "GenAI operation duration.",
                events=_CALL,
                value=_LATENCY,
                labels=_FAILED,
            ),
            _seconds(
                "gen_ai.client.operation.time_to_first_chunk",
                "Time to receive the first chunk.",
                value=_FIRST,
            ),
        ),
    ),
    "genai-0.1": Convention(
        schema_url=None,
        written_tokens="gen_ai.usage.cache_write.input_tokens",
        measures=(
            *(
                _usage(f"{_SPENT}.{kind}", text, value=attrgetter(name), fixed=_UNKNOWN)
                for kind, text, name in (
                    ("input_tokens", "Input tokens, cached ones included.", "input_tokens"),
                    ("output_tokens", "Output tokens, reasoning included.", "output_tokens"),
                    ("cache_read.input_tokens", "Input tokens from a cache.", "cached_tokens"),
                    ("cache_write.input_tokens", "Input tokens to a cache.", "written_tokens"),
                    ("reasoning.output_tokens", "Reasoning tokens.", "reasoning_tokens"),
                )
            ),
            _usage(
                "gen_ai.client.inference.operation.input_tokens",
                "Input tokens of one call.",
                value=_INPUT,
                buckets=_TOKENS,
            ),
            _usage(
                "gen_ai.client.inference.operation.output_tokens",
                "Output tokens of one call.",
                value=_OUTPUT,
                buckets=_TOKENS,
            ),
            _seconds(
                "gen_ai.client.inference.duration",
                "GenAI inference duration.",
                value=_LATENCY,
                labels=_FAILED,
            ),
            _seconds(
                "gen_ai.client.inference.time_to_first_chunk",
                "Time to receive the first chunk.",
                value=_FIRST,
            ),
            _seconds(
                "gen_ai.client.operation.duration",
                "GenAI operation duration.",
                events=frozenset({EMBEDDING}),
                value=_LATENCY,
                labels=_FAILED,
            ),
            _seconds(
                "gen_ai.execute_tool.duration",
                "Duration of one tool execution.",
                events=frozenset({TOOL_CALL}),
                value=_LATENCY,
                labels=_TOOL,
            ),
        ),
    ),
}
"""The metrics and attributes of each release."""

OWN: tuple[Measure, ...] = (
    Measure(
        name="llmops.cost",
        unit="{USD}",
        description="What calls cost, US dollars.",
        events=_CALL,
        value=_cost,
        labels=_OURS,
    ),
    Measure(
        name="llmops.saved",
        unit="{USD}",
        description="What calls would have cost without the cache or a cut, US dollars.",
        events=_CALL | {TRIM},
        value=_saved,
        labels=_OURS,
        hits=True,
    ),
    Measure(
        name="llmops.trimmed_tokens",
        unit="{token}",
        description="Tokens that cuts kept out of prompts.",
        events=frozenset({TRIM}),
        value=attrgetter("trimmed_tokens"),
        labels=_OURS,
    ),
)
"""What no convention has a metric for."""


def described(event: Event, convention: Convention, *, include_user: bool) -> dict[str, Any]:
    """The attributes of the event's span; the labels of its metrics are among them."""
    found = {
        name: value
        for name, value in zip(_IF_ANY, _if_any(event), strict=True)
        if value is not None and value is not False and value != 0
    }
    if event.name in OPERATIONS:
        found["gen_ai.operation.name"] = OPERATIONS[event.name]
    if event.name == TOOL_CALL:
        found["gen_ai.tool.name"] = (event.tags or {}).get("tool", "")
    else:
        found |= _of_model(event, convention)
    if event.error_class and not event.aborted:
        found["error.type"] = event.error_class
    if event.run_id:
        found["llmops.run_id"] = str(event.run_id)
    if include_user and event.user:
        found["user.id"] = event.user
    return found


def _of_model(event: Event, convention: Convention) -> dict[str, Any]:
    found = dict(zip(_ALWAYS, _always(event), strict=True))
    # Required, and nobody's name where LangChain told none.
    found["gen_ai.provider.name"] = _provider(event.provider) if event.provider else "unknown"
    if event.name == EMBEDDING:
        del found["gen_ai.usage.output_tokens"]
    found["llmops.cost"], found["llmops.saved"] = _cost(event), _saved(event)
    if event.model:
        # An event has one name: the provider's, once it has answered.
        found["gen_ai.request.model"] = event.model
        if event.status == "ok":
            found["gen_ai.response.model"] = event.model
    if event.written_tokens:
        found[convention.written_tokens] = event.written_tokens
    if event.time_to_first_token is not None:
        found["gen_ai.request.stream"] = True
    return found


def _provider(word: str) -> str:
    plain = word.strip().lower().replace("-", "_")
    return _PROVIDERS.get(plain, plain)
