"""Messages to webhooks: which are due, who delivers them, and what became of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ...models import RunStatus
from .database import Database, fetch
from .runs import Webhook
from .tables import runs, webhook_deliveries

_URL = runs.c.webhook["url"].as_string()
_AT, _CREATED = webhook_deliveries.c.next_attempt_at, webhook_deliveries.c.created_at


@dataclass(frozen=True)
class Delivery:
    """A message that this process may deliver until its lease runs out."""

    id: str
    run_id: str
    webhook: Webhook
    status: RunStatus
    """What the message tells; the run may have gone on since."""
    attempts: int
    """How often it has been tried, with this time."""
    held_until: datetime
    progress: float
    live_status: str | None
    error: dict[str, Any] | None
    """These three are the run's own, as they are now."""


@dataclass(frozen=True)
class Busy:
    """What a process has enough to do with already."""

    receivers: Collection[str] = ()
    """Beginnings of URLs, as far as the path."""
    run_ids: Collection[str] = ()

    @property
    def rest(self) -> sa.ColumnElement[bool]:
        """Whether a message is for somebody else, and about another run."""
        conditions = [~_is_for(receiver) for receiver in self.receivers]
        return sa.and_(webhook_deliveries.c.run_id.not_in(self.run_ids), *conditions)


class WebhookStore:
    """The messages of all runs. One that is begun is pushed into the future, so that it comes again after a crash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> datetime:
        """The time, by the store's clock."""
        return self._database.now()

    async def are_waiting(self, run_id: str) -> bool:
        """Whether there are messages about a run that have not arrived yet."""
        query = sa.select(webhook_deliveries.c.id).where(webhook_deliveries.c.run_id == run_id)
        return bool(await self._database.rows(query.where(webhook_deliveries.c.next_attempt_at.is_not(None)).limit(1)))

    async def claim(self, *, seconds: float, busy: Busy) -> Delivery | None:
        """Take the message that has been due for longest for this many seconds; None when none is due."""
        now = self._database.now()
        due = _waiting(busy).where(now >= _AT).order_by(_AT, _CREATED).limit(1)
        due = due.with_for_update(of=webhook_deliveries, skip_locked=True)
        taken = {"attempts": webhook_deliveries.c.attempts + 1, "next_attempt_at": now + timedelta(seconds=seconds)}
        change = sa.update(webhook_deliveries).where(webhook_deliveries.c.id == due.scalar_subquery())
        change = change.where(now >= _AT).values(taken).returning(*webhook_deliveries.c)
        about = sa.select(runs.c.webhook, runs.c.progress, runs.c.live_status, runs.c.error)

        def take(connection: sa.Connection) -> Delivery | None:
            rows = fetch(connection, change)
            if not rows:
                return None
            row = rows[0]
            run = fetch(connection, about.where(runs.c.id == row["run_id"]))[0]
            return Delivery(
                id=row["id"],
                run_id=row["run_id"],
                webhook=Webhook(**run["webhook"]),
                status=RunStatus(row["status"]),
                attempts=row["attempts"],
                held_until=row["next_attempt_at"],
                progress=run["progress"],
                live_status=run["live_status"],
                error=run["error"],
            )

        return await self._database.write(take)

    async def next_due(self, *, busy: Busy) -> datetime | None:
        """When the next message is due, or was."""
        rows = await self._database.rows(_waiting(busy).order_by(_AT).limit(1).with_only_columns(_AT))
        return rows[0]["next_attempt_at"] if rows else None

    async def settle(self, delivery: Delivery, *, is_delivered: bool, next_attempt_at: datetime | None = None) -> None:
        """Say what became of an attempt: the message has arrived, or is tried again then, or, with None, never."""
        delivered_at = self._database.now() if is_delivered else None
        await self._change(delivery, {"delivered_at": delivered_at, "next_attempt_at": next_attempt_at})

    async def release(self, delivery: Delivery) -> None:
        """Give back a message whose attempt was broken off; it is due at once and the attempt does not count."""
        await self._change(delivery, {"attempts": delivery.attempts - 1, "next_attempt_at": self._database.now()})

    async def _change(self, delivery: Delivery, values: dict[str, Any]) -> None:
        # Whoever was too slow finds that somebody else holds it; and what has been settled is not released any more.
        held = (webhook_deliveries.c.id == delivery.id) & (webhook_deliveries.c.next_attempt_at == delivery.held_until)
        change = sa.update(webhook_deliveries).where(held).values(values)
        await self._database.write(lambda connection: connection.execute(change))


def receiver_of(url: str) -> str:
    """What two messages have in common that go to the same server: the beginning of the URL, as far as the path."""
    scheme, _, rest = url.lower().partition("://")
    for end in "/?#":
        rest = rest.partition(end)[0]
    return f"{scheme}://{rest}"


def _is_for(receiver: str) -> sa.ColumnElement[bool]:
    url = sa.func.lower(_URL)
    return sa.or_(url == receiver, *(url.startswith(receiver + end, autoescape=True) for end in "/?#"))


def _waiting(busy: Busy) -> sa.Select[tuple[str]]:
    """Messages that have not come to their end."""
    query = sa.select(webhook_deliveries.c.id).join(runs, runs.c.id == webhook_deliveries.c.run_id)
    return query.where(_AT.is_not(None), busy.rest)
