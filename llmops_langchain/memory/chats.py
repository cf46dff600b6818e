"""Conversations in the database: added to by many, read from the end, exported and deleted."""

import builtins
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, select

from llmops_langchain.clock import Clock, system_clock
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.ledger import current_scope
from llmops_langchain.memory.message_rows import (
    ChatKey,
    add,
    chat_id,
    delete_chat,
    page_after,
    page_before,
    replace,
)
from llmops_langchain.memory.validity import leading_systems
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Done, Subject
from llmops_langchain.storage.packing import Packer
from llmops_langchain.storage.schema import chats
from llmops_langchain.storage.sweeping import free
from llmops_langchain.storage.types import storable_text
from llmops_langchain.tokens import counter_for

__all__ = ["Chat", "Chats", "Tail"]

_COUNTED_LIKE = "gpt-4o"
"""Whose tokens stand in the rows: a guide to how many rows to read, whoever answers."""

_FIRST_PAGE, _PAGE = 128, 500
"""Rows that are read at a time: of the end of a chat, and of a whole one."""

_END = 2**62

_LONGEST_NAME = 300
"""PostgreSQL takes 2,704 bytes in a row of an index."""


class Chat(NamedTuple):
    """A conversation, as `Chats.list` tells of it."""

    session: str
    workspace: str | None
    user: str | None
    messages: int
    tokens: int
    """About how many, by OpenAI's vocabulary."""
    created_at: float
    """UTC seconds since the Unix epoch."""
    changed_at: float
    """When it was last added to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of a conversation, and the system messages it opens with."""

    messages: list[BaseMessage]
    whole: bool
    """Nothing of the conversation is missing."""


class Chats:
    """All conversations of a database. Threads, processes and machines may share them.

    A conversation is named by its workspace and its session; two workspaces never see each other's.
    Messages stand in one order for everyone, and those of one `add` stand together.

    Args:
        database: Where they are kept.
        encryption_keys: Fernet keys: the first encrypts, all decrypt.
        retention: Seconds a conversation is kept after its last message; `None` keeps it.
        clock: Returns seconds since the Unix epoch.

    Raises:
        ConfigurationError: If a key is no Fernet key.
        MissingExtraError: If there are keys and `cryptography` is not installed.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> with Database("sqlite://") as database:
        ...     chats = Chats(database)
        ...     chats.add("s1", [HumanMessage("Hello!"), AIMessage("Hi.")], user="mira")
        ...     print([chat.session for chat in chats.list(user="mira")])
        2
        ['s1']
    """

    def __init__(
        self,
        database: Database,
        *,
        encryption_keys: Sequence[str] = (),
        retention: float | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._database, self._packer = database, Packer(encryption_keys)
        self._retention, self._clock = retention, clock
        self._counter = counter_for(_COUNTED_LIKE)

    def add(
        self,
        session: str,
        messages: Sequence[BaseMessage],
        *,
        workspace: str | None = None,
        user: str | None = None,
    ) -> int:
        """Add messages to the end of a conversation, which begins if there is none.

        A message whose `id` the conversation has already is passed over: telling the same again
        changes nothing. `replace` changes a message.

        Args:
            session: Its name.
            messages: All of them or, on an error, none.
            workspace: Whose; by default the one that `track` names.
            user: Who talks, for `list`, `export` and `delete`; by default as `track` says.

        Returns:
            How many were new.

        Raises:
            ConfigurationError: If the session has no name.
            StorageError: If the database cannot take them.
        """
        key = self._key(session, workspace)
        if not messages:
            return 0
        with self._database.begin() as connection:
            return add(
                connection,
                key,
                messages,
                user=_name(user or current_scope().user),
                now=self._clock(),
                packer=self._packer,
                counter=self._counter,
            )

    def replace(self, session: str, message: BaseMessage, *, workspace: str | None = None) -> bool:
        """Put a message in the place of the one with its `id`; `False` if there is none.

        Raises:
            ConfigurationError: If the message has no `id`.
            StorageError: If the database cannot do it.
        """
        if message.id is None:
            msg = "a message is replaced by its `id`, and this one has none"
            raise ConfigurationError(msg)
        with self._database.begin() as connection:
            return replace(
                connection,
                self._key(session, workspace),
                message,
                now=self._clock(),
                packer=self._packer,
                counter=self._counter,
            )

    def tail(self, session: str, *, tokens: int, workspace: str | None = None) -> Tail:
        """The newest messages of about so many tokens, with the system messages before them.

        What it costs depends on how much is read, not on how long the conversation is.

        Raises:
            StorageError: If the database cannot say, or a row is damaged or under another key.
        """
        with self._database.begin(read_only=True) as connection:
            chat = chat_id(connection, self._key(session, workspace))
            if chat is None:
                return Tail(messages=[], whole=True)
            found, before, most, whole = list[BaseMessage](), _END, _FIRST_PAGE, False
            tokens = max(1, tokens)  # the newest of all in any case
            while tokens > 0 and not whole:
                rows, whole = page_before(
                    connection, chat, before, most=most, tokens=tokens, packer=self._packer
                )
                found = [*(row.message for row in rows), *found]
                tokens -= sum(row.tokens for row in rows)
                before, most = rows[0].seq if rows else 0, min(2 * most, _PAGE)
            if whole:
                return Tail(messages=found, whole=True)
            systems = self._systems(connection, chat, before)
        return Tail(messages=[*systems, *found], whole=len(systems) == before - 1)

    def _systems(
        self, connection: Connection, chat: UUID, before: int
    ) -> builtins.list[BaseMessage]:
        """The system messages that a conversation opens with; most have one."""
        most = 2
        while True:
            rows = page_after(connection, chat, 0, most=most, packer=self._packer)
            head = [row.message for row in rows if row.seq < before]
            systems = head[: leading_systems(head)]
            if len(systems) < most:
                return systems
            most *= 2

    def read(self, session: str, *, workspace: str | None = None) -> Iterator[BaseMessage]:
        """Every message of a conversation, a page at a time.

        Raises:
            StorageError: If the database cannot say, or a row is damaged or under another key.
        """
        key, after = self._key(session, workspace), 0
        while True:
            with self._database.begin(read_only=True) as connection:
                chat = chat_id(connection, key)
                if chat is None:
                    return
                rows = page_after(connection, chat, after, most=_PAGE, packer=self._packer)
            yield from (row.message for row in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1].seq

    def list(self, *, user: str | None = None, workspace: str | None = None) -> builtins.list[Chat]:
        """The conversations of a workspace, or of one user in it, newest first.

        Args:
            user: Whose; by default everybody's.
            workspace: By default the one that `track` names.

        Raises:
            StorageError: If the database cannot say.
        """
        wanted = chats.c.workspace == self._key("-", workspace).workspace
        if user is not None:
            wanted = and_(wanted, chats.c.user == _name(user))
        asked = select(chats).where(wanted).order_by(chats.c.changed_at.desc(), chats.c.id.desc())
        with self._database.begin(read_only=True) as connection:
            return [_told(row) for row in connection.execute(asked).mappings()]

    def export(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        workspace: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """One mapping of plain values a message, for JSON; `import_` takes them again.

        Args:
            session: One conversation; by default all.
            user: Those of one user.
            workspace: By default the one that `track` names.

        Raises:
            StorageError: If the database cannot say, or a row is damaged or under another key.
        """
        for chat in self.list(user=user, workspace=workspace):
            if session in (None, chat.session):
                about = {"session": chat.session, "user": chat.user}
                for message in self.read(chat.session, workspace=workspace):
                    yield {**about, **message_to_dict(message)}

    def import_(self, lines: Iterator[Mapping[str, Any]], *, workspace: str | None = None) -> int:
        """Add what `export` told; messages that are there already stay as they are.

        Returns:
            How many were new.

        Raises:
            ConfigurationError: If a line is no message.
            StorageError: If the database cannot take them; what was taken before stays.
        """
        added = 0
        for number, line in enumerate(lines, start=1):
            try:
                [message] = messages_from_dict([{"type": line["type"], "data": line["data"]}])
                session, user = line["session"], line["user"]
            except (KeyError, TypeError, ValueError) as error:
                msg = f"line {number} is no message of an export: {type(error).__name__}"
                raise ConfigurationError(msg) from error
            added += self.add(session, [message], workspace=workspace, user=user)
        return added

    def delete(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        workspace: str | None = None,
    ) -> int:
        """Delete one conversation, or all of a user's; how many messages those were.

        Raises:
            ConfigurationError: If not exactly one of `session` and `user` is named.
            StorageError: If the database cannot do it; what was deleted before stays so.
        """
        if (session is None) == (user is None):
            msg = "name either a `session` or a `user` whose conversations to delete"
            raise ConfigurationError(msg)
        if session is not None:
            with self._database.begin() as connection:
                return delete_chat(connection, self._key(session, workspace))
        return sum(
            self.delete(session=chat.session, workspace=workspace)
            for chat in self.list(user=user, workspace=workspace)
        )

    def maintain(self, now: float) -> Done:
        """Delete the conversations that nobody added to for as long as they are kept."""
        if self._retention is None:
            return {"expired": 0}
        return {"expired": self._drop(chats.c.changed_at <= now - self._retention)}

    def forget(self, whom: Subject) -> int:
        """Delete a user's conversations, or one; how many messages those were."""
        named = {"user": whom.user, "session": whom.thread, "workspace": whom.workspace}
        return self._drop(*(chats.c[at] == to for at, to in named.items() if to is not None))

    def _drop(self, *conditions: ColumnElement[bool]) -> int:
        """Delete chats one by one, so that others get their turn to write; how many messages."""
        gone = 0
        while True:
            with self._database.begin() as connection:
                asked = free(chats.c.id, *conditions).add_columns(chats.c.messages).limit(1)
                row = connection.execute(asked).first()
                if row is None:
                    return gone
                connection.execute(delete(chats).where(chats.c.id == row.id))
                gone += row.messages

    def _key(self, session: str, workspace: str | None) -> ChatKey:
        named = storable_text(session)
        if not 0 < len(named) <= _LONGEST_NAME:
            msg = f"a conversation needs a name of 1 to {_LONGEST_NAME} characters, got {session!r}"
            raise ConfigurationError(msg)
        return ChatKey(_name(workspace or current_scope().workspace) or "", named)


def _told(found: RowMapping) -> Chat:
    return Chat(
        session=found[chats.c.session],
        workspace=found[chats.c.workspace] or None,
        user=found[chats.c.user],
        messages=found[chats.c.messages],
        tokens=found[chats.c.tokens],
        created_at=found[chats.c.created_at],
        changed_at=found[chats.c.changed_at],
    )


def _name(given: object) -> str | None:
    return None if given is None else storable_text(given)
