"""What an event becomes in OpenTelemetry: its span, its metrics, and whose child it is."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import AsyncModel, CountingModel, StreamingModel

from llmops_langchain import ConfigurationError, Event, LLMOps, MissingExtraError, Settings
from llmops_langchain.callbacks.otel import OpenTelemetryExport
from llmops_langchain.ledger import EMBEDDING, LLM_CALL, TOOL_CALL, TRIM

pytest.importorskip("opentelemetry.sdk", reason="needs the package opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

NOW = 1_800_000_000.0
RUN = UUID("00000000-0000-7000-8000-000000000001")


class Telemetry:
    """Providers that keep what they are given."""

    def __init__(self) -> None:
        self.kept, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self.kept))
        self.meters = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.tracer = self.traces.get_tracer("app")

    def export(self, *events: Event, **options: Any) -> None:
        export = OpenTelemetryExport(self.traces, self.meters, **options)
        for event in events:
            export(event)

    def spans(self) -> list[Any]:
        """Finished spans, in the order they ended."""
        return list(self.kept.get_finished_spans())

    def only(self) -> Any:
        (span,) = self.spans()
        return span

    def points(self, name: str) -> list[Any]:
        """The data points of one metric."""
        found = self.reader.get_metrics_data()
        metrics = (
            metric
            for resource in (found.resource_metrics if found else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
        return [
            point for metric in metrics if metric.name == name for point in metric.data.data_points
        ]

    def close(self) -> None:
        self.traces.shutdown()
        self.meters.shutdown()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    yield made
    made.close()


@pytest.fixture
def ops(telemetry) -> Iterator[LLMOps]:
    with LLMOps("sqlite://", Settings()) as made:
        made.ledger.listen(OpenTelemetryExport(telemetry.traces, telemetry.meters))
        yield made


def call(**fields: Any) -> Event:
    told = {"provider": "openai", "model": "gpt-5", "latency": 1.5, "run_id": RUN}
    spent = {"input_tokens": 100, "output_tokens": 20, "cost": 1_500_000}
    return Event(**{"name": LLM_CALL, "ts": NOW, **told, **spent, **fields})


def test_a_call_is_a_client_span_from_its_start_to_its_end(telemetry) -> None:
    telemetry.export(call())
    span = telemetry.only()
    assert (span.name, span.kind) == ("chat gpt-5", SpanKind.CLIENT)
    assert span.end_time == int(NOW) * 10**9
    assert span.end_time - span.start_time == 1_500_000_000
    assert span.status.status_code is StatusCode.UNSET


def test_a_span_says_what_the_call_used_and_cost(telemetry) -> None:
    telemetry.export(
        call(
            workspace="w",
            project="p",
            task="t",
            agent="team/writer",
            thread="d",
            tier="flex",
            cached_tokens=40,
            written_tokens=30,
            reasoning_tokens=7,
            time_to_first_token=0.25,
            estimated=True,
            unpriced=True,
            routed=True,
        )
    )
    assert dict(telemetry.only().attributes) == {
        "gen_ai.agent.name": "team/writer",
        "gen_ai.conversation.id": "d",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-5",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.cache_creation.input_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 7,
        "llmops.cost": 0.0015,
        "llmops.estimated": True,
        "llmops.project": "p",
        "llmops.routed": True,
        "llmops.run_id": str(RUN),
        "llmops.saved": 0.0,
        "llmops.task": "t",
        "llmops.tier": "flex",
        "llmops.unpriced": True,
        "llmops.workspace": "w",
    }


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("amazon_bedrock", "aws.bedrock"),
        ("anthropic", "anthropic"),
        ("azure", "azure.ai.openai"),
        ("google_genai", "gcp.gemini"),
        ("google_vertexai", "gcp.vertex_ai"),
        ("mistral", "mistral_ai"),
        ("ollama", "ollama"),
        ("openai", "openai"),
        ("openai-codex", "openai"),
        ("xai", "x_ai"),
        (None, "unknown"),
    ],
)
def test_providers_have_the_names_of_the_conventions(telemetry, word, name) -> None:
    telemetry.export(call(provider=word))
    assert telemetry.only().attributes["gen_ai.provider.name"] == name


def test_the_names_are_those_of_the_installed_conventions() -> None:
    incubating = pytest.importorskip(
        "opentelemetry.semconv._incubating.attributes.gen_ai_attributes",
        reason="needs the package opentelemetry-semantic-conventions",
    )
    known = {value for name, value in vars(incubating).items() if name.startswith("GEN_AI_")}
    source = sys.modules["llmops_langchain.callbacks.conventions"]
    named = {name for table in (source._ALWAYS, source._IF_ANY) for name in table}
    named |= {label for each in source.CONVENTIONS["1.41"].measures for label in each.labels}
    named.add(source.CONVENTIONS["1.41"].written_tokens)
    assert {name for name in named if name.startswith("gen_ai.")} <= known


def test_a_failed_call_says_what_kind_of_error_it_was(telemetry) -> None:
    telemetry.export(call(status="error", error_class="RateLimitError"))
    span = telemetry.only()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == "RateLimitError"
    assert "gen_ai.response.model" not in span.attributes
    (point,) = telemetry.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "RateLimitError"


def test_a_reader_who_leaves_made_nothing_fail(telemetry) -> None:
    telemetry.export(call(status="error", error_class="GeneratorExit", aborted=True))
    span = telemetry.only()
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes["llmops.aborted"] is True
    assert "error.type" not in span.attributes


def test_a_hit_is_a_span_that_asked_no_provider(telemetry) -> None:
    hit = {"input_tokens": 0, "output_tokens": 0, "cost": 0, "saved": 2_000_000_000}
    telemetry.export(call(cache_tier="exact", **hit))
    span = telemetry.only()
    assert span.kind is SpanKind.INTERNAL
    assert span.attributes["llmops.cache_tier"] == "exact"
    assert (span.attributes["gen_ai.usage.input_tokens"], span.attributes["llmops.saved"]) == (0, 2)
    assert telemetry.points("gen_ai.client.operation.duration") == []
    assert telemetry.points("gen_ai.client.token.usage") == []
    assert [point.value for point in telemetry.points("llmops.saved")] == [2.0]


def test_embeddings_are_spans_of_their_own_kind(telemetry) -> None:
    telemetry.export(call(name=EMBEDDING, model="text-embedding-3-small", output_tokens=0))
    span = telemetry.only()
    assert (span.name, span.kind) == ("embeddings text-embedding-3-small", SpanKind.CLIENT)
    assert span.attributes["gen_ai.operation.name"] == "embeddings"
    assert "gen_ai.usage.output_tokens" not in span.attributes
    assert len(telemetry.points("gen_ai.client.operation.duration")) == 1


def test_tools_are_internal_spans_without_a_provider(telemetry) -> None:
    telemetry.export(
        Event(
            name=TOOL_CALL,
            ts=NOW,
            tags={"tool": "search"},
            latency=0.5,
            status="error",
            error_class="KeyError",
        ),
        conventions="genai-0.1",
    )
    span = telemetry.only()
    assert (span.name, span.kind) == ("execute_tool search", SpanKind.INTERNAL)
    assert dict(span.attributes) == {
        "error.type": "KeyError",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
    }
    (point,) = telemetry.points("gen_ai.execute_tool.duration")
    assert dict(point.attributes) == {"gen_ai.tool.name": "search", "error.type": "KeyError"}


def test_a_cut_is_counted_and_is_no_span(telemetry) -> None:
    trim = Event(name=TRIM, ts=NOW, model="gpt-5", project="p", trimmed_tokens=700, saved=10**9)
    telemetry.export(trim)
    assert telemetry.spans() == []
    assert [point.value for point in telemetry.points("llmops.trimmed_tokens")] == [700]
    assert [point.value for point in telemetry.points("llmops.saved")] == [1.0]


def test_metrics_of_the_users_own_are_left_to_them(telemetry) -> None:
    telemetry.export(Event(name="task.success", ts=NOW, value=1, unit="count"))
    assert telemetry.spans() == []
    assert telemetry.reader.get_metrics_data() is None


def test_tokens_are_measured_by_type_in_the_advised_buckets(telemetry) -> None:
    telemetry.export(call(), call(input_tokens=50))
    points = telemetry.points("gen_ai.client.token.usage")
    by_type = {point.attributes["gen_ai.token.type"]: point for point in points}
    assert {kind: point.sum for kind, point in by_type.items()} == {"input": 150, "output": 40}
    assert by_type["input"].explicit_bounds == tuple(4.0**power for power in range(14))
    assert dict(by_type["input"].attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.model": "gpt-5",
        "gen_ai.token.type": "input",
    }


def test_times_are_measured_in_seconds_in_the_advised_buckets(telemetry) -> None:
    telemetry.export(call(time_to_first_token=0.25), call())
    (duration,) = telemetry.points("gen_ai.client.operation.duration")
    (first,) = telemetry.points("gen_ai.client.operation.time_to_first_chunk")
    assert (duration.sum, duration.count) == (3.0, 2)
    assert (first.sum, first.count) == (0.25, 1)
    advised = (
        0.01,
        0.02,
        0.04,
        0.08,
        0.16,
        0.32,
        0.64,
        1.28,
        2.56,
        5.12,
        10.24,
        20.48,
        40.96,
        81.92,
    )
    assert duration.explicit_bounds == first.explicit_bounds == advised


def test_money_is_a_counter_by_workspace_and_project(telemetry) -> None:
    telemetry.export(call(workspace="w", project="p"), call(workspace="w", project="p"))
    (point,) = telemetry.points("llmops.cost")
    assert point.value == pytest.approx(0.003)
    assert (point.attributes["llmops.workspace"], point.attributes["llmops.project"]) == ("w", "p")


def test_the_newer_conventions_count_tokens_by_kind(telemetry) -> None:
    event = call(cached_tokens=40, written_tokens=30, reasoning_tokens=7)
    telemetry.export(event, conventions="genai-0.1")
    usage = "gen_ai.client.inference.usage"
    kinds = ("input", "output", "cache_read.input", "cache_write.input", "reasoning.output")
    counted = [telemetry.points(f"{usage}.{kind}_tokens")[0].value for kind in kinds]
    assert counted == [100, 20, 40, 30, 7]
    assert telemetry.points("gen_ai.client.inference.duration")[0].sum == 1.5
    assert telemetry.points("gen_ai.client.token.usage") == []
    assert telemetry.only().attributes["gen_ai.usage.cache_write.input_tokens"] == 30


@pytest.mark.parametrize("asked", [False, True])
def test_the_user_is_named_only_if_asked(telemetry, asked) -> None:
    telemetry.export(call(user="ann@example.org"), include_user=asked)
    assert ("ann@example.org" in telemetry.only().attributes.values()) is asked


@given(st.integers(0, 2**53), st.floats(0, 1e5), st.floats(0, 4e9))
def test_a_span_lasts_as_long_as_its_call(tokens, latency, ts) -> None:
    telemetry = Telemetry()
    telemetry.export(call(input_tokens=tokens, latency=latency, ts=ts))
    span = telemetry.only()
    assert span.end_time - span.start_time == round(latency * 1e9)
    assert span.attributes["gen_ai.usage.input_tokens"] == tokens
    telemetry.close()


# --- In an app: the span is a child of the one that is current where the model is called.


def asked(ops: LLMOps, telemetry: Telemetry, ask: Callable[[], object]) -> tuple[Any, Any]:
    """The span of the model and the app's own one around it."""
    with ops.track(project="p"), telemetry.tracer.start_as_current_span("request"):
        ask()
    model, request = telemetry.spans()
    return model, request


def test_the_span_of_a_sync_call_is_a_child_of_the_current_one(ops, telemetry) -> None:
    model, request = asked(ops, telemetry, lambda: CountingModel().invoke("a secret"))
    assert model.parent.span_id == request.context.span_id
    assert model.attributes["llmops.project"] == "p"


def test_no_prompt_and_no_answer_is_exported(ops, telemetry) -> None:
    model, _ = asked(ops, telemetry, lambda: CountingModel(answer="classified").invoke("a secret"))
    assert "secret" not in model.to_json()
    assert "classified" not in model.to_json()


def test_the_span_of_a_stream_is_a_child_of_the_current_one(ops, telemetry) -> None:
    model, request = asked(ops, telemetry, lambda: list(StreamingModel().stream("q")))
    assert model.parent.span_id == request.context.span_id
    assert model.attributes["gen_ai.request.stream"] is True


async def test_tasks_have_their_own_parents(ops, telemetry) -> None:
    async def request(name: str) -> None:
        with ops.track(project=name), telemetry.tracer.start_as_current_span(name):
            await AsyncModel().ainvoke("q")
            async for _ in AsyncModel().astream("q"):
                await asyncio.sleep(0)

    await asyncio.gather(*(request(f"r{number}") for number in range(5)))
    spans = {span.context.span_id: span for span in telemetry.spans()}
    children = [span for span in spans.values() if span.parent is not None]
    assert len(children) == 10
    assert all(
        spans[child.parent.span_id].name == child.attributes["llmops.project"] for child in children
    )


def test_langchains_executor_keeps_the_parent(ops, telemetry) -> None:
    with ops.track(), telemetry.tracer.start_as_current_span("request") as request:
        CountingModel().batch(["a", "b", "c"])
    children = [span for span in telemetry.spans() if span.parent is not None]
    assert len(children) == 3
    assert {span.parent.span_id for span in children} == {request.get_span_context().span_id}


def test_a_thread_with_a_copied_context_keeps_the_parent(ops, telemetry) -> None:
    def ask() -> None:
        run = contextvars.copy_context().run
        with ThreadPoolExecutor() as pool:
            pool.submit(run, CountingModel().invoke, "q").result()

    model, request = asked(ops, telemetry, ask)
    assert model.parent.span_id == request.context.span_id


def test_a_failing_exporter_never_breaks_the_call(telemetry, caplog) -> None:
    class Broken(SimpleSpanProcessor):
        def on_end(self, span: Any) -> None:
            raise OSError(span.name)

    telemetry.traces.add_span_processor(Broken(telemetry.kept))
    with LLMOps("sqlite://", Settings()) as ops:
        ops.ledger.listen(OpenTelemetryExport(telemetry.traces, telemetry.meters))
        with ops.track():
            assert CountingModel().invoke("q").content == "the answer"
            CountingModel().invoke("q")
        ops.flush()
        assert ops.analytics.cost().calls == 2
    assert "a listener failed" in caplog.text


def test_what_the_ledger_sums_is_what_the_counter_says(ops, telemetry) -> None:
    ops.prices.set("tested-model", input_per_million=1, output_per_million=10)
    with ops.track(project="p"):
        for _ in range(3):
            CountingModel().invoke("q")
    ops.flush()
    (point,) = telemetry.points("llmops.cost")
    assert ops.analytics.cost(project="p").total == Decimal("0.00018")
    assert point.value == pytest.approx(0.00018)


def test_a_provider_that_is_set_later_is_used(telemetry, monkeypatch) -> None:
    from opentelemetry import trace

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    export = OpenTelemetryExport(meter_provider=telemetry.meters)
    export(call())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", telemetry.traces)
    export(call())
    assert telemetry.only().name == "chat gpt-5"


def test_events_of_many_threads_are_all_exported(telemetry) -> None:
    export = OpenTelemetryExport(telemetry.traces, telemetry.meters)
    threads = [
        threading.Thread(target=lambda: [export(call()) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(telemetry.spans()) == 200
    assert telemetry.points("gen_ai.client.operation.duration")[0].count == 200


def test_without_opentelemetry_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MissingExtraError, match=r"llmops-langchain\[otel\]"):
        OpenTelemetryExport()


def test_unknown_conventions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"1\.41"):
        OpenTelemetryExport(conventions="2.0")
