"""Kinds of machines, and what the page may offer to do with each."""

from __future__ import annotations

OUTPOST = ["comfyui", "managed", "pool", "builtin"]
"""What can be added to a server of this package."""
HOSTED = ["serverless", "comfyui"]
"""What can be added to the hosted platform."""

_ANY = ["delete"]
_DEEDS: dict[str, list[str]] = {
    "builtin": ["edit", "check"],
    "comfyui": ["edit", "check"],
    "managed": ["edit", "check", "start", "stop", "logs"],
    "pool": ["edit", "check"],
    "classic": ["edit"],
    "comfy-deploy-serverless": ["edit"],
}


def deeds_of(kind: str) -> list[str]:
    """What can be done with a machine of a kind."""
    return [*_DEEDS.get(kind, []), *_ANY]
