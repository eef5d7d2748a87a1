"""API keys."""

from __future__ import annotations

from ..models import ApiKey, CreatedApiKey, KeyScope
from .changes import given
from .platform import Platform, checked_name

# Inside of the class `list` is its method.
KeyList = list[ApiKey]


class Keys:
    """The API keys of whoever the client's own key belongs to."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def list(self) -> KeyList:
        """All keys, without what opens the door."""
        return await self._platform.get("/platform/api-keys", list[ApiKey])

    async def create(
        self, name: str, *, scope: KeyScope = KeyScope.FULL, expires_in: float | None = None
    ) -> CreatedApiKey:
        """A new key, which is told only here. It works for `expires_in` seconds, or until it is revoked.

        Raises NotSupported on the hosted platform.
        """
        await self._platform.require_outpost("limit API keys", instead="Create one on its website.")
        body = {"name": name, "scope": scope.value} | given(expires_in=expires_in)
        return await self._platform.post("/platform/api-keys", CreatedApiKey, json=body)

    async def revoke(self, key_id: str) -> None:
        """Let a key open nothing any more. Raises NotFound."""
        await self._platform.delete(f"/platform/api-keys/{checked_name(key_id)}")
