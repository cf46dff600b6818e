"""Where a cache keeps its answers: memory in front, a store behind, and no failure of either told.

Every process that holds copies in memory compares the store's generation twice a second, so an
invalidation by one is seen by all within a second, and the hit path asks nobody.
"""

import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from llmops_langchain.cache.breaker import Breaker
from llmops_langchain.cache.recent import RecentAnswers
from llmops_langchain.cache.store import Entry, Store
from llmops_langchain.clock import Clock
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.packing import Packer
from llmops_langchain.storage.types import new_id

__all__ = ["Shelf"]

T = TypeVar("T")

_INTERVAL = 0.5
"""Seconds between two looks at the generation."""

_LOOKS_BETWEEN_TOUCHES = 120
"""The store is told once a minute which entries were served from memory."""

_CLAIM = 5.0
"""Seconds a claim lasts unless it is renewed: as long do others wait for a process that died."""


class Shelf:
    """Entries by key. A failure is counted, logged once a minute, and answers with nothing.

    Args:
        store: Where entries outlive the process.
        packer: How their values are written there.
        max_items: Entries kept in memory in front of it; 0 for none.
        clock: Returns seconds since the Unix epoch.
        on_error: Called for each failure.
        on_unreadable: Called for each value that is damaged, or of another encryption key.
        threads: Calls of asyncio that may wait for the store at a time.
    """

    def __init__(
        self,
        store: Store,
        packer: Packer,
        *,
        max_items: int,
        clock: Clock,
        on_error: Callable[[], None],
        on_unreadable: Callable[[], None],
        threads: int = 4,
    ) -> None:
        self._store, self._packer, self._max_items = store, packer, max_items
        self._clock, self._on_error, self._on_unreadable = clock, on_error, on_unreadable
        self._breaker, self._threads = Breaker(clock), threads
        self.on_look: Callable[[], None] = lambda: None
        """Called at each look around."""
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Start anew: the parent's threads do not run here, and its claims are its own."""
        self._recent = RecentAnswers(self._max_items)
        self._owner = str(new_id())
        self._claims: set[bytes] = set()
        self._left: set[bytes] = set()
        self._used: set[bytes] = set()
        self._looks = 0
        self._starting = threading.Lock()
        self._generation: int | None = None
        self._watch: threading.Event | None = None
        self.workers: Executor = ThreadPoolExecutor(self._threads, "llmops-cache")
        """Threads for asyncio: the loop's own may all be waiting for a call that is being made."""

    @property
    def generation(self) -> int | None:
        """The generation seen last; `None` while nothing has been asked of the store."""
        return self._generation

    def recent(self, key: bytes) -> Entry | None:
        """The fresh entry in memory."""
        entry = self._recent.get(key, self._clock())
        if entry is not None:
            self._used.add(key)
        return entry

    def load(self, key: bytes, *, again: bool = False) -> Entry | None:
        """The fresh entry, from the store; from then on in memory too.

        Args:
            key: What names the call.
            again: It was not there a moment ago: what cannot be read has been counted.
        """
        self._start_watching()
        return self._safely(lambda: self._load(key, again=again))

    def save(self, key: bytes, entry: Entry, *, seen: int | None) -> bool:
        """Keep `entry` in memory and in the store, and end this process's claim on `key`.

        Args:
            key: What names the call.
            entry: What to keep.
            seen: The generation when the call began: nothing that was invalidated since is kept.

        Returns:
            Whether it was kept at all.
        """
        self._start_watching()
        recent = self._recent
        if seen is None or seen == self._generation:
            recent.put(key, entry)
        kept = self._safely(lambda: self._save(key, entry, seen))
        return kept is not False or self._dropped(recent, key)

    def tag(self, key: bytes, entry: Entry, tags: frozenset[str]) -> None:
        """Add tags to an entry that is served to a call which names more than it has."""
        self._safely(lambda: self._store.tag(key, tags))
        self._recent.exchange(key, entry, replace(entry, tags=entry.tags | tags))

    def claim(self, key: bytes) -> bool:
        """Whether this process may make the call; without a store there is nobody to ask."""
        now = self._clock()
        won = self._safely(lambda: self._store.claim(key, self._owner, now=now, until=now + _CLAIM))
        if won:
            self._claims.add(key)
            self._left.discard(key)
        return won is not False

    def release(self, key: bytes) -> None:
        """Give up the claim on `key`, if this process has it."""
        if key in self._claims:
            self._claims.discard(key)
            self._safely(lambda: self._store.release(key, self._owner))

    def release_soon(self, key: bytes) -> None:
        """`release` at the next look around: the call failed, or its answer is not kept.

        It waits for nothing and takes no lock: the collector may call it anywhere.
        """
        if key in self._claims:
            self._left.add(key)

    def clear(self) -> None:
        """Drop every entry.

        Raises:
            StorageError: If the store cannot do it; memory is empty all the same.
        """
        try:
            self._generation = self._store.clear()
        finally:
            self._recent = RecentAnswers(self._max_items)

    def invalidate(self, tags: Collection[str]) -> None:
        """Drop the entries that have one of the tags.

        Raises:
            StorageError: If the store cannot do it; memory is empty all the same.
        """
        try:
            self._generation = self._store.invalidate(tags, now=self._clock())
        finally:
            self._recent = RecentAnswers(self._max_items)

    def tagged(self, tags: Collection[str]) -> Collection[bytes]:
        """The keys of the entries that have one of the tags.

        Raises:
            StorageError: If the store cannot say.
        """
        return self._store.tagged(tags)

    def purge(self, *, now: float) -> int:
        """Delete what has gone stale from the store; how many entries that were.

        Raises:
            StorageError: If the store cannot do it.
        """
        return self._store.purge(now=now)

    @property
    def is_away(self) -> bool:
        """Whether the store failed a moment ago and is left alone."""
        return self._breaker.is_open

    def peek(self, key: bytes) -> Entry | None:
        """The entry, fresh or stale, as far as this process can see.

        Raises:
            ValueError: If it is there and cannot be read.
        """
        found = self._recent.get(key, self._clock())
        if found is None and (found := self._safely(lambda: self._store.get(key))) is not None:
            self._packer.unpack(key, found.value)
        return found

    def newest(self, limit: int) -> Sequence[Entry]:
        """The entries used last; those in memory if the store cannot say."""
        found = self._safely(lambda: self._store.newest(limit))
        return self._recent.newest(limit) if found is None else found

    def look_around(self) -> None:
        """See what other processes did, and tell them that this one is still there."""
        with suppress(Exception):  # the next call that needs the store will say so
            self._compare(self._store.generation())
            while self._left:
                self.release(self._left.pop())
            if self._claims:
                self._store.renew(self._owner, until=self._clock() + _CLAIM)
            self._looks += 1
            if self._used and self._looks % _LOOKS_BETWEEN_TOUCHES == 0:
                used, self._used = self._used, set()
                self._store.touch(frozenset(used), now=self._clock())
        with suppress(Exception):
            self.on_look()

    def close(self) -> None:
        """Stop looking around; calls go on, without threads of ours."""
        if self._watch is not None:
            self._watch.set()
        self.workers.shutdown(wait=False)

    def _load(self, key: bytes, *, again: bool) -> Entry | None:
        recent = self._recent
        packed = self._store.get(key)
        if packed is None or not packed.is_fresh(self._clock()):
            return None
        try:
            value = self._packer.unpack(key, packed.value)
        except ValueError as error:
            if not again:
                self._on_unreadable()
                self._breaker.warn(error)
            return None
        entry = Entry(  # `replace` would take a microsecond more
            value=value,
            created_at=packed.created_at,
            expires_at=packed.expires_at,
            fingerprint=packed.fingerprint,
        )
        # Not into the memory of after a `clear`: the row was read before it.
        recent.put(key, entry)
        return entry

    def _save(self, key: bytes, entry: Entry, seen: int | None) -> bool:
        packed = replace(entry, value=self._packer.pack(key, entry.value))
        owner = self._owner if key in self._claims else None
        kept = self._store.put(key, packed, seen=seen, owner=owner)
        self._claims.discard(key)
        return kept

    def _dropped(self, recent: RecentAnswers, key: bytes) -> bool:
        """What the store found to be invalidated leaves memory too."""
        recent.drop(key)
        return False

    def _compare(self, generation: int) -> None:
        if self._generation != generation:
            self._recent = RecentAnswers(self._max_items)
        self._generation = generation

    def _safely(self, ask: Callable[[], T]) -> T | None:
        if self._breaker.is_open:
            return None
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 - a broken store or row must not break the user's call
            self._on_error()
            self._breaker.failed(error)
            return None

    def _start_watching(self) -> None:
        if self._watch is not None:
            return
        with self._starting:
            if self._generation is None:
                self._safely(lambda: self._compare(self._store.generation()))
            self._watch = self._watch or self._safely(lambda: _looking_around(self))


def _looking_around(shelf: Shelf) -> threading.Event:
    """Call `look_around` twice a second until the shelf is gone, or what is returned is set."""
    over, there = threading.Event(), weakref.ref(shelf)
    weakref.finalize(shelf, over.set).atexit = False

    def look() -> None:
        while not over.wait(_INTERVAL):
            if (shelf := there()) is not None:
                shelf.look_around()
            del shelf

    threading.Thread(target=look, name="llmops-cache-watch", daemon=True).start()
    return over
