"""What a call is billed for that brought no answer: a decision by the class of its error.

It turns on who gave up. A provider that refuses, or breaks down, bills nothing. One that was left
alone - the call was cancelled, or nobody waited any longer - goes on with what it was sent, and
bills at least that. Of a request that never left there is nothing to bill.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice

__all__ = ["bills_input", "was_cut_off"]

_CUT_OFF = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)

# By the names of classes: those of the clients are not to be imported here.
_BILLED = {
    # Left alone.
    "CancelledError": True,
    "GeneratorExit": True,
    "KeyboardInterrupt": True,
    "SystemExit": True,
    # Nobody waited any longer; whether the provider did the work, nobody can tell here.
    "APITimeoutError": True,  # openai, anthropic, groq, …
    "DeadlineExceeded": True,  # google-api-core
    "ModelTimeoutError": True,  # langchain-core
    "ReadTimeoutError": True,  # urllib3, botocore
    "Timeout": True,  # requests
    "TimeoutError": True,  # built in: asyncio's, aiohttp's and the socket's too
    "TimeoutException": True,  # httpx
    # Answered, but with nothing that could be parsed (openai).
    "ContentFilterFinishReasonError": True,
    "LengthFinishReasonError": True,
    # Never left: no connection, or no part of it free.
    "ConnectTimeout": False,  # httpx, requests
    "ConnectTimeoutError": False,  # urllib3, botocore
    "ConnectionTimeoutError": False,  # aiohttp
    "PoolTimeout": False,  # httpx
    # This package refused the call before the provider heard of it.
    "LLMOpsError": False,
}
_DEPTH = 5  # causes of causes that are looked at


def was_cut_off(error: BaseException | None) -> bool:
    """Whether it was the caller who ended the call."""
    return isinstance(error, _CUT_OFF)


def bills_input(error: BaseException) -> bool:
    """Whether the provider bills the input of a call that ended in `error`, without an answer.

    A client's timeout names what timed out as its cause: the connection, or the answer. An error
    with a status is the provider's own word, and an error nobody knows counts as a refusal.
    """
    verdicts = [
        billed for each in islice(_causes(error), _DEPTH) if (billed := _of(each)) is not None
    ]
    return bool(verdicts) and all(verdicts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__


def _of(error: BaseException) -> bool | None:
    if isinstance(getattr(error, "status_code", None), int):
        return False
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((_BILLED[name] for name in names if name in _BILLED), None)
