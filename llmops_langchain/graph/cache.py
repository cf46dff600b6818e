"""LangGraph's node cache on our stores: what a node returned is found again, by its workspace."""

import inspect
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import Any, TypeVar

import ormsgpack
from langchain_core.messages import AIMessage
from langchain_core.runnables.config import run_in_executor
from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Send
from pydantic import BaseModel
from typing_extensions import override

from llmops_langchain.cache.breaker import Breaker
from llmops_langchain.cache.forgetting import Traces
from llmops_langchain.cache.options import checked_ttl
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.stats import CacheStats, Tally
from llmops_langchain.cache.store import Entry, Store
from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.ledger import Scope, current_scope
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.packing import Packer
from llmops_langchain.storage.types import new_id
from llmops_langchain.wrapping import digest

__all__ = ["SqlNodeCache"]

T = TypeVar("T")

_MAX_RUNNING = 10_000
"""Lookups in vain that are remembered; those of nodes that failed are never asked for again."""

_ASKING = ("match_cached_writes", "amatch_cached_writes")
"""Methods of a LangGraph loop that look nodes up."""

_FRAMES = 8
"""How far up the stack such a method is looked for; LangGraph's own calls are three frames away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A node that was looked up in vain and runs now."""

    name: bytes
    """Under what its result is kept."""
    seen: int | None
    """The store's generation when it began; `None` if the store could not say."""
    traces: frozenset[str]
    """By which the result is found when its user, or its conversation, is forgotten."""


class SqlNodeCache(BaseCache[Any]):
    """What nodes with a `CachePolicy` returned, for all threads, processes and hosts of a store.

    Results belong to the workspace of `track(...)`, else to that of the run's `config["metadata"]`:
    two workspaces never share one. A failing store or a damaged row is a miss, is counted in
    `stats()`, and never breaks a graph. A result that would come back as something else is not
    kept (only tuples come back as lists, as from LangGraph's own caches). AI messages of a hit have
    fresh ids, or `add_messages` would put the answer in the place of the earlier one: leave nodes
    without a `CachePolicy` that edit an AI message by its id.

    LangGraph knows a node by its function's module and name: give graphs that share a database
    but not their results a `SqlStore(database, space=...)` each.

    Args:
        store: Where results are kept; of a `Database`, the space `"nodes"`.
        ttl: Seconds until a result expires whose `CachePolicy` does not say; `None` keeps it.
        encryption_keys: Fernet keys: the first encrypts, all decrypt.
        disabled: Find and keep nothing.
        clock: Returns seconds since the Unix epoch.
        serde: How a result becomes bytes; LangGraph's MessagePack by default, without pickle. It
            logs each class it does not know once: to allow only yours and log none, give
            `JsonPlusSerializer(allowed_msgpack_modules=[...])`.

    Raises:
        ConfigurationError: If `ttl` is not positive, or a key is no Fernet key.

    Example:
        >>> from langgraph.graph import START, StateGraph
        >>> from langgraph.types import CachePolicy
        >>> def double(state: dict) -> dict:
        ...     print("thinking")
        ...     return {"answer": state["question"] * 2}
        >>> graph = StateGraph(dict).add_node(double, cache_policy=CachePolicy(ttl=60))
        >>> graph = graph.add_edge(START, "double").compile(
        ...     cache=SqlNodeCache(Database("sqlite://"))
        ... )
        >>> [graph.invoke({"question": 21})["answer"] for _ in range(2)]
        thinking
        [42, 42]
    """

    def __init__(
        self,
        store: Store | Database,
        *,
        ttl: float | None = None,
        encryption_keys: Sequence[str] = (),
        disabled: bool = False,
        clock: Clock = system_clock,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde or _WholeSerializer(pickle_fallback=False))
        self._store = SqlStore(store, space="nodes") if isinstance(store, Database) else store
        self._ttl, self._disabled, self._clock = checked_ttl(ttl), disabled, clock
        self._packer, self._breaker = Packer(encryption_keys), Breaker(clock)
        self._traces = Traces(encryption_keys)
        self._has_tenants = False
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew: another thread of the parent may have held a lock."""
        self._running, self._tally = _Running(), Tally()
        self._used: set[bytes] = set()

    @override
    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """The fresh results among `keys`; what is missing is left out."""
        return self._find(keys, _scope())

    @override
    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """`get` in a worker thread."""
        return await run_in_executor(None, self._find, keys, _scope())

    @override
    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Keep results for their seconds, or for the cache's own where these are `None`."""
        for key, (value, ttl) in {} if self._disabled else pairs.items():
            self._keep(key, value, self._ttl if ttl is None else ttl)

    @override
    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """`set` in a worker thread."""
        await run_in_executor(None, self.set, pairs)

    @override
    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget the results of these namespaces, or all; those of every workspace.

        What a node began to work out before is not kept after it.

        Raises:
            StorageError: If the store cannot do it.
        """
        if self._disabled:
            return
        if namespaces is None:
            self._store.clear()
        elif namespaces:
            self._store.invalidate({_tag(each) for each in namespaces}, now=self._clock())

    @override
    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """`clear` in a worker thread."""
        await run_in_executor(None, self.clear, namespaces)

    def maintain(self, now: float) -> Done:
        """Delete the results that have gone stale; `StorageError` if the store cannot do it."""
        return {} if self._disabled else {"expired": self._store.purge(now=now)}

    def forget(self, whom: Subject) -> int:
        """Delete the results of nodes that ran for a user or in a conversation; how many.

        Of the same name in other workspaces results may go too.

        Raises:
            StorageError: If the store cannot do it.
        """
        if self._disabled:
            return 0
        tags = self._traces.to_forget(whom)
        found = self._store.tagged(tags)
        self._store.invalidate(tags, now=self._clock())
        return len(found)

    def stats(self) -> CacheStats:
        """What this cache did in this process."""
        return self._tally.stats()

    def _find(self, keys: Sequence[FullKey], scope: Scope) -> dict[FullKey, Any]:
        found: dict[FullKey, Any] = {}
        workspace = scope.workspace or ""
        missing: list[tuple[str, bytes]] = []
        for key in () if self._disabled else keys:
            name = _name(workspace, key)
            read = self._safely(partial(self._load, name))
            self._tally.add("misses" if read is None else "hits")
            if read is None:
                missing.append((key[1], name))
            else:
                found[key] = read[0]
        if missing:
            self._has_tenants |= bool(workspace)
            seen, traces = self._safely(self._store.generation), self._traces.of(scope)
            for text, name in missing:
                self._running.begin(text, _Run(name=name, seen=seen, traces=traces))
        return found

    def _load(self, name: bytes) -> tuple[Any] | None:
        entry = self._store.get(name)
        if entry is None or not entry.is_fresh(self._clock()):
            return None
        kind, _, data = self._packer.unpack(name, entry.value).partition(b"\0")
        value = self.serde.loads_typed((kind.decode(), data))
        _renew_ids(value, defaultdict(lambda: f"lc_run--{new_id()}"))
        self._used.add(name)
        return (value,)

    def _keep(self, key: FullKey, value: Any, ttl: float | None) -> None:
        run = self._running.end(key[1]) or self._unasked(key)
        body = self._written(value)
        kept = False
        if run is not None and run.seen is not None and body is not None:
            tags = run.traces | {_tag(key[0])}
            kept = bool(self._safely(partial(self._put, run, body, tags, ttl)))
        self._tally.add("stored" if kept else "refused")

    def _put(self, run: _Run, body: bytes, tags: frozenset[str], ttl: float | None) -> bool:
        now = self._clock()
        entry = Entry(
            value=self._packer.pack(run.name, body),
            created_at=now,
            expires_at=None if ttl is None else now + ttl,
            tags=tags,
        )
        used, self._used = self._used, set()
        if used:  # now, since a bounded store lets go of others only to keep this one
            self._store.touch(used, now=now)
        return self._store.put(run.name, entry, seen=run.seen)

    def _unasked(self, key: FullKey) -> _Run | None:
        """For a result that was not looked up before; `None` if it may belong to a workspace.

        LangGraph looks every node up. Should that change, a thread without a scope must not give
        a tenant's result to those without one.
        """
        scope = _scope()
        if self._has_tenants and not scope.workspace:
            return None
        name, seen = _name(scope.workspace or "", key), self._safely(self._store.generation)
        return _Run(name=name, seen=seen, traces=self._traces.of(scope))

    def _written(self, value: Any) -> bytes | None:
        try:
            kind, data = self.serde.dumps_typed(value)
        except Exception:  # noqa: BLE001 - a serde raises what it likes, and the graph goes on
            return None
        return kind.encode() + b"\0" + data

    def _safely(self, ask: Callable[[], T]) -> T | None:
        if self._breaker.is_open:
            return None
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - a broken store or row must not break the graph
            self._tally.add("errors")
            self._breaker.failed(error)
            return None


class _Running:
    """Runs by the very text of their key.

    LangGraph hands a result over from a thread that knows neither scope nor config, but with the
    string object that it looked the node up with: equal texts of two tenants are two objects.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[int, tuple[str, _Run]] = OrderedDict()

    def begin(self, text: str, run: _Run) -> None:
        """Note a lookup in vain. The first counts: a node that runs may be looked up again."""
        with self._lock:
            self._runs.setdefault(id(text), (text, run))  # kept, so that its id stays its own
            if len(self._runs) > _MAX_RUNNING:
                self._runs.popitem(last=False)

    def end(self, text: str) -> _Run | None:
        """The run that this key was looked up for, if it was."""
        with self._lock:
            _, run = self._runs.pop(id(text), (text, None))
        return run


def _name(workspace: str, key: FullKey) -> bytes:
    namespace, text = key
    return _digest("node/1", workspace, *namespace, text)


def _tag(namespace: Namespace) -> str:
    return _digest(*namespace).hex()


def _digest(*parts: str) -> bytes:
    return digest(part.encode("utf-8", "surrogatepass") for part in parts)


def _scope() -> Scope:
    """Whose node it is, as far as the caller's context and the loop that asks can tell."""
    scope = current_scope()
    if None in (scope.workspace, scope.user, scope.thread):
        scope = scope.filled_from(_metadata())
    return scope


def _metadata() -> Mapping[str, Any]:
    """`config["metadata"]` of the graph that asks: LangGraph hands its cache no config."""
    frame = inspect.currentframe()
    for _ in range(_FRAMES):
        frame = frame and frame.f_back
        if frame and frame.f_code.co_name in _ASKING:
            config = getattr(frame.f_locals.get("self"), "config", None) or {}
            return config.get("metadata") or {}
    return {}


def _renew_ids(value: Any, ids: Mapping[str, str]) -> None:
    """Give the AI messages in `value` new ids, equal ones for equal ones."""
    if isinstance(value, AIMessage):
        value.id = ids[value.id] if value.id else None
    elif isinstance(value, Send):
        _renew_ids(value.arg, ids)
    elif isinstance(value, Mapping):
        for each in value.values():
            _renew_ids(each, ids)
    elif isinstance(value, list | tuple | deque):
        for each in value:
            _renew_ids(each, ids)


class _WholeSerializer(JsonPlusSerializer):
    """LangGraph's MessagePack, refusing what would come back as something else.

    LangGraph writes a pydantic object with all that is in it as one dictionary, by the fields'
    declared types: an `AIMessage` in a field for a `BaseMessage` comes back as a `BaseMessage`.
    Here each object is written on its own, in the same format.
    """

    @override
    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        packed = _packed(obj)
        if _packed(self.loads_typed(("msgpack", packed))) != packed:
            msg = f"{type(obj).__name__!r} would not come back as it is"
            raise TypeError(msg)
        return "msgpack", packed


# LangGraph's codes: how an object is made again from its module, its name and its parts.
_ONE_ARGUMENT, _POSITIONAL, _BY_KEYWORD, _PYDANTIC = 0, 1, 2, 5
_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
_plain = JsonPlusSerializer(pickle_fallback=False)


def _packed(value: Any) -> bytes:
    return ormsgpack.packb(value, default=_object, option=_OPTIONS)


def _object(value: Any) -> ormsgpack.Ext:
    """One object, whose parts are written in turn."""
    if isinstance(value, BaseModel):
        return _made_by(_PYDANTIC, value, dict(value))
    if isinstance(value, Send):
        timeout = getattr(value, "timeout", None)
        arguments = (value.node, value.arg, timeout)
        return _made_by(_POSITIONAL, value, arguments[: 2 if timeout is None else 3])
    if is_dataclass(value):
        return _made_by(_BY_KEYWORD, value, {f.name: getattr(value, f.name) for f in fields(value)})
    if isinstance(value, deque):
        return _made_by(_ONE_ARGUMENT, value, list(value))
    if isinstance(value, set | frozenset):  # in an order that two equal ones share
        return _made_by(_ONE_ARGUMENT, value, sorted(value, key=repr))
    ext = ormsgpack.unpackb(_plain.dumps_typed(value)[1], ext_hook=ormsgpack.Ext)
    if not isinstance(ext, ormsgpack.Ext):  # such as an exception's `repr`
        msg = f"{type(value).__name__!r} would not come back as it is"
        raise TypeError(msg)
    return ext


def _made_by(code: int, value: Any, parts: Any) -> ormsgpack.Ext:
    kind = type(value)
    return ormsgpack.Ext(code, _packed((kind.__module__, kind.__name__, parts)))
