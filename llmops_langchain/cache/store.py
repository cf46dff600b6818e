"""What a place for answers must do; everything above it is the same for all of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Entry", "Store"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One kept answer."""

    value: bytes
    """The answer as bytes; a store neither reads nor changes them."""
    created_at: float
    """When the answer was given (epoch seconds)."""
    expires_at: float | None = None
    """When it goes stale; `None` keeps it until it is cleared."""
    tags: frozenset[str] = frozenset()
    """What it may be invalidated by. `get` leaves them out: a hit has no use for them."""
    fingerprint: bytes = b""
    """Short digests of the call's parts, side by side, to tell which part of a call is new."""

    def is_fresh(self, now: float) -> bool:
        """Whether it may still be served."""
        return self.expires_at is None or now < self.expires_at


class Store(Protocol):
    """A place for entries that threads and processes share; each method is one transaction.

    A store counts its invalidations: the count is its *generation*. Whoever holds copies compares
    it to know when to drop them, and an answer to a call that began before an invalidation is not
    kept after it.

    Every method raises `StorageError` when the place cannot do what was asked.
    """

    def get(self, key: bytes) -> Entry | None:
        """The entry under `key`, fresh or stale, without its tags."""

    def put(
        self, key: bytes, entry: Entry, *, seen: int | None = None, owner: str | None = None
    ) -> bool:
        """Keep `entry` under `key` in place of what was there, and end `owner`'s claim on it.

        Args:
            key: 32 bytes that name the call.
            entry: What to keep; `created_at` is taken for now.
            seen: The generation when the call began. If everything was cleared, or one of the
                entry's tags invalidated, since then, nothing is kept.
            owner: Whose claim on `key` ends in the same transaction.

        Returns:
            Whether it was kept.
        """

    def tag(self, key: bytes, tags: Collection[str]) -> None:
        """Add tags to the entry under `key`, if there is one."""

    def clear(self) -> int:
        """Drop every entry; the generation after it."""

    def invalidate(self, tags: Collection[str], *, now: float) -> int:
        """Drop the entries that have one of `tags`; the generation after it."""

    def tagged(self, tags: Collection[str]) -> Collection[bytes]:
        """The keys of the entries, fresh or stale, that have one of `tags`."""

    def purge(self, *, now: float) -> int:
        """Delete what has gone stale; how many entries that were."""

    def generation(self) -> int:
        """How often entries were invalidated or cleared, by anybody."""

    def claim(self, key: bytes, owner: str, *, now: float, until: float) -> bool:
        """Whether `owner` alone may ask for the answer now: the claim is free, stale or its own."""

    def renew(self, owner: str, *, until: float) -> None:
        """Let all claims of `owner` last until then."""

    def release(self, key: bytes, owner: str) -> None:
        """End the claim of `owner` on `key`, if it still has it."""

    def touch(self, keys: Collection[bytes], *, now: float) -> None:
        """Note that these entries were used, so that others are let go first."""

    def newest(self, limit: int) -> Sequence[Entry]:
        """The entries used or kept last, newest first, without their values and tags."""
