"""The tasks' vectors in Chroma: candidates where there are more runs than memory should hold."""

import logging
import shutil
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import UUID

from llmops_langchain.errors import ConfigurationError, MissingExtraError
from llmops_langchain.learning.row_form import Stored, Vector
from llmops_langchain.learning.rows import Counted

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection as ChromaCollection

__all__ = ["ChromaIndex", "Place"]

logger = logging.getLogger(__name__)

_PREFIX = "llmops-experiences"
_OURS = "experiences"
"""The folder of the index inside the place: whatever else lies there is never deleted."""

_BATCH = 1_000
"""Vectors that are sent at a time; Chroma takes 5,461."""


class Place(NamedTuple):
    """Where Chroma keeps the vectors: a folder that one process opens, or a server."""

    folder: Path | None = None
    url: str | None = None


class ChromaIndex:
    """One collection of Chroma: ids and vectors, by workspace; no text.

    Two processes must not open one folder: Chroma would damage it. Databases may share a place:
    each has collections of its own.

    Args:
        place: Where it is.
        database: A number that no other database has.
        embedder: Whose vectors; those of each embedder have a collection of their own.

    Raises:
        MissingExtraError: If Chroma is not installed.
        ConfigurationError: If the address of a server is none.
        Exception: Whatever Chroma raises if it cannot open it.
    """

    def __init__(self, place: Place, database: int, embedder: str) -> None:
        self._place, self._client = place, _client(place)
        self._prefix = f"{_PREFIX}-{database:x}-"
        digest = blake2b(embedder.encode("utf-8", "replace"), digest_size=8).hexdigest()
        self.name = f"{self._prefix}{digest}"
        self._collection = self._opened()

    @property
    def reached(self) -> Counted:
        """Up to which change of the rows it holds them."""
        told = self._collection.metadata or {}
        return Counted(int(told.get("change", 0)), int(told.get("forgotten", -1)))

    def reach(self, counted: Counted) -> None:
        """Note how far it has come."""
        self._collection.modify(metadata=counted._asdict())

    def put(self, stored: Sequence[Stored]) -> None:
        """Add the vectors of rows, or replace them."""
        having = [(each.experience, each.vector) for each in stored if each.vector is not None]
        for start in range(0, len(having), _BATCH):
            some = having[start : start + _BATCH]
            # `add` would pass over an id that is there.
            self._collection.upsert(
                ids=[str(run.id) for run, _ in some],
                embeddings=[vector.tolist() for _, vector in some],
                metadatas=[{"workspace": _tenant(run.workspace)} for run, _ in some],
            )

    def candidates(self, workspace: str | None, vector: Vector, k: int) -> list[UUID]:
        """The runs of a workspace whose tasks are nearest, the nearest first."""
        found = self._collection.query(
            query_embeddings=[vector.tolist()],
            n_results=k,
            where={"workspace": _tenant(workspace)},
            include=[],
        )
        return [UUID(each) for each in found["ids"][0]]

    def ids(self) -> Iterator[UUID]:
        """Of every run that it holds."""
        for start in range(0, self._collection.count(), _BATCH):
            page = self._collection.get(include=[], limit=_BATCH, offset=start)
            yield from map(UUID, page["ids"])

    def drop(self, ids: Collection[UUID]) -> None:
        """Take runs out."""
        gone = [str(each) for each in ids]
        for start in range(0, len(gone), _BATCH):
            self._collection.delete(ids=gone[start : start + _BATCH])

    def clear(self) -> None:
        """Begin anew with nothing."""
        self._client.delete_collection(self.name)
        self._collection = self._opened()

    def close(self) -> None:
        """Let go of the folder or the connection."""
        admin = getattr(self._client, "_admin_client", None)
        servers = [getattr(each, "_server", None) for each in (self._client, admin)]
        self._client.close()  # type: ignore[attr-defined]  # of all of its clients
        for session in (getattr(each, "_session", None) for each in servers):
            if session is not None:  # clients of a server leave their connections open
                session.close()

    def _opened(self) -> "ChromaCollection":
        opened = self._client.get_or_create_collection(
            self.name, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        if self._place.folder is not None:
            for other in self._client.list_collections():
                if other.name.startswith(self._prefix) and other.name != self.name:
                    self._client.delete_collection(other.name)  # of an embedder before this one
        return opened


def _client(place: Place) -> "ClientAPI":
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as error:
        package = "chromadb"
        raise MissingExtraError(package, extra="learning") from error
    quiet = Settings(anonymized_telemetry=False)
    if place.folder is None:
        return chromadb.HttpClient(settings=quiet, **_address(place.url or ""))
    folder = place.folder / _OURS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return chromadb.PersistentClient(folder, settings=quiet)
    except Exception as error:  # noqa: BLE001 - a damaged file, in whatever words
        # The rows are the truth: what cannot be read is made anew from them.
        logger.warning("the index of experiences is made anew: %s", type(error).__name__)
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        chromadb.api.shared_system_client.SharedSystemClient.clear_system_cache()
        return chromadb.PersistentClient(folder, settings=quiet)


def _address(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = "`chroma_url` must be such as `http://localhost:8000`"
        raise ConfigurationError(msg)
    is_https = parts.scheme == "https"
    secret = unquote(parts.password or parts.username or "")
    return {
        "host": parts.hostname,
        "port": parts.port or (443 if is_https else 8000),
        "ssl": is_https,
        "headers": {"Authorization": f"Bearer {secret}"} if secret else {},
    }


def _tenant(workspace: str | None) -> str:
    """A name for each tenant, also for those that nobody named a workspace for."""
    return "-" if workspace is None else f"={workspace}"
