"""Events as OpenTelemetry spans and metrics, by the conventions for generative AI."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from llmops_langchain.callbacks.conventions import (
    CONVENTIONS,
    OPERATIONS,
    OWN,
    Conventions,
    Measure,
    described,
)
from llmops_langchain.errors import ConfigurationError, MissingExtraError
from llmops_langchain.ledger import TOOL_CALL, Event

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["OpenTelemetryExport"]

_SCOPE = "llmops_langchain"

Record = Callable[[Event, dict[str, Any]], None]


class OpenTelemetryExport:
    """Turns each event into a span and metrics: `ledger.listen(OpenTelemetryExport())`.

    Model calls, embeddings and tools become spans under the span that is current where the event
    is recorded, from their own start to their own end. An answer out of a cache is a span of kind
    INTERNAL without tokens and no provider's metric; a cut is a metric alone. No text of prompts
    or answers is exported. It may be called from any thread or task.

    Args:
        tracer_provider: Takes the spans; by default the global one, also if it is set later.
        meter_provider: Takes the metrics; by default the global one, also if it is set later.
        conventions: `"1.41"`, the names most backends know, or `"genai-0.1"`, the newer ones.
        include_user: Put the scope's user on spans, as `user.id`.

    Raises:
        MissingExtraError: If OpenTelemetry is not installed.
        ConfigurationError: If `conventions` names none.
    """

    def __init__(
        self,
        tracer_provider: "TracerProvider | None" = None,
        meter_provider: "MeterProvider | None" = None,
        *,
        conventions: Conventions = "1.41",
        include_user: bool = False,
    ) -> None:
        if conventions not in CONVENTIONS:
            msg = f"`conventions` is one of {sorted(CONVENTIONS)}, got {conventions!r}"
            raise ConfigurationError(msg)
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            package = "opentelemetry-sdk"
            raise MissingExtraError(package, extra="otel") from error
        self._names, self._include_user = CONVENTIONS[conventions], include_user
        schema = self._names.schema_url
        self._tracer = trace.get_tracer(_SCOPE, "", tracer_provider, schema)
        meter = metrics.get_meter(_SCOPE, "", meter_provider, schema)
        self._records = _records(meter, (*self._names.measures, *OWN))
        self._kinds = trace.SpanKind
        self._failed = trace.StatusCode.ERROR

    def __call__(self, event: Event) -> None:
        """Export one event; events that are neither calls nor cuts are passed over."""
        records = self._records.get(event.name)
        if records is None:
            return
        attributes = described(event, self._names, include_user=self._include_user)
        if event.name in OPERATIONS:
            self._span(event, attributes)
        for record in records:
            record(event, attributes)

    def _span(self, event: Event, attributes: dict[str, Any]) -> None:
        inside = event.name == TOOL_CALL or event.cache_tier is not None
        # Rounded apart, start and end would be a quarter of a microsecond off the latency.
        ended = round(event.ts * 1e9)
        span = self._tracer.start_span(
            _title(attributes),
            kind=self._kinds.INTERNAL if inside else self._kinds.CLIENT,
            attributes=attributes,
            start_time=ended - round((event.latency or 0.0) * 1e9),
        )
        # A reader who leaves a stream did not make it fail.
        if event.status == "error" and not event.aborted:
            span.set_status(self._failed)
        span.end(ended)


def _title(attributes: dict[str, Any]) -> str:
    what = attributes.get("gen_ai.request.model") or attributes.get("gen_ai.tool.name") or ""
    return f"{attributes['gen_ai.operation.name']} {what}".rstrip()


def _records(meter: "Meter", measures: Iterable[Measure]) -> dict[str, list[Record]]:
    """How each measure is taken, by the names of the events it is read from."""
    instruments: dict[str, Callable[..., None]] = {}
    records: dict[str, list[Record]] = {name: [] for name in OPERATIONS}
    for measure in measures:
        # Two measures of one name are one instrument, cut by an attribute.
        if measure.name not in instruments:
            instruments[measure.name] = _instrument(meter, measure)
        for name in measure.events:
            records.setdefault(name, []).append(
                partial(_take, measure, instruments[measure.name]),
            )
    return records


def _instrument(meter: "Meter", measure: Measure) -> Callable[..., None]:
    if measure.buckets is None:
        return meter.create_counter(measure.name, measure.unit, measure.description).add
    return meter.create_histogram(
        measure.name,
        measure.unit,
        measure.description,
        explicit_bucket_boundaries_advisory=measure.buckets,
    ).record


def _take(
    measure: Measure, record: Callable[..., None], event: Event, attributes: dict[str, Any]
) -> None:
    value = measure.value(event)
    if value and (measure.hits or event.cache_tier is None):
        labels = {name: attributes[name] for name in measure.labels if name in attributes}
        record(value, {**labels, **measure.fixed})
