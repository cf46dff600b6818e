"""An experience as a row and back; what is text is packed, and encrypted if there are keys."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import RowMapping

from llmops_langchain.learning.checking import checked, task_key
from llmops_langchain.learning.experience import Experience
from llmops_langchain.storage.packing import Packer, read_back, written
from llmops_langchain.storage.schema import experiences

__all__ = ["RowForm", "Stored", "Vector"]

Vector = NDArray[np.float32]

_COLUMNS = (
    *("id", "ts", "workspace", "project", "user", "thread", "model", "agent"),
    *("success", "failure"),
)
_FIELD_OF = {"project": "project_id"}
_IN_BODY = (
    *("task_description", "tech_stack", "metrics", "lessons", "patterns", "tools", "steps"),
    "run_id",
)


class Stored(NamedTuple):
    """A row."""

    experience: Experience
    vector: Vector | None
    """The task as a unit vector, of whatever embedder `embedder` names."""
    embedder: str | None
    change: int


class RowForm:
    """Writes and reads rows.

    Args:
        encryption_keys: Fernet keys: the first encrypts, all decrypt.

    Raises:
        ConfigurationError: If a key is no Fernet key.
    """

    def __init__(self, encryption_keys: Sequence[str] = ()) -> None:
        self._packer = Packer(encryption_keys)
        self.unreadable = 0
        """Rows that were passed over: damaged, or of a key that is not known."""

    def readable(self, rows: Iterable[RowMapping]) -> Iterator[Stored]:
        """What stands in rows; those that cannot be read are counted and left out."""
        for row in rows:
            try:
                yield self._stored(row)
            except ValueError:
                self.unreadable += 1

    def row(
        self, experience: Experience, vector: Vector | None, embedder: str | None
    ) -> dict[str, Any]:
        """The columns of an experience, but for its `change`."""
        row = {name: getattr(experience, _FIELD_OF.get(name, name)) for name in _COLUMNS}
        said = experience.to_dict()
        body = written({name: said[name] for name in _IN_BODY})
        return row | {
            "task_key": task_key(experience.task_description),
            "body": self._packer.pack(experience.id.bytes, body),
            "embedder": embedder,
            "vector": None if vector is None else self.packed(experience.id, vector),
        }

    def _stored(self, row: RowMapping) -> Stored:
        said = read_back(self._packer.unpack(row["id"].bytes, row["body"]))
        # A mapping of a row has the names of the columns in SQL.
        named = {_FIELD_OF.get(name, name): row[experiences.c[name].name] for name in _COLUMNS}
        vector = row["vector"]
        return Stored(
            checked({**said, **named}),
            None if vector is None else self._unpacked(row["id"], vector),
            row["embedder"],
            row["change"],
        )

    def packed(self, key: UUID, vector: Vector) -> bytes:
        """A vector, bound to its row."""
        # Half precision moves a cosine by less than a thousandth, and is half as large.
        return self._packer.pack(key.bytes, vector.astype(np.float16).tobytes())

    def _unpacked(self, key: UUID, packed: bytes) -> Vector:
        body = self._packer.unpack(key.bytes, packed)
        return np.frombuffer(body, np.float16).astype(np.float32)
