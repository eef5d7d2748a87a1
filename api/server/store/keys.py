"""API keys and the owners they belong to. Only a key's hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa

from ...models import ApiKey, KeyScope
from .database import Database, fetch, found
from .tables import api_keys

PREFIX = "outpost_"

_IN_FORCE = api_keys.c.revoked_at.is_(None) & (
    api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > sa.bindparam("now", type_=api_keys.c.expires_at.type))
)
_VALID = sa.select(api_keys.c.id, api_keys.c.owner_id, api_keys.c.scope, api_keys.c.name).where(
    api_keys.c.key_hash == sa.bindparam("key_hash"), _IN_FORCE
)
_STILL_VALID = sa.select(api_keys.c.id).where(api_keys.c.id == sa.bindparam("key_id"), _IN_FORCE)


@dataclass(frozen=True)
class Owner:
    """Whoever an API key belongs to; everything on the platform has one."""

    id: str


@dataclass(frozen=True)
class KeyHolder:
    """Somebody who has shown a valid key."""

    key_id: str
    owner: Owner
    scope: KeyScope
    name: str
    """What the key is called."""


class KeyStore:
    """Makes API keys and finds their owners."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        """The time, by the store's clock."""
        return self._database.now()

    async def is_empty(self) -> bool:
        """Whether no key has ever been made."""
        return not await self._database.rows(sa.select(api_keys.c.id).limit(1))

    async def create(
        self,
        name: str,
        *,
        owner: Owner | None = None,
        scope: KeyScope = KeyScope.FULL,
        expires_at: datetime | None = None,
    ) -> tuple[KeyHolder, str]:
        """A new key, in clear for this once, and who may use it; a new owner when None is given."""
        holder = KeyHolder(str(uuid4()), owner or Owner(str(uuid4())), scope, name)
        key = PREFIX + secrets.token_urlsafe(32)
        row = {
            "id": holder.key_id,
            "owner_id": holder.owner.id,
            "name": name,
            "key_hash": _hash(key),
            "scope": scope.value,
            "created_at": self._database.now(),
            "expires_at": expires_at,
        }
        await self._database.write(lambda connection: connection.execute(sa.insert(api_keys).values(row)))
        return holder, key

    async def holder_of(self, key: str) -> KeyHolder | None:
        """Who may use a key that is valid now, else None."""
        rows = await self._database.rows(_VALID, key_hash=_hash(key), now=self._database.now())
        if not rows:
            return None
        row = rows[0]
        return KeyHolder(row["id"], Owner(row["owner_id"]), KeyScope(row["scope"]), row["name"])

    async def is_valid(self, holder: KeyHolder) -> bool:
        """Whether a key that was shown earlier is valid still."""
        return bool(await self._database.rows(_STILL_VALID, key_id=holder.key_id, now=self._database.now()))

    async def list(self, owner: Owner) -> list[ApiKey]:
        """The owner's keys, the newest first; revoked ones too."""
        query = sa.select(api_keys).where(api_keys.c.owner_id == owner.id)
        rows = await self._database.rows(query.order_by(api_keys.c.created_at.desc(), api_keys.c.id))
        return [ApiKey.model_validate(row) for row in rows]

    async def get(self, owner: Owner, key_id: str) -> ApiKey:
        """One of the owner's keys."""
        query = sa.select(api_keys).where(api_keys.c.owner_id == owner.id, api_keys.c.id == key_id)
        return ApiKey.model_validate(found(await self._database.rows(query), f"There is no key {key_id[:80]}"))

    async def first_owner(self) -> Owner | None:
        """Whoever the oldest key was made for: the operator; None on a platform that has never been started."""
        rows = await self._database.rows(sa.select(api_keys.c.owner_id).order_by(api_keys.c.created_at).limit(1))
        return Owner(rows[0]["owner_id"]) if rows else None

    async def revoke(self, owner: Owner, key_id: str) -> None:
        """End a key at once. Doing so again changes nothing; NotFound for a key that is not the owner's."""
        now = self._database.now()
        this = (api_keys.c.id == key_id) & (api_keys.c.owner_id == owner.id)
        first_time = sa.func.coalesce(api_keys.c.revoked_at, sa.literal(now, api_keys.c.revoked_at.type))
        change = sa.update(api_keys).where(this).values(revoked_at=first_time).returning(api_keys.c.id)
        found(
            await self._database.write(lambda connection: fetch(connection, change)), f"There is no key {key_id[:80]}"
        )


def _hash(key: str) -> str:
    # A key has 256 random bits: nothing can be gained by guessing, so no slow hash is needed.
    # A header may bring bytes that are no UTF-8, which Python keeps as surrogates.
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
