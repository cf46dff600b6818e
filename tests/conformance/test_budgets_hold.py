# ruff: noqa: S311 - chance is for tests here, not for secrets
"""Budgets hold, whatever threads, tasks and processes do at once, and whenever they are killed.

The provider keeps the books of truth: before it answers it writes down what it charges, and whoever
goes away meanwhile is charged all the same. What is promised, and asked here after each run:

- strict budgets: what the provider charged is never more than what was spent, nor that than the
  limit, also after what was left has been used up;
- others: what was spent is over the limit by no more than calls cost more than was set aside for
  them, call by call;
- of both: what was spent is the sum of the stored events, each call is one of them, nothing stays
  set aside, shares are told once, and at least 99 % of the limit can be used.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from sqlalchemy import func, select
from typing_extensions import override
from unit_tests.storage.processes import start

from llmops_langchain import Budget, LLMOps, LLMOpsError, Settings
from llmops_langchain.clock import system_clock
from llmops_langchain.ledger import LLM_CALL
from llmops_langchain.models import dollars
from llmops_langchain.storage.schema import events, reservations
from llmops_langchain.tokens import count_tokens

NAME = "provider-1"
INPUT, OUTPUT = 1_000, 10_000  # nano-dollars a token
PRICE = {"input_per_million": 1, "output_per_million": 10}
EXPECTED = 1_024  # tokens of an answer that a budget sets aside for a model it does not know
A_DAY = 86_400.0

_task: ContextVar[asyncio.Task[None]] = ContextVar("task")

HERD = """
sys.path.insert(0, sys.argv[1])
from conformance.test_budgets_hold import NAME, Run, count_tokens, herd

count_tokens("hi", NAME)  # the vocabulary, before the first fork
for line in sys.stdin:
    herd(Run.read(line))
    print("done", flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Calls that are made at once, and who makes them."""

    url: str
    folder: str
    calls: int
    processes: int = 2
    how: str = "threads"
    strict: bool = True
    kills: int = 0
    cancelled: float = 0.0
    """The share of tasks that nobody waits for any longer."""
    slice: str | None = None

    @classmethod
    def read(cls, text: str) -> "Run":
        return cls(**json.loads(text))

    @property
    def books(self) -> Path:
        return Path(self.folder, "books")

    @property
    def limit(self) -> Decimal:
        """About what half of the calls cost."""
        return Decimal(self.calls) * EXPECTED * OUTPUT / 4 / 10**9

    def note(self, *words: object) -> None:
        """One more line in the books; it outlives whoever writes it."""
        file = os.open(self.books, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, f"{' '.join(map(str, words))}\n".encode())
        os.close(file)

    def answered(self, message: AIMessage) -> None:
        """A call ended, and the app has its answer."""
        self.note("answered", message.id.removeprefix("lc_run--").removesuffix("-0"))

    def noted(self, kind: str) -> list[list[str]]:
        lines = self.books.read_text().splitlines() if self.books.exists() else []
        return [rest for first, *rest in map(str.split, lines) if first == kind]

    @contextmanager
    def opened(self) -> Iterator[LLMOps]:
        settings = Settings(
            journal_dir=Path(self.folder), budget_slice=self.slice, lock_timeout=60.0
        )
        with LLMOps(self.url, settings) as ops:
            ops.prices.set(NAME, **PRICE)
            ops.budgets.on_alert(
                lambda told: self.note("alert", told.budget.project, told.threshold)
            )
            yield ops


class Provider(BaseChatModel):
    """Answers after a moment, as long as it likes but not longer than it is told to."""

    run: Any
    most: int = 2 * EXPECTED
    pause: float = 0.01
    set_aside: Any = None
    """Tells what was set aside for a run."""
    model_name: str = NAME
    max_tokens: int | None = None

    @property
    def _llm_type(self) -> str:
        return "provider"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        named = {"ls_provider": "provider", "ls_model_name": self.model_name}
        return {**super()._get_ls_params(stop=stop, **kwargs), **named}

    def _charged(self, messages: list[BaseMessage], run_manager: Any, kwargs: Any) -> ChatResult:
        output = random.randint(1, min(kwargs.get("max_tokens") or self.most, self.most))
        asked = count_tokens(messages, self.model_name)
        cost = asked * INPUT + output * OUTPUT
        held = self.set_aside(run_manager.run_id) if self.set_aside else 0
        self.run.note("charged", run_manager.run_id, cost, held)
        usage = {
            "input_tokens": asked,
            "output_tokens": output,
            "total_tokens": asked + output,
        }
        message = AIMessage(
            "so it is", usage_metadata=usage, response_metadata={"model_name": self.model_name}
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    @override
    def _generate(self, messages, stop=None, run_manager=None, **kwargs: Any) -> ChatResult:
        answer = self._charged(messages, run_manager, kwargs)
        time.sleep(random.random() * self.pause)
        return answer

    @override
    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs: Any) -> ChatResult:
        answer = self._charged(messages, run_manager, kwargs)
        if random.random() < self.run.cancelled:
            _task.get().cancel()  # whoever waits for it goes away
        await asyncio.sleep(random.random() * self.pause)
        return answer


def set_aside_in(ops: LLMOps) -> Callable[[UUID], int]:
    """What the database has set aside for a run."""

    def amount(run_id: UUID) -> int:
        asked = select(reservations.c.amount).where(reservations.c.run_id == run_id)
        with ops.database.begin(read_only=True) as connection:
            return connection.execute(asked).scalar() or 0

    return amount


def work(run: Run) -> None:
    """What one process does: all its calls at once."""
    with run.opened() as ops:
        known = None if run.strict or run.slice else set_aside_in(ops)
        profile = {"max_output_tokens": EXPECTED}
        model = ops.guard(Provider(run=run, profile=profile, set_aside=known))
        if run.how == "asyncio":
            asyncio.run(_as_tasks(run, ops, model))
            return
        with ThreadPoolExecutor(run.calls) as threads:
            list(threads.map(lambda _: ask(run, ops, model), range(run.calls)))


async def _as_tasks(run: Run, ops: LLMOps, model: Any) -> None:
    async def one() -> None:
        _task.set(asyncio.current_task())
        with ops.track(workspace="w", project="p"):
            run.answered(await model.ainvoke("hi"))

    tasks = [asyncio.create_task(one()) for _ in range(run.calls)]
    for task in random.sample(tasks, int(run.cancelled * run.calls / 2)):
        asyncio.get_running_loop().call_later(random.random() * run.calls / 400, task.cancel)
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, LLMOpsError):
            run.note("refused", type(ended).__name__)
        elif isinstance(ended, Exception):
            raise ended


def ask(run: Run, ops: LLMOps, model: Any, **kwargs: Any) -> bool:
    """One call; whether it was let through."""
    try:
        with ops.track(workspace="w", project="p"):
            run.answered(model.invoke("hi", **kwargs))
    except LLMOpsError as error:
        run.note("refused", type(error).__name__)
        return False
    return True


def herd(run: Run) -> None:
    """Let processes work; some of them are killed at any moment, and others take their place."""
    own = replace(run, calls=run.calls // run.processes)
    children = [_forked(own) for _ in range(run.processes)]
    codes = []
    for _ in range(run.kills):
        victim = children.pop(random.randrange(len(children)))
        codes.append(_killed(victim, run, random.randint(1, max(1, own.calls // 2))))
        children.append(_forked(replace(own, calls=max(1, own.calls // 2))))
    codes += [os.waitpid(child, 0)[1] for child in children]
    assert not any(codes), codes


def _killed(child: int, run: Run, more: int) -> int:
    """Kill a process when there are so many more calls; its code if it ended before."""
    wanted = len(run.noted("charged")) + more
    while len(run.noted("charged")) < wanted:
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            return code
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, code = os.waitpid(child, 0)
    return 0 if code == signal.SIGKILL else code


def _forked(run: Run) -> int:
    if child := os.fork():
        return child
    code = 1
    try:
        random.seed()
        work(run)
        code = 0
    finally:
        os._exit(code)


@pytest.fixture(scope="module")
def herder() -> Iterator[subprocess.Popen[str]]:
    """A process that has all it needs in memory, and no thread: it forks those that work."""
    process = start(HERD, Path(__file__).parents[1])
    yield process
    process.communicate()


def hold(run: Run, herder: subprocess.Popen[str]) -> None:
    """Set the budgets, let the herd loose, and ask afterwards for all that is promised."""
    with run.opened() as ops:
        ops.budgets.set(Budget(workspace="w", limit=2 * run.limit, period="total"))
        ops.budgets.set(Budget(project="p", limit=run.limit, period="total", strict=run.strict))
    print(json.dumps(asdict(run)), file=herder.stdin, flush=True)
    assert herder.stdout.readline() == "done\n", herder.stderr.read()
    with run.opened() as ops:
        ops.flush()
        ops.budgets.maintain(system_clock() + 2 * A_DAY)
        all_adds_up(run, ops)
        model = ops.guard(Provider(run=run, pause=0))
        while ask(run, ops, model, max_tokens=int(EXPECTED * run.calls / 1_000) or 1):
            pass
    with run.opened() as ops:
        all_adds_up(run, ops)
        spent = ops.budgets.get(project="p").spent
        assert spent >= run.limit * Decimal("0.99"), f"only ${spent} of ${run.limit} was usable"
    refusals = {name for (name,) in run.noted("refused")}
    assert refusals <= {"BudgetExceededError"}, refusals
    told = Counter(share for project, share in run.noted("alert") if project == "p")
    assert set(told) == {"0.5", "0.75", "0.9", "1.0"}
    if not run.kills:  # killed between telling it and noting so, it is told again
        assert set(told.values()) == {1}


def all_adds_up(run: Run, ops: LLMOps) -> None:
    """Nothing is lost, doubled or left over, and the limit holds."""
    with ops.database.begin(read_only=True) as connection:
        stored = connection.execute(
            select(events.c.name, events.c.run_id, events.c.cost, events.c.status)
        ).all()
        left = connection.execute(
            select(func.count(), func.coalesce(func.sum(reservations.c.amount), 0)).where(
                reservations.c.billed.is_(None)
            )
        ).one()
    for status in ops.budgets.list():
        assert status.spent == dollars(sum(event.cost for event in stored))
        assert status.reserved == 0
    assert tuple(left) == (0, 0)
    calls = {event.run_id: event for event in stored if event.name == LLM_CALL}
    assert len(calls) == sum(event.name == LLM_CALL for event in stored)
    charged = {UUID(run_id): (int(cost), int(held)) for run_id, cost, held in run.noted("charged")}
    for run_id, (cost, _) in charged.items():
        if run_id in calls and calls[run_id].status == "ok":
            assert calls[run_id].cost == cost
    # What was acknowledged outlives its process, and is settled once.
    assert {UUID(run_id) for (run_id,) in run.noted("answered")} <= set(calls)
    spent = ops.budgets.get(project="p").spent
    if run.strict:
        assert dollars(sum(cost for cost, _ in charged.values())) <= spent <= run.limit
        return
    over = sum(
        max(0, call.cost - charged[run_id][1])
        for run_id, call in calls.items()
        if run_id in charged
    )
    assert spent <= run.limit + dollars(over)


@pytest.fixture(params=["file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


HOW = pytest.mark.parametrize("how", ["threads", "asyncio"])
STRICT = pytest.mark.parametrize("strict", [True, False], ids=["strict", "not strict"])


@HOW
def test_a_strict_budget_holds_while_processes_are_killed(
    url: str, tmp_path: Path, how, herder
) -> None:
    hold(Run(url=url, folder=str(tmp_path), calls=40, how=how, kills=1, cancelled=0.3), herder)


def test_another_is_passed_by_what_calls_cost_more_alone(url: str, tmp_path: Path, herder) -> None:
    how = "asyncio" if "postgresql" in url else "threads"
    hold(Run(url=url, folder=str(tmp_path), calls=40, how=how, strict=False), herder)


@pytest.mark.slow
@pytest.mark.timeout(600)
@STRICT
@HOW
@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("calls", [200, 1_000])
def test_budgets_hold_while_processes_are_killed(
    url: str, tmp_path: Path, calls, processes, *, how: str, herder, strict: bool
) -> None:
    disturbed = {"kills": 2, "cancelled": 0.2}
    run = Run(url=url, folder=str(tmp_path), calls=calls, processes=processes, how=how)
    hold(replace(run, strict=strict, **disturbed), herder)


@pytest.mark.slow
@pytest.mark.timeout(600)
@STRICT
@HOW
def test_a_thousand_calls_of_four_processes(
    url: str, tmp_path: Path, how, herder, *, strict: bool
) -> None:
    run = Run(url=url, folder=str(tmp_path), calls=1_000, processes=4, how=how, strict=strict)
    hold(run, herder)


@HOW
def test_the_cap_holds_with_slices_that_die_with_their_process(
    url: str, tmp_path: Path, how, herder
) -> None:
    run = Run(url=url, folder=str(tmp_path), calls=40, how=how, kills=1, cancelled=0.3)
    hold(replace(run, slice=str(run.limit / 5)), herder)


def test_a_slice_pays_while_the_server_is_away_and_then_calls_are_refused(
    postgres_server: str, postgres_url: str, tmp_path: Path
) -> None:
    import psycopg

    run = Run(url=postgres_url, folder=str(tmp_path), calls=40, slice="0.05")
    name = postgres_url.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1]
    with run.opened() as ops, psycopg.connect(postgres_server, autocommit=True) as admin:
        ops.budgets.set(Budget(project="p", limit=run.limit, period="total"))
        model = ops.guard(Provider(run=run, pause=0, most=100))
        assert ask(run, ops, model, max_tokens=100)
        ops.flush()
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        made = 1
        while ask(run, ops, model, max_tokens=100):
            made += 1
        assert made >= 40  # of a tenth of a cent at most
        assert run.noted("refused") == [["BudgetUnavailableError"]]
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        while ask(run, ops, model, max_tokens=100):
            pass
        assert run.noted("refused")[1:] == [["BudgetExceededError"]]
    with run.opened() as ops:
        all_adds_up(run, ops)
        assert ops.budgets.get(project="p").spent >= run.limit * Decimal("0.99")
