"""The API's routes, one file for each kind of thing."""

from __future__ import annotations

from ..endpoint import Endpoint, PublicEndpoint
from . import assets, deployments, doc, events, files, health, keys, machines, objects, runs, workflows

ENDPOINTS: list[Endpoint] = [
    *runs.ENDPOINTS,
    *workflows.ENDPOINTS,
    *deployments.ENDPOINTS,
    *machines.ENDPOINTS,
    *files.ENDPOINTS,
    *assets.ENDPOINTS,
    *keys.ENDPOINTS,
    *events.ENDPOINTS,
]
"""Need an API key."""

PUBLIC_ENDPOINTS: list[PublicEndpoint] = [*health.ENDPOINTS, *doc.ENDPOINTS, *objects.ENDPOINTS]
"""Need none: they tell nothing, or the URL itself is the permission."""
