"""`llmops demo`: a support desk on a real model, with the parts that save money."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from llmops_langchain.cli.options import Url
from llmops_langchain.cli.report import DEMO_RUN, print_run
from llmops_langchain.clock import system_clock
from llmops_langchain.errors import ConfigurationError, LLMOpsError, MissingExtraError

if TYPE_CHECKING:  # LangChain takes seconds to import, and `--help` needs none of it
    from langchain_core.language_models import BaseChatModel
    from rich.text import Text

    from llmops_langchain import LLMOps
    from llmops_langchain.cli.support_desk import CustomerThread, Turn

__all__ = ["demo"]

_WINDOW = 700
"""Tokens a customer's thread may send: small, so that the long one has to be cut."""

_LOCAL_ANSWER, _PROVIDER_ANSWER = 64, 1000
"""Tokens an answer may have. The desk answers in a sentence, but some models think first."""

_PRICED_LIKE, _INPUT, _OUTPUT = "gpt-4o-mini", "0.15", "0.60"
"""The local model costs nothing: it gets the price of a small hosted one, dollars a million."""


_RUSH, _RUSH_QUESTION = 8, "Is the shop open today? Answer yes or no."
"""So many customers ask this at the same moment."""


def demo(
    turns: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many customer turns in all.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Use your provider, such as `openai:gpt-5-mini`, not the local model."),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="Your own text: one question a line, a blank line starts a new thread."),
    ] = None,
    url: Url = "sqlite:///llmops.db",
    gguf: Annotated[
        Path | None, typer.Option(help="Another local model than SmolLM2-135M-Instruct.")
    ] = None,
) -> None:
    """Run a support desk through cache, window, budget, router, learning, a team and sums.

    Without `--model` it needs no key and no network: a small model runs on this machine.
    """
    from llmops_langchain import LLMOps
    from llmops_langchain.cli.budgeted import ask_within_a_budget
    from llmops_langchain.cli.learned import learn_from_runs
    from llmops_langchain.cli.looked_at import look_at_a_month
    from llmops_langchain.cli.remembered import ask_what_was_said_long_ago
    from llmops_langchain.cli.reworded import ask_in_other_words
    from llmops_langchain.cli.routed import ask_through_a_router
    from llmops_langchain.cli.teamed import work_as_a_team
    from llmops_langchain.ledger import Event

    threads = _threads(questions, turns)
    run = f"demo-{uuid4().hex[:12]}"
    with LLMOps(url) as ops:
        _check(ops)
        with _answering(ops, model, gguf) as (chat, name, prices):
            seconds = _serve(ops, chat, threads, run)
            told = _rush(ops, chat, run) | ask_in_other_words(url, chat, run)
            told |= ask_within_a_budget(ops, chat, run)
            told |= ask_what_was_said_long_ago(ops, chat, run)
            told |= ask_through_a_router(ops, chat, run)
            told |= learn_from_runs(ops, chat, run)
            told |= work_as_a_team()
            told |= look_at_a_month()
        event = Event(
            name=DEMO_RUN,
            ts=system_clock(),
            value=seconds,
            unit="seconds",
            workspace=run,
            project="demo",
            tags={"model": name, "prices": prices, **told},
        )
        ops.ledger.record(event)
        ops.flush()
        print_run(ops, event)


def _threads(questions: Path | None, turns: int | None) -> "tuple[CustomerThread, ...]":
    from llmops_langchain.cli.support_desk import first_turns, shop_threads, threads_of_file

    threads = shop_threads() if questions is None else threads_of_file(questions)
    return threads if turns is None else tuple(first_turns(threads, turns))


def _check(ops: "LLMOps") -> None:
    """Find out now, not after the run, that nothing could be recorded."""
    if ops.settings.disabled:
        msg = "`LLMOPS_DISABLED` is set: unset it, a demo without the parts shows nothing"
        raise ConfigurationError(msg)
    with ops.database.begin(read_only=True):
        pass


def _serve(
    ops: "LLMOps", chat: "BaseChatModel", threads: "Iterable[CustomerThread]", run: str
) -> float:
    """Let every customer ask, and show how each was answered; seconds that it took."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from llmops_langchain.cli.support_desk import support_graph, take_turn

    window = ops.context_window(chat, _WINDOW)
    desk = support_graph(ops.cached(chat), ops.trim_node(window))
    asked = [(thread, question) for thread in threads for question in thread.questions]
    started = perf_counter()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("", total=len(asked))
        for thread, question in asked:
            progress.update(bar, description=f"{thread.customer} asks …")
            begun = perf_counter()
            with ops.track(workspace=run, project="demo", task=thread.name, user=thread.customer):
                turn = take_turn(desk, thread.name, question)
            progress.console.print(
                _told(thread.customer, question, turn, perf_counter() - begun),
                no_wrap=True,
                overflow="ellipsis",
            )
            progress.advance(bar)
    return perf_counter() - started


def _rush(ops: "LLMOps", chat: "BaseChatModel", run: str) -> dict[str, str]:
    """Let many ask the same at one moment, then stream their answer again; what came of it."""
    from langchain_core.runnables.config import ContextThreadPoolExecutor
    from rich.console import Console

    model, before = ops.cached(chat), ops.cache.stats()
    with ops.track(workspace=run, project="rush"):
        with ContextThreadPoolExecutor(_RUSH) as pool:
            list(pool.map(model.invoke, [_RUSH_QUESTION] * _RUSH))
        after = ops.cache.stats()
        begun = perf_counter()
        next(stream := model.stream(_RUSH_QUESTION))
        first = perf_counter() - begun
        list(stream)
    asked, given = after.misses - before.misses, after.hits - before.hits
    told = {
        "rush": f"{asked} asked, {given} given its answer",
        "first_word": f"{1000 * first:.1f} ms",
    }
    Console().print(
        f"[bold]{_RUSH} customers at once:[/bold] {_RUSH_QUESTION}\n"
        f"  [green]{told['rush']}[/green], streamed again after {told['first_word']}"
    )
    return told


def _told(customer: str, question: str, turn: "Turn", seconds: float) -> "Text":
    """Two lines on one turn: what was asked, and how it was answered."""
    from rich.text import Text

    by = ("cache", "green") if turn.cached else (f"model {seconds:.1f} s", "cyan")
    cut = f", {turn.messages_cut} earlier messages cut" if turn.messages_cut else ""
    return Text.assemble(
        (f"{customer}: ", "bold"),
        " ".join(question.split()),
        "\n  ",
        by,
        (cut, "yellow"),
        (f"  {' '.join(turn.answer.split())}", "dim"),
    )


def _answering(
    ops: "LLMOps", model: str | None, gguf: Path | None
) -> "AbstractContextManager[tuple[BaseChatModel, str, str]]":
    """The model that answers, its name, and by what price list its tokens are counted."""
    if model is None:
        return _local_model(ops, gguf)
    if gguf is not None:
        msg = "`--model` and `--gguf` name two models: give one of them"
        raise ConfigurationError(msg)
    return _provider_model(model)


@contextmanager
def _local_model(ops: "LLMOps", gguf: Path | None) -> "Iterator[tuple[BaseChatModel, str, str]]":
    from llmops_langchain.cli.local_model import LocalModel

    with LocalModel(gguf) as local:
        ops.prices.set(local.model_name, input_per_million=_INPUT, output_per_million=_OUTPUT)
        prices = (
            f"A small model of this machine: free, and often wrong. Priced like {_PRICED_LIKE}: "
            f"${_INPUT} a million tokens in, ${_OUTPUT} out."
        )
        yield local.chat_model(max_tokens=_LOCAL_ANSWER), local.model_name, prices


@contextmanager
def _provider_model(name: str) -> "Iterator[tuple[BaseChatModel, str, str]]":
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        package = "langchain"
        raise MissingExtraError(package, extra="agents") from error
    try:
        chat = init_chat_model(name, max_tokens=_PROVIDER_ANSWER)
        yield chat, name, f"Priced by the list of genai-prices {version('genai-prices')}."
    except LLMOpsError:
        raise
    except Exception as error:  # each provider has errors of its own: no key, no package, no answer
        reason = " ".join(str(error).split())
        msg = f"{name!r} cannot be used: {type(error).__name__}: {reason}"
        raise ConfigurationError(msg) from error
