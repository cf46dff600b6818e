"""A run begins once and ends once, whoever tells of it; what never ends is given up."""

import gc
import tracemalloc
import weakref
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.rate_limiters import BaseRateLimiter
from models import AsyncModel, CountingModel, StreamingModel

from llmops_langchain import UsageCallbackHandler
from llmops_langchain.callbacks import WatchedCall
from llmops_langchain.ledger import Scope, track

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
METADATA = {"ls_provider": "tested", "ls_model_name": "tested-model", "user": "u"}
ASKED = [HumanMessage("q")]


def answer(output_tokens: int = 5) -> LLMResult:
    message = AIMessage("a", usage_metadata={**USAGE, "output_tokens": output_tokens})
    return LLMResult(generations=[[ChatGeneration(message=message)]])


def begin(handler: UsageCallbackHandler, run_id: UUID | None = None) -> UUID:
    run_id = run_id or uuid4()
    handler.on_chat_model_start({}, [ASKED], run_id=run_id, metadata=METADATA)
    return run_id


# Driven by a gate, where core does not drive it ---------------------------------------------------


def test_a_run_is_watched_until_it_ends(book) -> None:
    run_id = begin(book.handler)
    assert book.handler.watches(run_id)
    book.handler.on_llm_end(answer(), run_id=run_id)
    assert not book.handler.watches(run_id)
    assert (book.only().id, book.only().cost) == (run_id, 60_000)


def test_the_first_end_counts(book) -> None:
    run_id = begin(book.handler)
    book.handler.on_llm_end(answer(5), run_id=run_id)
    book.handler.on_llm_end(answer(500), run_id=run_id)
    book.handler.on_llm_error(ValueError(), run_id=run_id)
    assert (book.only().output_tokens, book.only().status) == (5, "ok")


def test_a_second_start_changes_nothing(book) -> None:
    run_id = begin(book.handler)
    with track(user="another"):
        begin(book.handler, run_id)
    book.handler.on_llm_end(answer(), run_id=run_id)
    assert book.only().user == "u"


def test_an_ended_run_does_not_begin_again(book) -> None:
    heard = []
    book.ledger.listen(heard.append)
    for _ in range(2):
        run_id = begin(book.handler, UUID(int=7))
        book.handler.on_llm_end(answer(), run_id=run_id)
    assert len(heard) == 1


def test_the_last_thousand_ended_runs_are_remembered(book) -> None:
    first = begin(book.handler)
    book.handler.on_llm_end(answer(), run_id=first)
    for _ in range(999):
        book.handler.on_llm_end(answer(), run_id=begin(book.handler))
    assert not book.handler.watches(begin(book.handler, first))


def test_the_event_says_which_reservation_it_settles(book) -> None:
    run_id, reservation_id = begin(book.handler), uuid4()
    book.handler.settles(run_id, reservation_id)
    book.handler.settles(uuid4(), uuid4())  # of a run that nobody watches: passed over
    book.handler.on_llm_end(answer(), run_id=run_id)
    assert book.only().reservation_id == reservation_id


def test_a_refused_run_settles_its_reservation_too(book) -> None:
    run_id, reservation_id = begin(book.handler), uuid4()
    book.handler.settles(run_id, reservation_id)
    book.handler.on_llm_error(PermissionError(), run_id=run_id, response=None)
    assert (book.only().reservation_id, book.only().cost) == (reservation_id, 0)


def test_what_is_known_of_a_run(book) -> None:
    with track(project="p"):
        run_id = begin(book.handler)
    scope = Scope(project="p", user="u")
    known = WatchedCall(ASKED, scope, "tested", "tested-model")
    assert book.handler.prompt_of(run_id) == known
    book.handler.on_llm_end(answer(), run_id=run_id)
    assert book.handler.prompt_of(run_id) is None


# For a rate limiter -------------------------------------------------------------------------------


class Asking(BaseRateLimiter):
    """Notes which run it is asked for."""

    def __init__(self, handler: UsageCallbackHandler) -> None:
        self.handler, self.runs = handler, []

    def acquire(self, *, blocking: bool = True) -> bool:
        self.runs.append(self.handler.started())
        return blocking

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire(blocking=blocking)


@pytest.mark.parametrize("model_class", [CountingModel, StreamingModel])
def test_a_rate_limiter_learns_whom_it_is_asked_for(book, model_class) -> None:
    limiter, run_id = Asking(book.handler), uuid4()
    model = model_class(rate_limiter=limiter)
    list(model.stream("q", config={**book.config, "run_id": run_id}))
    assert limiter.runs == [run_id]
    assert book.handler.started() is None


async def test_a_rate_limiter_learns_it_in_async_calls(book) -> None:
    limiter, run_id = Asking(book.handler), uuid4()
    model = AsyncModel(rate_limiter=limiter)
    await model.ainvoke("q", config={**book.config, "run_id": run_id})
    assert limiter.runs == [run_id]


def test_outside_of_any_run_none_has_started(book) -> None:
    assert book.handler.started() is None


# What never ends ----------------------------------------------------------------------------------


def small(book, clock) -> UsageCallbackHandler:
    return UsageCallbackHandler(book.ledger, book.prices, clock=clock, max_runs=20, ttl=3600)


def test_a_run_older_than_its_ttl_is_given_up(book, clock) -> None:
    handler = small(book, clock)
    orphan = begin(handler)
    clock.advance(3_599)
    young = begin(handler)
    assert (handler.watches(orphan), handler.orphans) == (True, 0)
    clock.advance(60)
    begin(handler)
    assert (handler.watches(orphan), handler.watches(young), handler.orphans) == (False, True, 1)


def test_of_too_many_runs_the_oldest_are_given_up(book, clock) -> None:
    handler = small(book, clock)
    runs = [begin(handler) for _ in range(50)]
    assert [handler.watches(run_id) for run_id in runs] == [False] * 30 + [True] * 20
    assert handler.orphans == 30


@pytest.mark.parametrize("orphans", [1, 50])
def test_runs_that_never_end_do_not_stop_the_others(book, clock, orphans) -> None:
    handler = small(book, clock)
    for _ in range(orphans):
        begin(handler)
    CountingModel().invoke("q", config={"callbacks": [handler]})
    assert book.only().cost == 60_000


def test_a_prompt_lives_no_longer_than_its_call(book) -> None:
    class Prompt(HumanMessage):
        """Can be watched as it goes."""

    asked = Prompt("q")
    gone = weakref.ref(asked)
    book.handler.on_chat_model_start({}, [[asked]], run_id=(run_id := uuid4()))
    del asked
    assert gone() is not None
    book.handler.on_llm_end(answer(), run_id=run_id)
    gc.collect()
    assert gone() is None


def test_memory_is_flat_over_many_calls_of_which_some_never_end(book, clock) -> None:
    deaf = SimpleNamespace(record=lambda _event: None)
    handler = UsageCallbackHandler(deaf, book.prices, clock=clock)

    def calls(count: int) -> int:
        for number in range(count):
            clock.advance(60)
            run_id = uuid4()
            prompt = [HumanMessage(f"{number}" * 1_000)]
            handler.on_chat_model_start({}, [prompt], run_id=run_id, metadata=METADATA)
            if number % 10:
                handler.on_llm_end(answer(), run_id=run_id)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        calls(1_200)  # until as many ended runs are remembered as ever are
        early, late = calls(1_000), calls(1_000)
    finally:
        tracemalloc.stop()
    assert handler.orphans >= 300
    assert late - early < 100_000
