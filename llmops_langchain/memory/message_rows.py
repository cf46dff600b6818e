"""Messages as rows: written in one order for all who write, read from the end of a chat."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from llmops_langchain.errors import StorageError
from llmops_langchain.storage.packing import Packer, read_back, written
from llmops_langchain.storage.schema import chats, messages
from llmops_langchain.storage.types import new_id, storable_text
from llmops_langchain.tokens import TokenCounter

__all__ = [
    "ChatKey",
    "Row",
    "add",
    "chat_id",
    "delete_chat",
    "page_after",
    "page_before",
    "replace",
]

_IDS_AT_ONCE = 500

_KINDS: dict[str, type[BaseMessage]] = {
    "ai": AIMessage,
    "human": HumanMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
}


class ChatKey(NamedTuple):
    """Which conversation."""

    workspace: str
    """`""`: of nobody in particular."""
    session: str


class Row(NamedTuple):
    """A stored message."""

    seq: int
    """Its place; later ones have higher numbers, and some numbers are left out."""
    ts: float
    tokens: int
    message: BaseMessage


_COLUMNS = (
    messages.c.seq,
    messages.c.message_id,
    messages.c.ts,
    messages.c.tokens,
    messages.c.body,
)
_BEFORE = (
    select(*_COLUMNS)
    .where(messages.c.chat_id == bindparam("chat_id"), messages.c.seq < bindparam("seq"))
    .order_by(messages.c.seq.desc())
    .limit(bindparam("most"))
)
_AFTER = (
    select(*_COLUMNS)
    .where(messages.c.chat_id == bindparam("chat_id"), messages.c.seq > bindparam("seq"))
    .order_by(messages.c.seq)
    .limit(bindparam("most"))
)
_CHAT = select(chats.c.id).where(
    chats.c.workspace == bindparam("workspace"), chats.c.session == bindparam("session")
)
_COUNTED = (
    update(chats)
    .where(chats.c.id == bindparam("chat_id"))
    .values(
        messages=chats.c.messages + bindparam("more_messages"),
        tokens=chats.c.tokens + bindparam("more_tokens"),
        last_seq=bindparam("seq"),
    )
)


def chat_id(connection: Connection, key: ChatKey) -> UUID | None:
    """The chat's id, if there is such a chat."""
    return connection.execute(_CHAT, key._asdict()).scalar_one_or_none()


def add(
    connection: Connection,
    key: ChatKey,
    said: Sequence[BaseMessage],
    *,
    user: str | None,
    now: float,
    packer: Packer,
    counter: TokenCounter,
) -> int:
    """Put messages behind those of a chat, which begins if there is none; how many were new.

    Whoever adds to the chat meanwhile waits for the end of the transaction: the messages of one
    call stand together. A message whose id the chat has already is passed over.
    """
    chat, last = _locked(connection, key, user=user, now=now)
    new = _not_there(connection, chat, said)
    rows: list[dict[str, Any]] = [
        {
            "chat_id": chat,
            "seq": last + at,
            "message_id": named,
            "ts": now,
            "tokens": counter.message(message),
            "body": packer.pack(_bound_to(chat, named), _body(message, named)),
        }
        for at, (named, message) in enumerate(new.items(), start=1)
    ]
    if rows:
        connection.execute(insert(messages), rows)
        more = {"more_messages": len(rows), "more_tokens": sum(each["tokens"] for each in rows)}
        connection.execute(_COUNTED, {"chat_id": chat, "seq": last + len(rows), **more})
    return len(rows)


def replace(
    connection: Connection,
    key: ChatKey,
    message: BaseMessage,
    *,
    now: float,
    packer: Packer,
    counter: TokenCounter,
) -> bool:
    """Put a message in the place of the one that has its id; `False` if there is none."""
    named = storable_text(message.id)
    if chat_id(connection, key) is None:
        return False
    chat, last = _locked(connection, key, user=None, now=now)
    is_it = (messages.c.chat_id == chat) & (messages.c.message_id == named)
    before = connection.execute(select(messages.c.tokens).where(is_it)).scalar_one_or_none()
    if before is None:
        return False
    tokens = counter.message(message)
    body = packer.pack(_bound_to(chat, named), _body(message, named))
    connection.execute(update(messages).where(is_it).values(tokens=tokens, body=body))
    more = {"more_messages": 0, "more_tokens": tokens - before}
    connection.execute(_COUNTED, {"chat_id": chat, "seq": last, **more})
    return True


def delete_chat(connection: Connection, key: ChatKey) -> int:
    """Delete a chat with all its messages; how many messages those were."""
    chat = chat_id(connection, key)
    if chat is None:
        return 0
    gone = connection.execute(delete(messages).where(messages.c.chat_id == chat)).rowcount
    connection.execute(delete(chats).where(chats.c.id == chat))
    return gone


def page_before(
    connection: Connection, chat: UUID, seq: int, *, most: int, tokens: int, packer: Packer
) -> tuple[list[Row], bool]:
    """The last rows before a place, oldest first, and whether there are no others before them.

    Args:
        connection: To the database.
        chat: Its id.
        seq: The place.
        most: Rows that are looked at.
        tokens: As soon as so many are there, no more rows are unpacked.
        packer: Unpacks them.
    """
    found = connection.execute(_BEFORE, {"chat_id": chat, "seq": seq, "most": most}).all()
    wanted: list[Any] = []
    for row in found:
        if tokens <= 0:
            break
        wanted.append(row)
        tokens -= row.tokens
    return _rows(chat, wanted[::-1], packer), len(wanted) == len(found) < most


def page_after(
    connection: Connection, chat: UUID, seq: int, *, most: int, packer: Packer
) -> list[Row]:
    """The first rows after a place."""
    asked = {"chat_id": chat, "seq": seq, "most": most}
    return _rows(chat, connection.execute(_AFTER, asked).all(), packer)


def _locked(
    connection: Connection, key: ChatKey, *, user: str | None, now: float
) -> tuple[UUID, int]:
    """The chat's id and its last place, with its row locked for this transaction."""
    into = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    asked = into(chats).values(
        id=new_id(), **key._asdict(), user=user, created_at=now, changed_at=now
    )
    found = asked.on_conflict_do_update(
        index_elements=["workspace", "session"],
        set_={
            "changed_at": asked.excluded.changed_at,
            "user": func.coalesce(chats.c.user, asked.excluded.user),
        },
    ).returning(chats.c.id, chats.c.last_seq)
    row = connection.execute(found).one()
    return row.id, row.last_seq


def _not_there(
    connection: Connection, chat: UUID, said: Sequence[BaseMessage]
) -> dict[str, BaseMessage]:
    """The messages that the chat does not have, by their ids; one without an id gets one."""
    once: dict[str, BaseMessage] = {}
    for message in said:
        once.setdefault(storable_text(message.id or new_id()), message)
    wanted = list(once)
    for at in range(0, len(wanted), _IDS_AT_ONCE):
        asked = select(messages.c.message_id).where(
            messages.c.chat_id == chat,
            messages.c.message_id.in_(wanted[at : at + _IDS_AT_ONCE]),
        )
        for there in connection.execute(asked).scalars():
            del once[there]
    return once


def _body(message: BaseMessage, named: str) -> bytes:
    plain = message_to_dict(message_chunk_to_message(message))
    plain["data"]["id"] = named
    return written(plain)


def _rows(chat: UUID, found: Sequence[Any], packer: Packer) -> list[Row]:
    try:
        bodies = [packer.unpack(_bound_to(chat, each.message_id), each.body) for each in found]
        said = [_message(read_back(body)) for body in bodies]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"a message of {chat} is damaged, or encrypted with a key that is not known"
        raise StorageError(msg) from error
    return [
        Row(each.seq, each.ts, each.tokens, message)
        for each, message in zip(found, said, strict=True)
    ]


def _message(plain: dict[str, Any]) -> BaseMessage:
    kind = _KINDS.get(plain["type"])
    if kind is None:
        return messages_from_dict([plain])[0]
    # It was checked before it was written: to check it again would be most of what a load costs.
    return kind.model_construct(**plain["data"])


def _bound_to(chat: UUID, named: str) -> bytes:
    """What a row is packed under, so that one that was moved is noticed: 64 bytes at most."""
    return chat.bytes + hashlib.blake2b(named.encode(), digest_size=32).digest()
