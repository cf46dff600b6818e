"""What was derived from the rows, compared with them and made anew."""

from collections.abc import Callable
from dataclasses import dataclass

from llmops_langchain.clock import Clock
from llmops_langchain.learning.embedder import Embedder
from llmops_langchain.learning.indexing import Indexer
from llmops_langchain.learning.rows import ExperienceRows
from llmops_langchain.storage.leases import lease

__all__ = ["Progress", "Rebuilt", "Upkeep"]

Progress = Callable[[int, int], object]
"""Is told how many are done, and of how many."""

_BATCH = 256
"""Tasks that are embedded between two writes."""

_LEASE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild found and did."""

    embedded: int = 0
    """Tasks that had no vector of the embedder, and have one now; with `verify` those that lack."""
    indexed: int = 0
    """Rows that the index took anew."""
    missing: int = 0
    """Rows that the index lacked."""
    surplus: int = 0
    """Vectors in the index of rows that are gone."""
    unreadable: int = 0
    """Rows that were passed over: damaged, or of a key that is not known."""

    @property
    def right(self) -> bool:
        """Whether everything was as the rows say."""
        return not (self.embedded or self.missing or self.surplus or self.unreadable)


class Upkeep:
    """Embeds what has no vector, and keeps the index right.

    Args:
        rows: The truth.
        embedder: Whose vectors rows should have.
        indexer: Has the index.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self, rows: ExperienceRows, embedder: Embedder, indexer: Indexer, *, clock: Clock
    ) -> None:
        self._rows, self._embedder, self._indexer = rows, embedder, indexer
        self._clock = clock
        self._checked = 0  # rows up to this change have a vector

    def embed_some(self) -> int:
        """Embed a batch of what has no vector, unless another process is at it; how many.

        Raises:
            StorageError: If the database cannot do it.
        """
        name, change = self._embedder.name, self._rows.counted().change
        if change == self._checked:
            return 0
        if not self._rows.not_embedded(name, 1, self._checked):
            self._checked = change
            return 0
        with lease(self._rows.database, "learning-embed", _LEASE, self._clock) as held:
            return 0 if held is None else self._embedded(name)

    def rebuild(self, *, verify: bool = False, progress: Progress | None = None) -> Rebuilt:
        """Embed everything that has no vector of the embedder, and make the index anew.

        Args:
            verify: Only compare, and change nothing.
            progress: Is told of each batch that was embedded.

        Raises:
            StorageError: If the database cannot do it.
        """
        name = self._embedder.name
        lacking = self._rows.number_not_embedded(name)
        missing, surplus = self._indexer.differing() or (0, 0)
        if verify:
            for workspace in self._rows.workspaces():
                for _ in self._rows.all(workspace):
                    pass  # reading counts what cannot be read
            return Rebuilt(
                embedded=lacking,
                missing=missing,
                surplus=surplus,
                unreadable=self._rows.unreadable,
            )
        done = 0
        while done < lacking and (made := self._embedded(name)):
            done += made
            if progress is not None:
                progress(min(done, lacking), lacking)
        return Rebuilt(
            embedded=done,
            indexed=self._indexer.rebuild(),
            missing=missing,
            surplus=surplus,
            unreadable=self._rows.unreadable,
        )

    def _embedded(self, name: str) -> int:
        waiting = [each.experience for each in self._rows.not_embedded(name, _BATCH)]
        vectors = self._embedder.vectors([each.task_description for each in waiting])
        if not vectors:
            return 0
        made = zip((each.id for each in waiting), vectors, strict=True)
        self._rows.embed(list(made), name)
        return len(waiting)
