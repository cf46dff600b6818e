"""What finished runs teach: `ops.learning`."""

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

from langchain_core.embeddings import Embeddings
from typing_extensions import override

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.embeddings import default_embeddings
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.learning.asking import tenant
from llmops_langchain.learning.checking import checked, derived_id
from llmops_langchain.learning.embedder import Embedder
from llmops_langchain.learning.experience import Experience
from llmops_langchain.learning.index import Place
from llmops_langchain.learning.indexing import Indexer
from llmops_langchain.learning.mirrors import Mirrors
from llmops_langchain.learning.patterns import Patterns
from llmops_langchain.learning.portable import File, Imported, read_lines, write_lines
from llmops_langchain.learning.rows import ExperienceRows
from llmops_langchain.learning.twins import Twins
from llmops_langchain.learning.upkeep import Progress, Rebuilt, Upkeep
from llmops_langchain.ledger import current_scope
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.ticking import ticking
from llmops_langchain.storage.types import new_id

__all__ = ["Learning"]

logger = logging.getLogger(__name__)

_BATCH = 500
"""Experiences that are written in one transaction."""

_PATIENCE = 10.0
"""Seconds that `close` waits for indexing that is under way."""


class Recording(Protocol):
    """Something that still has to learn what it saw."""

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until it has; whether it has, within so many seconds."""


class Learning(Twins):
    """Remembers finished runs, finds similar ones, and says what to expect of the next.

    What was learnt belongs to a workspace: the one that `track` names, or `workspace=`; without
    either it belongs to those that have none. Nobody sees another workspace's.

    An experience is committed when `learn` returns. Everything else is derived from the rows: a
    mirror in memory answers searches exactly, and where a workspace outgrows it (`most`), Chroma
    names the candidates. Safe to share between threads and processes; each method has an async
    twin (`alearn`, `asimilar`, …) that runs in a worker thread.

    Args:
        rows: Where experiences are; `None` keeps nothing and finds nothing.
        embeddings: Makes vectors of tasks, or makes what does; by default the best on this
            machine.
        place: Where Chroma keeps its index; `None` for no index.
        worth: Rows from which on the index is kept.
        most: Runs of a workspace in memory.
        patterns: Which kinds of work are recognised.
        interval: Seconds between two looks at what others wrote and what is to be indexed; `None`
            for no thread.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self,
        rows: ExperienceRows | None,
        embeddings: Embeddings | Callable[[], Embeddings] = default_embeddings,
        *,
        place: Place | None = None,
        worth: int = 1_000,
        most: int = 50_000,
        patterns: Patterns | None = None,
        interval: float | None = 2.0,
        clock: Clock = system_clock,
    ) -> None:
        self.redact: Callable[[str], str] | None = None
        """Makes texts fit to be kept: run on tasks, lessons and steps before they are stored or
        embedded. If it raises, nothing is stored."""
        self.patterns = Patterns.default() if patterns is None else patterns
        """Which kinds of work are recognised; `patterns.extended(…)` knows more."""
        self.recorders: weakref.WeakSet[Recording] = weakref.WeakSet()
        """Those that learn for it; `settle` waits for them."""
        self._rows, self._clock, self._interval = rows, clock, interval
        self._embedder = Embedder(embeddings)
        if rows is not None:
            self._indexer = Indexer(rows, self._embedder, place, worth=worth, clock=clock)
            self._mirrors = Mirrors(rows, self._embedder, self._indexer, clock=clock, most=most)
            self._upkeep = Upkeep(rows, self._embedder, self._indexer, clock=clock)
        self._closed = False
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave the thread to the parent."""
        self._beginning = threading.Lock()
        self._watch: threading.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def disabled(self) -> bool:
        """Whether nothing is kept."""
        return self._rows is None

    def learn(
        self,
        *,
        project_id: str,
        task_description: str,
        success: bool,
        tech_stack: Sequence[str] = (),
        metrics: Mapping[str, float] | None = None,
        lessons: Sequence[str] = (),
        patterns: Sequence[str] | None = None,
        model: str | None = None,
        agent: str | None = None,
        tools: Sequence[str] = (),
        steps: Sequence[str] = (),
        failure: str | None = None,
        workspace: str | None = None,
        user: str | None = None,
        thread: str | None = None,
        run_id: UUID | str | None = None,
        ts: float | None = None,
    ) -> Experience:
        """Remember a finished run; it is committed when this returns.

        Args:
            project_id: Whose run; what `suggest` is asked about.
            task_description: What was to be done.
            success: Whether it was.
            tech_stack: With what, such as `["react", "fastapi"]`.
            metrics: Figures: `completion_time` in seconds, `cost` in US dollars, `iterations`, ….
            lessons: What to do, or not to do, the next time.
            patterns: What kinds of work it holds; by default those that `patterns` finds.
            model: Which model did it.
            agent: Which agent; by default the one that `track` names, as are the next ones.
            tools: Which tools it used.
            steps: What it did, in order.
            failure: The category of what went wrong.
            workspace: Whose experience it is.
            user: For whom, so that `ops.forget(user=…)` finds it.
            thread: In which conversation.
            run_id: LangChain's; what is said of a run again takes the earlier word's place.
            ts: When it ended, UTC seconds since the Unix epoch; by default now.

        Returns:
            What is remembered.

        Raises:
            ConfigurationError: If a value makes no sense, or no text may be stored.
            StorageError: If the database cannot take it.
        """
        scope = current_scope()
        said = {
            "project_id": project_id,
            "task_description": task_description,
            "success": success,
            "tech_stack": tech_stack,
            "metrics": metrics or {},
            "lessons": lessons,
            "patterns": patterns,
            "model": model,
            "agent": agent or scope.agent or None,
            "tools": tools,
            "steps": steps,
            "failure": failure,
            "workspace": workspace or scope.workspace or None,
            "user": user or scope.user or None,
            "thread": thread or scope.thread or None,
            "run_id": run_id,
            "ts": ts,
        }
        experience = self._experience(said)
        self._keep([experience])
        return experience

    async def alearn(self, **said: Any) -> Experience:
        """`learn` in a worker thread."""
        return await asyncio.to_thread(self.learn, **said)

    def learn_many(self, runs: Iterable[Mapping[str, Any]]) -> int:
        """Remember many runs, a transaction a few hundred; how many.

        Args:
            runs: What `learn` is told of each, by name.

        Raises:
            ConfigurationError: If a value of a run makes no sense; those before it may be kept.
            StorageError: If the database cannot take them; those before may be kept.
        """
        scope, waiting, number = current_scope(), list[Experience](), 0
        names = ("workspace", "user", "agent", "thread")
        of_scope = {name: getattr(scope, name) or None for name in names}
        for said in runs:
            waiting.append(self._experience(of_scope | dict(said)))
            number += 1
            if len(waiting) >= _BATCH:
                self._keep(waiting)
                waiting = []
        self._keep(waiting)
        return number

    def forget(
        self,
        whom: Subject | None = None,
        *,
        project_id: str | None = None,
        ids: Sequence[UUID] = (),
        workspace: str | None = None,
    ) -> int:
        """Delete experiences: the rows, their vectors, and what is in memory.

        Args:
            whom: A person's or a conversation's, in every workspace or in the one it names;
                `ops.forget(user=…)` asks for that.
            project_id: Or all of a project.
            ids: Or these.
            workspace: Whose, of a project and of ids; by default the one that `track` names.

        Returns:
            How many there were.

        Raises:
            StorageError: If the database cannot do it; forget again when it is back.
        """
        if self._rows is None:
            return 0
        touched = 0
        if whom is not None:
            touched += self._rows.forget(whom)
        if project_id is not None or ids:
            whose = tenant(workspace)
            touched += self._rows.delete(whose, ids=list(ids), project=project_id)
        if touched:
            self._mirrors.clear()
            if self._indexer.is_open:
                self._indexer.try_sync()
        return touched

    async def aforget(self, whom: Subject | None = None, **what: Any) -> int:
        """`forget` in a worker thread."""
        return await asyncio.to_thread(self.forget, whom, **what)

    def export(self, to: File, *, workspace: str | None = None) -> int:
        """Write a workspace's experiences as lines of JSON; how many.

        Args:
            to: A path, or a file that is open for writing.
            workspace: Whose; by default the one that `track` names.

        Raises:
            StorageError: If the database cannot be read.
            OSError: If the file cannot be written.
        """
        whose = tenant(workspace)
        rows = () if self._rows is None else self._rows.all(whose)
        return write_lines(to, (row.experience for row in rows))

    def import_(self, source: File, *, workspace: str | None = None) -> Imported:
        """Learn from the lines of an export; a line that holds no experience is passed over.

        The same file again changes nothing.

        Args:
            source: A path, or a file that is open for reading.
            workspace: Whose they become; by default the one that `track` names.

        Raises:
            StorageError: If the database cannot take them; those before may be kept.
            OSError: If the file cannot be read.
        """
        whose, imported = tenant(workspace), Imported(reasons=[])
        waiting: list[Experience] = []
        for number, said in read_lines(source, imported):
            try:
                waiting.append(self._imported(said, whose))
            except ConfigurationError as error:
                imported.reject(number, str(error))
            if len(waiting) >= _BATCH:
                imported.learnt += self._keep(waiting)
                waiting = []
        imported.learnt += self._keep(waiting)
        return imported

    def rebuild(self, *, verify: bool = False, progress: Progress | None = None) -> Rebuilt:
        """Make vectors and index anew from the rows: after a change of the embedder, or a loss.

        Args:
            verify: Only compare them with the rows.
            progress: Is told how many tasks were embedded, and of how many.

        Raises:
            StorageError: If the database cannot do it.
        """
        if self._rows is None:
            return Rebuilt()
        rebuilt = self._upkeep.rebuild(verify=verify, progress=progress)
        self._mirrors.told()
        return rebuilt

    def maintain(self, now: float) -> Done:
        """Let go what is past its retention."""
        return {} if self._rows is None else self._rows.maintain(now)

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until what recorders saw is learnt; whether it is, within so many seconds each."""
        settled = [each.flush(timeout) for each in list(self.recorders)]
        return all(settled)

    def flush(self) -> None:
        """Embed and index what is waiting for it; what goes wrong is logged."""
        if self._rows is None or self._closed:
            return
        try:
            self._upkeep.embed_some()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the thread goes on
            logger.debug("nothing was embedded: %s", type(error).__name__)
        self._indexer.try_sync()

    def close(self) -> None:
        """End the thread and let go of the index; call it before the database is closed."""
        self.settle(_PATIENCE)
        self._closed = True
        if self._watch is not None:
            self._watch.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if self._rows is not None:
            self._indexer.close()

    def _experience(self, said: Mapping[str, Any]) -> Experience:
        told = {name: value for name, value in said.items() if value is not None}
        usual = {"id": new_id(), "ts": self._clock()}
        made = checked(usual | self._redacted(told))
        if made.run_id is not None and "id" not in told:
            made = replace(made, id=derived_id(made.workspace, made.run_id))
        if "patterns" in told:
            return made
        found = self.patterns.found_in(made.task_description)
        return replace(made, patterns=tuple(each.name for each in found))

    def _imported(self, said: dict[str, Any], workspace: str | None) -> Experience:
        """A line of an export, as an experience of this workspace."""
        original = checked(self._redacted(said))
        if original.workspace == workspace:
            return original
        return replace(original, workspace=workspace, id=derived_id(workspace, original.id))

    def _redacted(self, said: Mapping[str, Any]) -> dict[str, Any]:
        told = dict(said)
        if (redact := self.redact) is not None:
            if isinstance(told.get("task_description"), str):
                told["task_description"] = redact(told["task_description"])
            for name in ("lessons", "steps"):
                if name in told:
                    told[name] = [redact(each) for each in told[name]]
        return told

    def _keep(self, learnt: Sequence[Experience]) -> int:
        if self._rows is None or not learnt:
            return len(learnt)
        tasks = list(dict.fromkeys(each.task_description for each in learnt))
        made = self._embedder.vectors(tasks)
        embedder = None if made is None else self._embedder.name
        vectors = dict(zip(tasks, made or [], strict=False))
        self._rows.write(learnt, [vectors.get(each.task_description) for each in learnt], embedder)
        self._mirrors.told()
        self._begin()
        return len(learnt)

    @override
    def _begin(self) -> None:
        if self._watch is not None or self._interval is None or self._closed:
            return
        with self._beginning:
            if self._watch is None:
                self._watch, self._thread = ticking(self, self._interval, name="llmops-learning")
