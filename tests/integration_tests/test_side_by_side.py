"""Langfuse's handler and LangSmith's tracer beside ours: each call once, a hit free, ids shared."""

# ruff: noqa: E402 - what may be missing is skipped first
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import pytest

for _name in ("langchain_openai", "langchain_anthropic", "langchain", "bpe_openai"):
    pytest.importorskip(_name, reason=f"needs the package {_name.replace('_', '-')}")
pytest.importorskip("langfuse", reason="needs the package langfuse")
pytest.importorskip("langsmith", reason="needs the package langsmith")

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers import LangChainTracer
from langfuse.langchain import CallbackHandler
from langsmith import Client
from usage_truth.cases_of_graphs import CALLS_WEATHER, weather
from usage_truth.handlers import Ours, langfuse_observations
from usage_truth.loopback import Loopback, Reply
from usage_truth.run import ASKED, Mode, Run, play

from llmops_langchain.ledger import LLM_CALL

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning"),
]

Tokens = tuple[int, int]
"""Input and output of a call."""
NONE: Tokens = (0, 0)
CALL: Tokens = (22, 14)
"""What `ASKED` and the servers' usual answer are billed for."""


class LangSmith(Client):
    """LangSmith's client, which keeps what its tracer would have sent."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})
        self.created: list[tuple[UUID, str]] = []
        self.ended: dict[UUID, dict[str, Any]] = {}

    def create_run(self, name: str, inputs: Any, run_type: str, **kwargs: Any) -> None:  # noqa: ARG002 - as the client has it
        self.created.append((kwargs["id"], run_type))

    def update_run(self, run_id: UUID, **kwargs: Any) -> None:
        assert run_id not in self.ended
        self.ended[run_id] = kwargs["extra"]["metadata"].get("usage_metadata") or {}

    def calls(self) -> list[tuple[UUID, Tokens]]:
        models = [id_ for id_, run_type in self.created if run_type == "llm"]
        return [(id_, _tokens(self.ended[id_], "input_tokens", "output_tokens")) for id_ in models]


class Langfuse(CallbackHandler):
    """Langfuse's handler, which keeps the run ids that it leaves out of its spans."""

    def __init__(self) -> None:
        self.observed = langfuse_observations()
        self.observed.forget()
        self.ended: list[UUID] = []
        super().__init__(public_key=self.observed.public_key)

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended.append(run_id)
        super().on_llm_end(response, run_id=run_id, **kwargs)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.ended.append(run_id)
        super().on_llm_error(error, run_id=run_id, **kwargs)

    def calls(self) -> list[tuple[UUID, Tokens]]:
        spans = [each for each in self.observed.spans() if each[_TYPE] == "generation"]
        usages = [json.loads(str(span.get(_USAGE, "{}"))) for span in spans]
        found = [_tokens(each, "input", "output") for each in usages]
        return [*zip(self.ended, found, strict=True)]


_TYPE, _USAGE = "langfuse.observation.type", "langfuse.observation.usage_details"


class Beside:
    """A run with all three attached: `ops.track` around it, the others in its config."""

    def __init__(self, server: Loopback, mode: Mode) -> None:
        self.run = Run(server, mode)
        self.langsmith, self.langfuse = LangSmith(), Langfuse()

    @contextmanager
    def attached(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.run.ops)
            self.run.watch = self.ours = Ours(self.run, stack)
            handlers = [LangChainTracer(client=self.langsmith), self.langfuse]
            self.run.watch.config = RunnableConfig(callbacks=handlers)
            yield

    def play(self, how: Callable[[Run], Awaitable[None]]) -> None:
        play(how(self.run), self.run.mode)

    def calls(self) -> list[Tokens]:
        """Tokens of each call, in the order they began; all three say the same about each."""
        ours = {
            event.run_id: (event.input_tokens, event.output_tokens)
            for event in self.ours.events()
            if event.name == LLM_CALL
        }
        assert len(ours) == len(self.langsmith.calls()) == len(self.langfuse.calls())
        assert ours == dict(self.langsmith.calls()) == dict(self.langfuse.calls())
        return [ours[id_] for id_, _ in self.langsmith.calls()]


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback() as running:
        yield running
    langfuse_observations().close()


@pytest.fixture(params=["sync", "async"])
def beside(request, server) -> Iterator[Beside]:
    made = Beside(server, request.param)
    with made.attached():
        yield made


def test_a_call_appears_once_and_under_one_run_id(beside) -> None:
    async def calls(run: Run) -> None:
        await run.invoke(run.openai() | StrOutputParser())

    beside.play(calls)
    assert beside.calls() == [CALL]


def test_a_hit_shows_no_tokens_and_costs_nothing(beside) -> None:
    async def calls(run: Run) -> None:
        model = run.ops.cached(run.openai())
        await run.invoke(model)
        await run.invoke(model)

    beside.play(calls)
    assert beside.calls() == [CALL, NONE]
    asked, hit = beside.ours.events()
    assert (asked.cost, hit.cost, hit.saved) == (asked.cost, 0, asked.cost)


def test_a_streamed_hit_shows_no_tokens_either(beside) -> None:
    async def calls(run: Run) -> None:
        model = run.ops.cached(run.openai(stream_usage=True))
        await run.stream(model)
        await run.stream(model)

    beside.play(calls)
    assert beside.calls() == [CALL, NONE]
    assert [event.cost > 0 for event in beside.ours.events()] == [True, False]


def test_a_hit_of_claude_shows_no_tokens_either(beside) -> None:
    async def calls(run: Run) -> None:
        model = run.ops.cached(run.claude())
        await run.invoke(model)
        await run.invoke(model)

    beside.play(calls)
    assert beside.calls() == [(21, 14), NONE]


def test_an_agent_appears_with_each_of_its_calls_once(beside) -> None:
    async def calls(run: Run) -> None:
        agent = create_agent(run.openai(CALLS_WEATHER, Reply()), [weather])
        await run.invoke(agent, {"messages": [HumanMessage(ASKED)]})

    beside.play(calls)
    assert len(beside.calls()) == 2
    assert NONE not in beside.calls()


def test_each_attempt_of_a_fallback_appears_once(beside) -> None:
    async def calls(run: Run) -> None:
        await run.invoke(run.claude(Reply(status=529)).with_fallbacks([run.openai()]))

    beside.play(calls)
    assert beside.calls() == [NONE, CALL]


def test_a_guarded_and_cached_model_appears_once(beside) -> None:
    async def calls(run: Run) -> None:
        model = run.ops.wrap(run.openai())
        await run.invoke(model)
        await run.invoke(model)

    beside.play(calls)
    assert beside.calls() == [CALL, NONE]


def _tokens(usage: dict[str, Any], read: str, written: str) -> Tokens:
    return usage.get(read, 0), usage.get(written, 0)
