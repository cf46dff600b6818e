"""Learns from runs by itself: a callback handler that makes an experience of each that ends."""

import atexit
import logging
import queue
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import LLMResult
from typing_extensions import override

from llmops_langchain.learning.finished import FinishedRun, asked_in
from llmops_langchain.learning.judged import Judge, Writer, experience_of, lessons_by
from llmops_langchain.learning.learning import Learning
from llmops_langchain.learning.running import RunningRun
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.wrapping.scoping import scope_of

__all__ = ["ExperienceRecorder", "Spent"]

logger = logging.getLogger(__name__)

_MOST_RUNS, _MOST_INNER = 1_000, 10_000
"""Runs under way at once, of which the oldest go, and runs inside of one."""

_PATIENCE = 30.0
"""Seconds that the end of the interpreter waits for what is still to be learnt."""

_judging = ContextVar("llmops_judging", default=False)
"""Whether a judge or a writer is at work: what they ask a model is no run to learn from, or a model
that carries a recorder and is its judge too would be judged for ever."""

_INNER = ("__start__", "__end__", "LangGraph")


class Spent(NamedTuple):
    """What one answer of a model cost."""

    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = None
    """`None`: no price is known."""
    model: str | None = None


class ExperienceRecorder(BaseCallbackHandler):
    """Makes an experience of each run that ends: of an agent, a graph, a chain or a model.

    Use it as `config={"callbacks": [ops.recorder()]}`. Runs inside a run are part of it. Who it is
    learnt for is what `ops.track` and the metadata say. The app does not wait: a judge, a writer
    and the database have a thread of their own, and what is too much for it (`most_waiting`) is
    counted in `dropped`. A run that was cancelled, or that pauses for a human, is not learnt, nor
    is what a judge or a writer asks a model.

    Args:
        learning: Learns.
        judge: Says how a run went: `True` or `False`, 0 to 1, fields of an experience, or `None`
            for one that is not to be learnt. Without it what raised no error succeeded.
        task: Takes the task out of a run's input; by default the last human message, or a field
            such as `input` or `question`.
        tech_stack: What the runs are done with.
        writer: A chat model, or a function of a `FinishedRun`, that writes lessons.
        spent: Says what an answer cost; without it tokens are what the answer says.
        most_waiting: Finished runs that may wait for the thread.

    Example:
        >>> from langchain_core.runnables import RunnableLambda
        >>> from llmops_langchain import LLMOps
        >>> with LLMOps("sqlite://") as ops:
        ...     chain = RunnableLambda(lambda question: "42")
        ...     answer = chain.invoke("What is 6 x 7?", {"callbacks": [ops.recorder()]})
        ...     ops.flush()
        ...     ops.learning.similar("What is 6 x 7?")[0].experience.success
        True
    """

    run_inline = True

    def __init__(
        self,
        learning: Learning,
        *,
        judge: Judge | None = None,
        task: Callable[[Any], str] | None = None,
        tech_stack: Sequence[str] = (),
        writer: BaseChatModel | Writer | None = None,
        spent: Callable[[LLMResult], Spent] | None = None,
        most_waiting: int = 1_000,
    ) -> None:
        self.dropped = 0
        """Finished runs that were not learnt: too many, or something failed."""
        self._learning, self._judge, self._task = learning, judge, task or asked_in
        self._stack, self._most = tuple(tech_stack), most_waiting
        self._writer = lessons_by(writer) if isinstance(writer, BaseChatModel) else writer
        self._spent = spent or _spent
        self._told: set[str] = set()
        learning.recorders.add(self)
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave runs, queue and thread to the parent."""
        self._runs: OrderedDict[UUID, RunningRun] = OrderedDict()
        self._of: dict[UUID, RunningRun] = {}
        self._changing = threading.RLock()
        self._waiting: _Waiting = queue.Queue(self._most)
        self._thread: threading.Thread | None = None

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what has ended is learnt; whether it is, within so many seconds."""
        if threading.current_thread() is self._thread:
            return False  # a judge that flushes would wait for itself
        waiting = self._waiting
        with waiting.all_tasks_done:
            return waiting.all_tasks_done.wait_for(lambda: not waiting.unfinished_tasks, timeout)

    @override
    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        run = self._begin(run_id, parent_run_id, inputs, metadata)
        name = (metadata or {}).get("langgraph_node")
        if run is not None and name and kwargs.get("name") == name and name not in _INNER:
            run.step(str(name))

    @override
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._begin(run_id, parent_run_id, messages[0] if messages else "", metadata)

    @override
    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._begin(run_id, parent_run_id, prompts[0] if prompts else "", metadata)

    @override
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if parent_run_id is None:
            return  # a tool by itself is no task
        run = self._begin(run_id, parent_run_id, "", metadata)
        name = (serialized or {}).get("name") or kwargs.get("name")
        if run is not None and name:
            run.tools[str(name)] = None
            run.step(str(name))

    @override
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        if (run := self._of.get(run_id)) is not None:
            spent = self._spent(response)
            with self._changing:
                run.calls += 1
                run.input_tokens += spent.input_tokens
                run.output_tokens += spent.output_tokens
                run.dollars += spent.dollars or 0.0
                run.priced = run.priced and spent.dollars is not None
                run.model = spent.model or run.model
        self._end(run_id, output=response)

    @override
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error=error)

    @override
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if getattr(output, "status", None) == "error":
            self._failed_tool(run_id)
        self._end(run_id)

    @override
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if not _is_a(error, "GraphBubbleUp"):
            self._failed_tool(run_id)
        self._end(run_id, error=error)

    @override
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, output=outputs)

    @override
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error=error)

    def _begin(
        self, run_id: UUID, parent: UUID | None, given: Any, metadata: dict[str, Any] | None
    ) -> RunningRun | None:
        with self._changing:
            if parent is not None:
                run = self._of.get(parent)
                if run is not None and len(run.inner) < _MOST_INNER:
                    run.inner.add(run_id)
                    self._of[run_id] = run
                return run
            return None if _judging.get() else self._begin_root(run_id, given, metadata or {})

    def _begin_root(self, run_id: UUID, given: Any, metadata: dict[str, Any]) -> RunningRun | None:
        try:
            task = self._task(given)
        except Exception as error:  # noqa: BLE001 - a user's function must not stop the app
            self._drop("a task could not be told", error)
            return None
        run = RunningRun(run_id, task, scope_of(metadata), time.perf_counter())
        self._runs[run_id] = self._of[run_id] = run
        while len(self._runs) > _MOST_RUNS:
            self._let_go(next(iter(self._runs.values())))
        return run

    def _failed_tool(self, run_id: UUID) -> None:
        if (run := self._of.get(run_id)) is not None:
            run.tool_errors += 1

    def _end(self, run_id: UUID, *, output: Any = None, error: BaseException | None = None) -> None:
        with self._changing:
            run = self._of.pop(run_id, None)
            if run is None:
                return
            if run.root != run_id:
                run.inner.discard(run_id)
                run.paused = run.paused or _is_a(error, "GraphInterrupt")
                return
            self._let_go(run)
        if run.paused or _is_a(error, "GraphBubbleUp") or _was_cancelled(error):
            return
        if not run.task and isinstance(output, Mapping):
            # A graph that goes on after a pause is given an answer; its state has the task.
            run.task = asked_in(output)
        if run.task:
            self._learn_later(run.finished(_answer(output), error))

    def _let_go(self, run: RunningRun) -> None:
        self._runs.pop(run.root, None)
        for each in (run.root, *run.inner):
            self._of.pop(each, None)

    def _learn_later(self, run: FinishedRun) -> None:
        try:
            self._waiting.put_nowait((self, run))
        except queue.Full as error:
            self._drop("too many runs wait to be learnt", error)
            return
        if self._thread is None:
            with self._changing:
                if self._thread is None:
                    self._thread = _started(self, self._waiting)

    def learn_now(self, run: FinishedRun) -> None:
        """Judge a run and learn from it; what goes wrong is logged once and counted."""
        judging = _judging.set(True)
        try:
            told = experience_of(run, self._judge, self._writer)
            if told is not None:
                self._learning.learn(**{"tech_stack": self._stack} | told)
        except Exception as error:  # noqa: BLE001 - a judge's or a driver's: the app goes on
            self._drop("a run was not learnt", error)
        finally:
            _judging.reset(judging)

    def _drop(self, what: str, error: Exception) -> None:
        self.dropped += 1
        if what not in self._told:
            self._told.add(what)
            # Its class alone: the text of an error may quote what was asked.
            logger.warning("%s: %s", what, type(error).__name__)


_Waiting = queue.Queue[tuple[ExperienceRecorder, FinishedRun] | None]
"""A run that waits keeps its recorder: an app may hold it no longer than its own call."""


def _started(recorder: ExperienceRecorder, waiting: _Waiting) -> threading.Thread:
    """A thread that learns what waits, for as long as the recorder is there."""
    weakref.finalize(recorder, _wake, waiting).atexit = False
    thread = threading.Thread(target=_learn, args=(waiting,), name="llmops-recorder", daemon=True)
    thread.start()
    _working.add(recorder)
    return thread


_working: weakref.WeakSet[ExperienceRecorder] = weakref.WeakSet()


@atexit.register
def _flush_recorders() -> None:
    for recorder in list(_working):
        recorder.flush(_PATIENCE)


def _wake(waiting: _Waiting) -> None:
    with suppress(queue.Full):
        waiting.put_nowait(None)


def _learn(waiting: _Waiting) -> None:
    while (waits := waiting.get()) is not None:
        recorder, run = waits
        try:
            recorder.learn_now(run)
        finally:
            del waits, recorder, run
            waiting.task_done()


def _answer(output: Any) -> Any:
    """What a model said, of the result that core makes of it."""
    if isinstance(output, LLMResult):
        first = output.generations[0] if output.generations else []
        return getattr(first[0], "message", first[0].text) if first else None
    return output


def _spent(response: LLMResult) -> Spent:
    """What an answer itself tells of its tokens."""
    message = getattr(_first(response), "message", None)
    usage = getattr(message, "usage_metadata", None) or {}
    told = getattr(message, "response_metadata", None) or {}
    return Spent(
        usage.get("input_tokens", 0),
        usage.get("output_tokens", 0),
        None,
        told.get("model_name") or told.get("model"),
    )


def _first(response: LLMResult) -> Any:
    return response.generations[0][0] if response.generations and response.generations[0] else None


def _is_a(error: BaseException | None, name: str) -> bool:
    """Whether LangGraph raised it to pause (`GraphInterrupt`), or to hand over to another graph."""
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _was_cancelled(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, Exception)
