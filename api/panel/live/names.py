"""How deployments and machines are called: runs tell only their ids."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ...client import Client
from ...errors import OutpostError
from ...forms import name_of
from ...models import Deployment, Machine, Run

log = logging.getLogger("outpost.panel")


class Names:
    """Reads the lists of a platform when a run mentions what is not known, once for each id."""

    def __init__(self) -> None:
        self._connection_id: str | None = None
        self._deployments: dict[str, Deployment] = {}
        self._machines: dict[str, Machine] = {}
        self._unknown: set[str] = set()

    def expire(self) -> None:
        """Something has been made or renamed."""
        self._connection_id = None

    async def learn(self, client: Client, runs: Iterable[Run]) -> None:
        """Know what these runs mention. A platform that does not answer leaves names out."""
        runs = list(runs)
        await self._learn(
            client,
            {each.deployment_id for each in runs if each.deployment_id},
            {each.machine_id for each in runs if each.machine_id},
        )

    async def learn_machines(self, client: Client, deployments: Iterable[Deployment]) -> None:
        """Know the machines of these deployments, as `learn` does: the hosted platform does not name them."""
        await self._learn(
            client, set(), {each.machine_id for each in deployments if each.machine_id and not each.machine}
        )

    async def _learn(self, client: Client, deployments: set[str], machines: set[str]) -> None:
        if self._connection_id != client.connection.id:
            self._deployments, self._machines, self._unknown = {}, {}, set()
            self._connection_id = client.connection.id
        try:
            if not deployments <= self._deployments.keys() | self._unknown:
                self._deployments = {each.id: each for each in await client.deployments.list()}
            if not machines <= self._machines.keys() | self._unknown:
                self._machines = {each.id: each for each in await client.machines.list()}
        except OutpostError as error:
            log.debug("the names of deployments and machines are not known: %s", error)
            return
        self._unknown |= (deployments - self._deployments.keys()) | (machines - self._machines.keys())

    def deployment(self, deployment_id: str | None) -> tuple[str, str | None]:
        """Name and environment; an empty name where it is gone."""
        found = self._deployments.get(deployment_id or "")
        return (name_of(found), found.environment) if found else ("", None)

    def machine(self, machine_id: str | None) -> str | None:
        """The name of a machine."""
        found = self._machines.get(machine_id or "")
        return found.name if found else None
