"""One case, played by one handler: real clients against the loopback, sync or async."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol

from langchain_anthropic import ChatAnthropic
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient

from llmops_langchain import LLMOps
from usage_truth.anthropic_wire import anthropic_wire
from usage_truth.bills import NOW, Bill
from usage_truth.loopback import Account, Loopback, Reply
from usage_truth.openai_wire import openai_wire

__all__ = ["ASKED", "MODES", "Case", "Mode", "Run", "Watch", "case", "play", "playing"]

Mode = Literal["sync", "async"]
Playing = Callable[["Run"], Coroutine[Any, Any, None]]
"""What a case does, written once for both modes."""
MODES: tuple[Mode, ...] = ("sync", "async")
ASKED = "What is the capital of France, and which river does it lie on?"


class Watch(Protocol):
    """A usage handler, attached to the calls of one run."""

    config: RunnableConfig
    """What the calls of a case are given."""
    explicit: RunnableConfig
    """The handler itself, where nothing is inherited: in a plain thread."""

    def guarded(self, model: BaseChatModel) -> BaseChatModel:
        """The model as the handler's package wraps it to see more; else the model itself."""

    def embedding(self, embeddings: Embeddings) -> Embeddings:
        """The same for embeddings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A way of calling models that apps use; what it was billed stands in the servers' ledger."""

    name: str
    group: str
    play: Playing
    paid: int
    """Requests that are billed."""
    modes: tuple[Mode, ...] = MODES
    told: bool = True
    """The providers tell their usage; else an estimate is wanted, and that it says so."""

    @property
    def id(self) -> str:
        """The name of its function."""
        return getattr(self.play, "__name__", self.name)


def case(
    cases: list[Case], name: str, group: str, *, modes: Sequence[Mode] = MODES, **fields: Any
) -> Callable[[Playing], Playing]:
    """Add the decorated function to `cases`."""

    def add(play: Playing) -> Playing:
        cases.append(Case(name=name, group=group, play=play, modes=tuple(modes), **fields))
        return play

    return add


class Run:
    """What a case may use: models with accounts of their own, and calls in the run's mode.

    A case is written once, with `await`. In a sync run nothing is awaited: every call blocks.
    """

    def __init__(self, server: Loopback, mode: Mode) -> None:
        self.mode = mode
        self.ops = LLMOps("sqlite://", clock=lambda: NOW)
        self.accounts: list[Account] = []
        self.saved: list[Bill] = []
        """What hits of a cache would have cost."""
        self.watch: Watch
        self._server = server

    @property
    def bills(self) -> list[Bill]:
        """All that was billed, by every account."""
        return [bill for account in self.accounts for bill in account.bills]

    def openai(self, *replies: Reply, model: str = "gpt-4o-mini", **options: Any) -> ChatOpenAI:
        """A chat model whose account answers like this; the last reply is repeated."""
        return ChatOpenAI(**self._openai(replies, model, options))

    def text_model(self, *replies: Reply) -> OpenAI:
        """A model of the older text interface."""
        return OpenAI(**self._openai(replies, "gpt-3.5-turbo-instruct", {}))

    def embeddings(self) -> OpenAIEmbeddings:
        """A model of vectors; texts are sent as they are, so no vocabulary is fetched."""
        options = {"check_embedding_ctx_length": False}
        return OpenAIEmbeddings(**self._openai((), "text-embedding-3-small", options))

    def claude(
        self, *replies: Reply, model: str = "claude-sonnet-4-6", **options: Any
    ) -> ChatAnthropic:
        """A Claude model whose account answers like this; the last reply is repeated."""
        account = self._open(self._server.account(anthropic_wire, replies))
        return ChatAnthropic(
            **{"model": model, "base_url": account.url, "api_key": "key", "max_retries": 0}
            | options
        )

    async def invoke(
        self, runnable: Runnable[Any, Any], given: Any = ASKED, *, config: Any = None
    ) -> Any:
        """`invoke` or `ainvoke`."""
        config = config or self.watch.config
        if self.mode == "sync":
            return runnable.invoke(given, config)
        return await runnable.ainvoke(given, config)

    async def batch(
        self, runnable: Runnable[Any, Any], given: list[Any], **options: Any
    ) -> list[Any]:
        """`batch` or `abatch`."""
        if self.mode == "sync":
            return runnable.batch(given, self.watch.config, **options)
        return await runnable.abatch(given, self.watch.config, **options)

    async def generate(self, model: Any, given: list[Any]) -> None:
        """`generate` or `agenerate`, of a chat model or a text model."""
        callbacks = self.watch.config.get("callbacks")
        if self.mode == "sync":
            model.generate(given, callbacks=callbacks)
        else:
            await model.agenerate(given, callbacks=callbacks)

    async def stream(
        self, runnable: Runnable[Any, Any], given: Any = ASKED, *, most: int | None = None
    ) -> None:
        """`stream` or `astream`, broken off after `most` chunks that hold text."""
        if self.mode == "sync":
            chunks = runnable.stream(given, self.watch.config)
            for _ in islice(filter(_has_text, chunks), most):
                pass
            chunks.close()  # type: ignore[attr-defined]  # a generator
        else:
            stream = runnable.astream(given, self.watch.config)
            await _consume(stream, most)
            await stream.aclose()  # type: ignore[attr-defined]  # a generator

    async def cancel(self, call: Coroutine[Any, Any, Any], when: Awaitable[object]) -> None:
        """Cancel the call at a moment, and let its server find out."""
        task = asyncio.ensure_future(call)
        await when
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self.release()

    async def reached(self, number: int = 0) -> None:
        """Wait until the account's server came to its pause."""
        await asyncio.to_thread(self.accounts[number].reached.wait)

    def release(self) -> None:
        """Let every server that waits go on."""
        for account in self.accounts:
            account.release()

    def _openai(
        self, replies: Sequence[Reply], model: str, options: dict[str, Any]
    ) -> dict[str, Any]:
        account = self._open(self._server.account(openai_wire, replies))
        url = f"{account.url}/v1"
        # Nothing is encrypted on loopback, and to load the authorities takes half of a run.
        clients = {
            "http_client": DefaultHttpxClient(verify=False),
            "http_async_client": DefaultAsyncHttpxClient(verify=False),
        }
        given = {"model": model, "base_url": url, "api_key": "key", "max_retries": 0}
        return given | clients | options

    def _open(self, account: Account) -> Account:
        self.accounts.append(account)
        return account


@contextmanager
def playing(
    case: Case, server: Loopback, mode: Mode, watching: Callable[[Run, ExitStack], Watch]
) -> Iterator[Run]:
    """Play a case to its end, with a handler attached."""
    run = Run(server, mode)
    with ExitStack() as stack:
        stack.callback(run.release)
        stack.enter_context(run.ops)
        run.watch = watching(run, stack)
        play(case.play(run), mode)
        yield run


def play(calls: Coroutine[Any, Any, None], mode: Mode) -> None:
    """Run calls to their end: on an event loop, or where there is none and nothing is awaited."""
    if mode == "async":
        asyncio.run(calls)
        return
    try:
        calls.send(None)
    except StopIteration:
        return
    msg = "a sync run must not wait"
    raise AssertionError(msg)


def _has_text(chunk: Any) -> bool:
    return bool(getattr(chunk, "text", chunk))


async def _consume(stream: AsyncIterator[Any], most: int | None) -> None:
    seen = 0
    async for chunk in stream:
        seen += _has_text(chunk)
        if seen == most:
            return
