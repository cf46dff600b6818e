"""Errors, retries, fallbacks, and calls that never came to their end."""

import asyncio
from collections.abc import Awaitable

import httpx
import openai
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser

from usage_truth.loopback import Reply
from usage_truth.run import ASKED, Case, Run, case

__all__ = ["CASES"]

CASES: list[Case] = []
ERRORS, BROKEN = "errors", "broken off"
ASYNC = ("async",)
SEEN = 5
"""Tokens of an answer that arrive before it breaks off."""


@case(CASES, "the client's own retries: 500, 429, then an answer", ERRORS, paid=1)
async def client_retries(run: Run) -> None:
    await run.invoke(run.openai(Reply(status=500), Reply(status=429), Reply(), max_retries=2))


@case(CASES, "`with_retry`: 429, then an answer", ERRORS, paid=1)
async def with_retry(run: Run) -> None:
    model = run.openai(Reply(status=429), Reply())
    again = model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    await run.invoke(again)


@case(CASES, "`with_fallbacks`: Claude is overloaded (529), another answers", ERRORS, paid=1)
async def with_fallbacks(run: Run) -> None:
    await run.invoke(run.claude(Reply(status=529)).with_fallbacks([run.openai()]))


@case(CASES, "a refused call (400) beside one that is answered", ERRORS, paid=1)
async def refused_call(run: Run) -> None:
    await _fails(run.invoke(run.openai(Reply(status=400))), openai.BadRequestError)
    await run.invoke(run.openai())


@case(CASES, "a batch in which one call fails", ERRORS, paid=2)
async def batch_with_an_error(run: Run) -> None:
    model = run.openai(Reply(), Reply(status=500), Reply())
    # Equal questions: which of them is refused is chance.
    answers = await run.batch(model, [ASKED] * 3, return_exceptions=True)
    assert sum(isinstance(answer, Exception) for answer in answers) == 1


@case(CASES, "`generate` of two chats, where the second fails", ERRORS, paid=1)
async def generate_with_an_error(run: Run) -> None:
    model = run.watch.guarded(run.openai(Reply(), Reply(status=500)))
    chats = [[HumanMessage(ASKED)], [HumanMessage("And that of Italy?")]]
    await _fails(run.generate(model, chats), openai.InternalServerError)


@case(CASES, "the server dies before it answers", ERRORS, paid=1)
async def death_before_headers(run: Run) -> None:
    await _fails(run.invoke(run.openai(Reply(pause="dies"))), openai.APIConnectionError)
    await run.invoke(run.openai())


@case(CASES, "the server dies in the middle of a stream", BROKEN, paid=1, told=False)
async def death_in_a_stream(run: Run) -> None:
    model = run.openai(Reply(pause="dies", sent=SEEN), stream_usage=True)
    await _fails(run.stream(model), (httpx.RemoteProtocolError, openai.APIError))


@case(CASES, "the consumer breaks a stream off", BROKEN, paid=1, told=False)
async def stream_broken_off(run: Run) -> None:
    model = run.openai(Reply(pause="waits", sent=SEEN), stream_usage=True)
    await run.stream(model, most=SEEN)


@case(CASES, "a chain broken off, whose rest LangChain reads", BROKEN, paid=1, modes=["sync"])
async def chain_broken_off(run: Run) -> None:
    await run.stream(run.openai(stream_usage=True) | StrOutputParser(), most=SEEN)


@case(CASES, "`astream` is cancelled", BROKEN, paid=1, told=False, modes=ASYNC)
async def cancelled_astream(run: Run) -> None:
    model = run.openai(Reply(pause="waits", sent=SEEN), stream_usage=True)
    seen = asyncio.Event()

    async def consume() -> None:
        arrived = 0
        async for chunk in model.astream(ASKED, run.watch.config):
            arrived += bool(chunk.text)
            if arrived == SEEN:
                seen.set()

    await run.cancel(consume(), seen.wait())


@case(CASES, "`ainvoke` is cancelled", BROKEN, paid=1, told=False, modes=ASYNC)
async def cancelled_ainvoke(run: Run) -> None:
    model = run.watch.guarded(run.openai(Reply(pause="waits"), max_tokens=20))
    await run.cancel(run.invoke(model), run.reached())


async def _fails(
    call: Awaitable[object], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    try:
        await call
    except error:
        return
    msg = f"{error} was scripted"
    raise AssertionError(msg)
