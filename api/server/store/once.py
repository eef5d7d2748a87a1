"""Requests that may be sent twice and are to be done once: what was made for each idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ...errors import Conflict
from .database import Database, fetch, take_turns
from .keys import Owner
from .tables import answered_requests

KEPT = timedelta(hours=24)
"""How long a repetition is recognised, at least."""
BATCH = 500
"""Rows that are forgotten in one transaction."""

Made = dict[str, Any]
"""What a request has made, as JSON: the answer, or the id of what is read for it."""


@dataclass(frozen=True)
class Once:
    """A request with an idempotency key."""

    key: str
    request_hash: str
    """Of all that it says."""


class OnceStore:
    """Everything is scoped to an owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, owner: Owner, once: Once | None) -> Made | None:
        """What was made for a request that has been sent before. Raises Conflict for another one with the same key."""
        return await self._database.read(lambda connection: _find(connection, owner, once)) if once else None

    async def forget_old(self) -> bool:
        """Forget a batch of what is older than KEPT; whether there may be more."""
        row, long_ago = answered_requests.c, self._database.now() - KEPT
        old = sa.select(row.owner_id, row.key).where(row.created_at < long_ago).order_by(row.created_at).limit(BATCH)

        def forget(connection: sa.Connection) -> int:
            gone = sa.delete(answered_requests).where(sa.tuple_(row.owner_id, row.key).in_(old.subquery().select()))
            return connection.execute(gone).rowcount

        return await self._database.write(forget) == BATCH


def do_once(
    connection: sa.Connection, now: datetime, owner: Owner, once: Once | None, make: Callable[[], Made]
) -> Made:
    """Make something inside of a transaction, unless it was made before for the same request. Raises as `find`."""
    if once is None:
        return make()
    take_turns(connection, f"request {once.key} of {owner.id}")
    if (made := _find(connection, owner, once)) is not None:
        return made
    made = make()
    row = {"owner_id": owner.id, "key": once.key, "request_hash": once.request_hash, "made": made, "created_at": now}
    connection.execute(sa.insert(answered_requests).values(row))
    return made


def _find(connection: sa.Connection, owner: Owner, once: Once) -> Made | None:
    this = (answered_requests.c.owner_id == owner.id) & (answered_requests.c.key == once.key)
    rows = fetch(connection, sa.select(answered_requests).where(this))
    if rows and rows[0]["request_hash"] != once.request_hash:
        raise Conflict("The idempotency key belongs to another request. Give this one a key of its own.")
    return rows[0]["made"] if rows else None
