"""How many runs wait for machines and are at work on them."""

from __future__ import annotations

from collections.abc import Sequence

from .fleet import Fleet
from .store.account_events import AccountEventStore, Busy


async def busy(store: AccountEventStore, fleet: Fleet, machine_ids: Sequence[str]) -> dict[str, Busy]:
    """For each machine; a pool has what its machines have as well."""
    parts = {each: {each, *(held.id for held in fleet.of(each))} for each in machine_ids}
    counted = await store.busy(sorted({part for each in parts.values() for part in each}))
    return {
        machine_id: Busy(sum(counted[each].waiting for each in ids), sum(counted[each].working for each in ids))
        for machine_id, ids in parts.items()
    }
