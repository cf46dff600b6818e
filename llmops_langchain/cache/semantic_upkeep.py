"""Questions and evidence in a database, looked after whether or not this process compares any."""

from collections.abc import Collection

from llmops_langchain.cache.changes import Changes
from llmops_langchain.cache.evidence_rows import EvidenceRows
from llmops_langchain.cache.index_statements import ORPHANS, STALE, drop
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.sweeping import BATCH, sweep

__all__ = ["SemanticUpkeep"]


class SemanticUpkeep:
    """Lets rows of the semantic tier go; processes that hold copies notice within a second.

    Args:
        database: Where the rows are.
        space: Of the answers they are about.
        with_answers: The answers are in the same database, so it can tell which are gone.
    """

    def __init__(
        self, database: Database, *, space: str = "answers", with_answers: bool = False
    ) -> None:
        self._database, self._space, self._with_answers = database, space, with_answers
        self._changes = Changes(database, f"semantic:{space}")
        self._evidence = EvidenceRows(database, space)

    def maintain(self, now: float) -> Done:
        """Drop questions whose answers are stale or gone, and evidence that is old."""
        gone = sweep(self._database, STALE, now=now)
        if self._with_answers:
            gone += self._drop_orphans(now)
        return {"questions": gone, "feedback": self._evidence.prune(now=now)}

    def forget(self, whom: Subject, keys: Collection[bytes], *, now: float) -> int:
        """Drop the questions that were answered under these keys, and the evidence on them.

        Args:
            whom: What this user said of answers goes too.
            keys: Of the user's, or the conversation's, answers.
            now: Seconds since the Unix epoch.

        Returns:
            How many rows that were.
        """
        return self._drop(keys, now) + self._evidence.forget(whom, keys)

    def _drop_orphans(self, now: float) -> int:
        dropped, found = 0, BATCH
        while found >= BATCH:
            keys = {key for _, key in self._database.read(ORPHANS, space=self._space)}
            found = self._drop(keys, now)
            dropped += found
        return dropped

    def _drop(self, keys: Collection[bytes], now: float) -> int:
        """Empty the rows of these keys, whatever their scope, and whoever embedded them."""
        is_sqlite, dropped, every = self._database.is_sqlite, 0, list(keys)
        given = {"of_space": self._space, "now": now, **self._changes.values}
        for at in range(0, len(every), BATCH):
            gone = given | {"gone": every[at : at + BATCH]}
            with self._database.begin() as connection:
                for statement, values in self._changes.before:
                    connection.execute(statement, values)
                statement = drop(is_sqlite=is_sqlite, everywhere=True)
                dropped += connection.execute(statement, gone).rowcount
        return dropped
