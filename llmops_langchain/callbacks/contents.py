"""Prompts and answers of model calls, where the app wants them kept: packed, and encrypted."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.messages import (
    BaseMessage,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from langchain_core.outputs import ChatGeneration, LLMResult
from sqlalchemy import Insert, bindparam, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import StorageError
from llmops_langchain.ledger import Event
from llmops_langchain.ledger.event import storable
from llmops_langchain.storage import Database
from llmops_langchain.storage.fork import on_fork
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.packing import Packer, read_back, written
from llmops_langchain.storage.schema import contents
from llmops_langchain.storage.sweeping import sweep, swept

__all__ = ["Content", "Contents"]

logger = logging.getLogger(__name__)

_MOST, _MOST_CHARACTERS = 2_000, 64 * 2**20
"""What waits in memory at most: calls, and the characters in them."""

_FOUND = select(contents.c.ts, contents.c.body).where(
    contents.c.event_id == bindparam("event_id"),
    or_(contents.c.expires_at.is_(None), contents.c.expires_at > bindparam("now")),
)
_EXPIRED = swept(contents.c.event_id, contents.c.expires_at <= bindparam("now"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What was said in one call of a model."""

    event_id: UUID
    """Of its event."""
    ts: float
    """When it ended, UTC seconds since the Unix epoch."""
    prompt: tuple[BaseMessage, ...] | str
    """What the model was asked: messages, or the text for a text model."""
    answers: tuple[BaseMessage | str, ...]
    """What it said, one for each choice; none where the call failed before it said anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Captured:
    event: Event
    prompt: Sequence[BaseMessage] | str
    result: LLMResult | None
    size: int


class _Ready(NamedTuple):
    """What is written down; the row is `None` where that was not possible."""

    event: Event
    row: dict[str, Any] | None
    size: int


class Contents:
    """Keeps what was said, with the event of its call.

    `capture` costs the caller a few microseconds: text waits in memory until the ledger's next
    flush, which packs, encrypts and stores it. It is never written to a journal, so what a killed
    process had not flushed yet (a second's calls) is lost, though their events are not. It never
    raises, and any number of threads may use it.

    Args:
        database: Where it is kept.
        encryption_keys: Fernet keys: the first encrypts, all decrypt.
        retention: Seconds that it is kept.
        at_once: Store in `capture` itself, as `durability="commit"` does.
        clock: Returns seconds since the Unix epoch.

    Raises:
        ConfigurationError: If a key is no Fernet key.
        MissingExtraError: If there are keys and `cryptography` is not installed.
    """

    def __init__(
        self,
        database: Database,
        *,
        encryption_keys: Sequence[str] = (),
        retention: float = 30 * 86_400.0,
        at_once: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        self._database, self._packer = database, Packer(encryption_keys)
        self._retention, self._at_once, self._clock = retention, at_once, clock
        self._keep = _insert(is_sqlite=database.is_sqlite)
        self.dropped = 0
        """Calls whose text was not kept: too much waited, or it could not be written down."""
        self.after_fork()
        on_fork(self)

    def after_fork(self) -> None:
        """Leave to the parent what waits there."""
        # Re-entrant: the collector that ends a stream may capture in the middle of a capture.
        self._lock, self._flushing = threading.RLock(), threading.RLock()
        self._waiting: list[_Captured] = []
        self._ready: list[_Ready] = []  # for a database that was away
        self._characters = 0

    def capture(
        self, event: Event, prompt: Sequence[BaseMessage] | str, result: LLMResult | None
    ) -> None:
        """Keep what was said in a call.

        Args:
            event: The call's; its id, time and scope are taken.
            prompt: What the model was asked.
            result: What it answered; `None` if it failed.
        """
        try:
            self._add(event, prompt, result)
            if self._at_once:
                self.flush()
        except StorageError as error:
            logger.warning("text of a call waits for the database: %s", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever it is, the user's call did not fail
            self._drop(error)

    def flush(self) -> None:
        """Store what waits.

        Raises:
            StorageError: If the database cannot take it; it waits for the next flush.
        """
        with self._flushing:
            with self._lock:
                taken, self._waiting = self._waiting, []
            self._ready += [_Ready(each.event, self._row(each), each.size) for each in taken]
            rows = [each.row for each in self._ready if each.row is not None]
            if rows:
                self._store(rows)
            done, self._ready = self._ready, []
            with self._lock:
                self._characters -= sum(each.size for each in done)

    def read(self, event_id: UUID) -> Content | None:
        """What was said in the call of this event; `None` if it is not kept, or not yet.

        Raises:
            StorageError: If the row is damaged or encrypted with a key that is not known, or the
                database cannot say.
        """
        with self._database.begin(read_only=True) as connection:
            asked = {"event_id": event_id, "now": self._clock()}
            row = connection.execute(_FOUND, asked).first()
        if row is None:
            return None
        try:
            said = read_back(self._packer.unpack(event_id.bytes, row.body))
            return Content(
                event_id=event_id,
                ts=row.ts,
                prompt=_prompt(said["prompt"]),
                answers=tuple(map(_answer, said["answers"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"the text of {event_id} is damaged, or encrypted with a key that is not known"
            raise StorageError(msg) from error

    def maintain(self, now: float) -> Done:
        """Delete what was kept for long enough."""
        return {"expired": sweep(self._database, _EXPIRED, now=now)}

    def forget(self, whom: Subject) -> int:
        """Delete what was said in the calls of a user, or in a conversation; how many calls."""
        with self._flushing:
            with self._lock:
                before = len(self._waiting) + len(self._ready)
                self._waiting = [each for each in self._waiting if not _is_of(whom, each.event)]
                self._ready = [each for each in self._ready if not _is_of(whom, each.event)]
                self._characters = sum(each.size for each in self._waiting)
                self._characters += sum(each.size for each in self._ready)
                dropped = before - len(self._waiting) - len(self._ready)
            return dropped + sweep(
                self._database, swept(contents.c.event_id, *whom.rows_of(contents))
            )

    def _add(
        self, event: Event, prompt: Sequence[BaseMessage] | str, result: LLMResult | None
    ) -> None:
        size = _size(prompt)
        with self._lock:
            waiting = len(self._waiting) + len(self._ready)
            if waiting >= _MOST or self._characters + size > _MOST_CHARACTERS:
                msg = "too much waits for the database, and memory is bounded"
                raise OverflowError(msg)
            kept = prompt if isinstance(prompt, str) else tuple(prompt)
            self._waiting.append(_Captured(event=event, prompt=kept, result=result, size=size))
            self._characters += size

    def _store(self, rows: list[dict[str, Any]]) -> None:
        try:
            with self._database.begin() as connection:
                connection.execute(self._keep, rows)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - tried again it would hold up all that follows
            for _ in rows:
                self._drop(error)

    def _row(self, captured: _Captured) -> dict[str, Any] | None:
        try:
            event = storable(captured.event)
            said = {"prompt": _as_plain(captured.prompt), "answers": _told(captured.result)}
            return {
                "event_id": event.id,
                "ts": event.ts,
                "workspace": event.workspace,
                "user": event.user,
                "thread": event.thread,
                "body": self._packer.pack(event.id.bytes, written(said)),
                "expires_at": event.ts + self._retention,
            }
        except Exception as error:  # noqa: BLE001 - an odd message must not hold up the others
            self._drop(error)
            return None

    def _drop(self, error: Exception) -> None:
        self.dropped += 1
        # Its class alone: the text of an error may quote what was said.
        logger.error("text was dropped (%d so far): %s", self.dropped, type(error).__name__)


def _insert(*, is_sqlite: bool) -> Insert:
    into: Callable[[Any], sqlite.Insert] | Callable[[Any], postgresql.Insert]
    into = sqlite.insert if is_sqlite else postgresql.insert
    return into(contents).on_conflict_do_nothing(index_elements=["event_id"])


def _is_of(whom: Subject, event: Event) -> bool:
    named = ((whom.user, event.user), (whom.thread, event.thread))
    is_named = all(wanted in (None, found) for wanted, found in named)
    return is_named and whom.workspace in (None, event.workspace)


def _size(said: object) -> int:
    """About how many characters there are in a prompt; those of its answer are few beside it."""
    if isinstance(said, str | bytes):
        return len(said)
    if isinstance(said, BaseMessage):
        return _size(said.content)
    if isinstance(said, Mapping):
        return sum(map(_size, said.values()))
    return sum(map(_size, said)) if isinstance(said, Sequence) else 0


def _as_plain(prompt: Sequence[BaseMessage] | str) -> str | list[dict[str, Any]]:
    return prompt if isinstance(prompt, str) else [message_to_dict(each) for each in prompt]


def _told(result: LLMResult | None) -> list[str | dict[str, Any]]:
    """The choices of a call, each as a message or as text; chunks of streams as whole messages."""
    choices = result.generations[0] if result is not None and result.generations else []
    return [
        message_to_dict(message_chunk_to_message(each.message))
        if isinstance(each, ChatGeneration)
        else each.text
        for each in choices
    ]


def _prompt(plain: str | list[dict[str, Any]]) -> tuple[BaseMessage, ...] | str:
    return plain if isinstance(plain, str) else tuple(messages_from_dict(plain))


def _answer(plain: str | dict[str, Any]) -> BaseMessage | str:
    return plain if isinstance(plain, str) else messages_from_dict([plain])[0]
