"""API keys and the owners they belong to. Only a key's hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from uuid import uuid4

import sqlalchemy as sa

from .database import Database
from .tables import api_keys

PREFIX = "outpost_"


@dataclass(frozen=True)
class Owner:
    """Whoever an API key belongs to; everything on the platform has one."""

    id: str


class KeyStore:
    """Makes API keys and finds their owners."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_empty(self) -> bool:
        """Whether no key has ever been made."""
        return not await self._database.rows(sa.select(api_keys.c.id).limit(1))

    async def create(self, name: str, *, owner: Owner | None = None) -> tuple[Owner, str]:
        """A new key, in clear for this once, and its owner; a new owner when None is given."""
        owner = owner or Owner(str(uuid4()))
        key = PREFIX + secrets.token_urlsafe(32)
        row = {
            "id": str(uuid4()),
            "owner_id": owner.id,
            "name": name,
            "key_hash": _hash(key),
            "created_at": self._database.now(),
        }
        await self._database.write(lambda connection: connection.execute(sa.insert(api_keys).values(row)))
        return owner, key

    async def owner_of(self, key: str) -> Owner | None:
        """The owner of a key that is valid, else None."""
        query = sa.select(api_keys.c.owner_id).where(api_keys.c.key_hash == _hash(key), api_keys.c.revoked_at.is_(None))
        rows = await self._database.rows(query)
        return Owner(rows[0]["owner_id"]) if rows else None


def _hash(key: str) -> str:
    # A key has 256 random bits: nothing can be gained by guessing, so no slow hash is needed.
    # A header may bring bytes that are no UTF-8, which Python keeps as surrogates.
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
