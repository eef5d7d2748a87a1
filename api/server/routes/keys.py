"""API keys."""

from __future__ import annotations

from datetime import timedelta

from ...models import ApiKey, CreatedApiKey, Message, NewApiKey
from ..call import Call
from ..endpoint import Access, Endpoint


async def list_keys(call: Call) -> list[ApiKey]:
    """List API keys, the newest first; revoked ones too."""
    return await call.platform.store.keys.list(call.owner)


async def create_key(call: Call, body: NewApiKey) -> CreatedApiKey:
    """Make an API key. It is shown only in this answer, and so is the secret that signs the webhooks of its runs."""
    store = call.platform.store.keys
    expires_at = store.now() + timedelta(seconds=body.expires_in) if body.expires_in else None
    holder, key = await store.create(body.name, owner=call.owner, scope=body.scope, expires_at=expires_at)
    made = await store.get(call.owner, holder.key_id)
    secret = call.platform.webhooks.secret_of(holder.key_id)
    return CreatedApiKey(**made.model_dump(), key=key, webhook_secret=secret)


async def revoke_key(call: Call, key_id: str) -> Message:
    """End an API key at once, for good."""
    await call.platform.store.keys.revoke(call.owner, key_id)
    return Message(message="API key revoked")


ENDPOINTS: list[Endpoint] = [
    Endpoint("GET", "/platform/api-keys", list_keys, Access.WRITE),
    Endpoint("POST", "/platform/api-keys", create_key, Access.WRITE),
    Endpoint("DELETE", "/platform/api-keys/{key_id}", revoke_key, Access.WRITE),
]
