"""API keys: for services that are no person, each with less than its maker may do."""

import hmac
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row

from llmops_langchain.errors import (
    AuthenticationError,
    ConflictError,
    NotFoundError,
    StorageError,
)
from llmops_langchain.storage.schema import api_keys
from llmops_langchain.storage.types import new_id
from llmops_langchain.workspaces.actors import Actor, actor_of
from llmops_langchain.workspaces.chain import Target
from llmops_langchain.workspaces.checking import duration, label, uuid_of
from llmops_langchain.workspaces.permissions import told
from llmops_langchain.workspaces.records import ApiKey, NewApiKey
from llmops_langchain.workspaces.statements import KEY_OF, Within
from llmops_langchain.workspaces.tenants import Change, Tenants
from llmops_langchain.workspaces.tokens import HINT, digest, is_whole, new_token

__all__ = ["Keys"]

_DAY = 86_400.0
_MINUTE = 60.0


class Keys:
    """The part of `Workspaces` that is about API keys."""

    _tenants: Tenants

    def create_key(
        self,
        workspace: str,
        *,
        name: str,
        scopes: Iterable[str],
        actor: Actor | str | None,
        project: str | None = None,
        expires_in: float | None = None,
    ) -> NewApiKey:
        """Make a key; needs `keys.create`, and everything that the key may do.

        It may do what its scopes say as long as the member who made it may do that too, and is
        revoked when that member leaves (`remove_member(keep_keys=True)` hands it over).

        Args:
            workspace: Where.
            name: What it is for.
            scopes: Permissions or patterns, such as `["analytics.track", "router.*"]`.
            actor: Who makes it.
            project: The only project that it is for.
            expires_in: Seconds until it ends by itself; by default never.

        Raises:
            ConfigurationError: If a value makes no sense.
            NotFoundError: If there is no such workspace or project for the actor.
            PermissionDeniedError: If the actor may not, or may not do all of the scopes.
            StorageError: If the database cannot keep it.
        """
        named, wanted = label(name, "name"), self._tenants.vocabulary.checked(scopes, "scopes")
        lasts = None if expires_in is None else duration(expires_in, "expires_in")
        with self._tenants.changing(
            workspace, actor_of(actor), "keys.create", project=project
        ) as change:
            expires_at = None if lasts is None else change.now + lasts
            return self._made(change, named, wanted, project=project, expires_at=expires_at)

    def keys(self, workspace: str, *, actor: Actor | str | None) -> list[ApiKey]:
        """Every key, also those that have ended, the newest first; needs `keys.read`.

        Raises:
            NotFoundError: If there is no such workspace for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database does not answer.
        """
        with self._tenants.reading(workspace, actor_of(actor), "keys.read") as (connection, _):
            asked = Within(workspace).select(api_keys).order_by(api_keys.c.id.desc())
            return [_key(row) for row in connection.execute(asked)]

    def rotate_key(
        self,
        workspace: str,
        key_id: UUID | str,
        *,
        actor: Actor | str | None,
        grace: float = _DAY,
        expires_in: float | None = None,
    ) -> NewApiKey:
        """Make a key in place of another, which goes on for a while; needs `keys.rotate`.

        Args:
            workspace: Where.
            key_id: The old one.
            actor: Who does it: the new key is theirs, so they need everything that it may do.
            grace: Seconds that the old key still works; 0 ends it now.
            expires_in: Seconds until the new one ends by itself; by default as long as the old one
                was made to last.

        Raises:
            ConfigurationError: If a value makes no sense.
            ConflictError: If the old one has ended, or was rotated already.
            NotFoundError: If there is no such workspace or key for the actor.
            PermissionDeniedError: If the actor may not, or may not do all that the key may.
            StorageError: If the database cannot do it.
        """
        left = duration(grace, "grace") if grace else 0.0
        lasts = None if expires_in is None else duration(expires_in, "expires_in")
        with self._tenants.changing(workspace, actor_of(actor), "keys.rotate") as change:
            old = _row(change, key_id)
            if old.project is not None:
                change.need("keys.rotate", old.project)
            _need_live(change, old)
            ends = min(
                change.now + left, float("inf") if old.expires_at is None else old.expires_at
            )
            _set(change, old.id, expires_at=ends)
            change.note("key.rotated", Target("key", str(old.id)), after={"expires_at": ends})
            return self._made(
                change,
                old.name,
                tuple(orjson.loads(old.scopes)),
                project=old.project,
                expires_at=_ends(change.now, lasts, old),
                replaces=old.id,
            )

    def revoke_key(self, workspace: str, key_id: UUID | str, *, actor: Actor | str | None) -> None:
        """End a key at once and everywhere; needs `keys.revoke`.

        Raises:
            NotFoundError: If there is no such workspace or key for the actor.
            PermissionDeniedError: If the actor may not.
            StorageError: If the database cannot do it.
        """
        with self._tenants.changing(workspace, actor_of(actor), "keys.revoke") as change:
            old = _row(change, key_id)
            if old.revoked_at is None:
                _set(change, old.id, revoked_at=change.now)
                change.note("key.revoked", Target("key", str(old.id)))

    def authenticate(self, token: str) -> Actor:
        """Whose key this is: the actor for `require` and all else.

        What the key may do is read anew each time it is asked for, so a key that is revoked
        meanwhile may do nothing.

        Raises:
            AuthenticationError: If the key lets nobody in.
            StorageError: If the database does not answer.
        """
        given = token.strip() if isinstance(token, str) else ""  # a file ends with a line's end
        if not is_whole("llmops_key_", given):
            raise AuthenticationError(reason="unknown")
        hashed, now = digest(given), self._tenants.clock()
        with self._tenants.begin(read_only=True, token=hashed.hex()) as connection:
            row = connection.execute(KEY_OF, {"token": hashed}).one_or_none()
        if row is None or not hmac.compare_digest(row.token_hash, hashed):
            raise AuthenticationError(reason="unknown")
        if row.revoked_at is not None:
            raise AuthenticationError(reason="revoked")
        if row.expires_at is not None and row.expires_at <= now:
            raise AuthenticationError(reason="expired")
        self._used_now(row, now)
        return Actor(kind="key", id=str(row.id), workspace=row.workspace, project=row.project)

    def _used_now(self, row: Any, now: float) -> None:
        """Note the use, once a minute; a database that cannot be written to keeps nobody out."""
        if row.last_used_at is not None and row.last_used_at <= now < row.last_used_at + _MINUTE:
            return
        try:
            with self._tenants.begin(workspace=row.workspace) as connection:
                used = Within(row.workspace).update(api_keys).where(api_keys.c.id == row.id)
                connection.execute(used.values(last_used_at=now))
        except StorageError:
            return

    def _made(
        self,
        change: Change,
        name: str,
        scopes: tuple[str, ...],
        *,
        project: str | None,
        expires_at: float | None,
        replaces: UUID | None = None,
    ) -> NewApiKey:
        """A key that its maker may do everything of."""
        more = self._tenants.vocabulary.held(scopes) - change.who.held
        if more:
            why = f"a key may do no more than its maker, who lacks {told(more)}"
            change.refuse("keys.create", why)
        token = new_token("llmops_key_")
        key = ApiKey(
            id=new_id(),
            name=name,
            hint=token[:HINT],
            scopes=scopes,
            project=project,
            made_by=change.who.person or "",
            created_at=change.now,
            expires_at=_earlier(expires_at, change.who.expires_at),
            revoked_at=None,
            last_used_at=None,
            replaces=replaces,
        )
        new = change.within.insert(api_keys).values(
            id=key.id,
            name=key.name,
            hint=key.hint,
            token_hash=digest(token),
            scopes=orjson.dumps(scopes).decode(),
            project=project,
            made_by=key.made_by,
            created_at=key.created_at,
            expires_at=key.expires_at,
            replaces=replaces,
        )
        change.connection.execute(new)
        said = {"name": name, "scopes": list(scopes), "project": project}
        ends = {"expires_at": key.expires_at}
        change.note("key.created", Target("key", str(key.id)), after={**said, **ends})
        return NewApiKey(key=key, token=token)


def _earlier(wanted: float | None, makers: float | None) -> float | None:
    """A key that a key made ends no later than that one."""
    ends = [each for each in (wanted, makers) if each is not None]
    return min(ends, default=None)


def _ends(now: float, lasts: float | None, old: Row[Any]) -> float | None:
    """When a key ends that takes the place of another."""
    if lasts is not None:
        return now + lasts
    return None if old.expires_at is None else now + old.expires_at - old.created_at


def _need_live(change: Change, row: Row[Any]) -> None:
    over = row.expires_at is not None and row.expires_at <= change.now
    if row.revoked_at is not None or over:
        msg = f"the key {row.hint!r} has ended: make a new one"
        raise ConflictError(msg)
    asked = change.within.select(api_keys, api_keys.c.id).where(api_keys.c.replaces == row.id)
    if change.connection.execute(asked).first() is not None:
        msg = f"the key {row.hint!r} was rotated already: rotate the new one"
        raise ConflictError(msg)


def _row(change: Change, key_id: UUID | str) -> Row[Any]:
    asked = change.within.select(api_keys).where(api_keys.c.id == uuid_of(key_id))
    found = change.connection.execute(asked).one_or_none()
    if found is None:
        msg = f"no key {str(key_id)!r} in this workspace"
        raise NotFoundError(msg)
    return found


def _set(change: Change, key_id: UUID, **values: Any) -> None:
    changed = change.within.update(api_keys).where(api_keys.c.id == key_id)
    change.connection.execute(changed.values(values))


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=tuple(orjson.loads(row.scopes)),
        project=row.project,
        made_by=row.made_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        replaces=row.replaces,
    )
