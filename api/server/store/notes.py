"""What a transaction has changed for whom: noted while it goes on, and written as its very last step.

The last step takes turns, so that events become visible in the order of their numbers: whoever has read up to a number
has missed nothing before it. Nothing is waited for after it, so that no two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ...account_events import AccountEvent, RunChanged, ThingChanged, encode
from ...models import Failure, RunStatus
from .tables import account_events

_NOTES = "outpost.notes"
_INSERT = sa.insert(account_events)
_OF_A_RUN = (
    *("progress", "live_status", "deployment_id", "workflow_id", "workflow_version_id", "machine_id"),
    *("created_at", "started_at", "ended_at"),
)


def note(connection: sa.Connection, owner_id: str, event: AccountEvent) -> None:
    """Tell something, once this transaction is done."""
    connection.info.setdefault(_NOTES, []).append((owner_id, event))


def note_thing(connection: sa.Connection, owner_id: str, kind: str, thing_id: str, deed: str) -> None:
    """Tell that something was `created`, `updated` or `deleted`."""
    note(connection, owner_id, ThingChanged(kind, thing_id, deed))


def run_changed(row: dict[str, Any], **changes: Any) -> RunChanged:
    """A run as its row has it."""
    told: dict[str, Any] = {name: row[name] for name in _OF_A_RUN}
    told |= {"run_id": row["id"], "status": RunStatus(row["status"])}
    told["error"] = Failure.model_validate(row["error"]) if row["error"] else None
    return RunChanged(**told | changes)


def take_notes(connection: sa.Connection) -> list[tuple[str, AccountEvent]]:
    """What has been noted in this transaction so far; it is forgotten."""
    return connection.info.pop(_NOTES, [])


def write_notes(connection: sa.Connection, now: datetime, notes: Iterable[tuple[str, AccountEvent]]) -> None:
    """Write down what was noted."""
    rows = [{"owner_id": owner_id, "created_at": now, **_encoded(event)} for owner_id, event in notes]
    connection.execute(_INSERT, rows)


def _encoded(event: AccountEvent) -> dict[str, Any]:
    name, payload = encode(event)
    return {"name": name, "payload": payload}
