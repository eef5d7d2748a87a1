"""The API's routes, one file for each kind of thing."""

from __future__ import annotations

from ..call import Endpoint, Handler, PublicHandler
from . import deployments, files, health, machines, objects, runs, workflows

ENDPOINTS: list[Endpoint[Handler]] = [
    *runs.ENDPOINTS,
    *workflows.ENDPOINTS,
    *deployments.ENDPOINTS,
    *machines.ENDPOINTS,
    *files.ENDPOINTS,
]
"""Need an API key."""

PUBLIC_ENDPOINTS: list[Endpoint[PublicHandler]] = [*health.ENDPOINTS, *objects.ENDPOINTS]
"""Need none: they tell nothing, or the URL itself is the permission."""
