"""What the operator of a platform does on its own computer, without the API and without a key."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from pydantic import ValidationError

from ..errors import ConfigurationError, InvalidInput
from ..models import ApiKey, KeyScope, NewApiKey
from .config import ServerConfig
from .platform import opened_store, read_secret
from .store import Store
from .store.keys import Owner
from .webhooks import webhook_secret

_DAY = timedelta(days=1).total_seconds()
_WHAT_A_KEY_MAY_HAVE = {
    "name": "The name of a key is one line of 1 to 200 characters",
    "expires_in": "A key works for more than 0 and at most 3660 days",
}
"""By the field of `NewApiKey` that was wrong."""


async def list_keys(config: ServerConfig) -> list[ApiKey]:
    """The operator's API keys, the newest first."""
    async with _own_store(config) as (store, owner):
        return await store.keys.list(owner)


async def create_key(config: ServerConfig, name: str, *, scope: KeyScope, days: float | None) -> tuple[str, str]:
    """Make another API key, told only here, and its id. It works at once, also on a server that is running.

    Raises InvalidInput for a name or a time that no key can have.
    """
    try:
        new = NewApiKey(name=name, scope=scope, expires_in=None if days is None else days * _DAY)
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][0])
        raise InvalidInput(_WHAT_A_KEY_MAY_HAVE[wrong], input_id=wrong) from error
    async with _own_store(config) as (store, owner):
        expires_at = store.keys.now() + timedelta(seconds=new.expires_in) if new.expires_in else None
        holder, key = await store.keys.create(new.name, owner=owner, scope=new.scope, expires_at=expires_at)
        return key, holder.key_id


async def revoke_key(config: ServerConfig, key_id: str) -> None:
    """End an API key at once. Raises NotFound."""
    async with _own_store(config) as (store, owner):
        await store.keys.revoke(owner, key_id)


async def webhook_secret_of(config: ServerConfig, key_id: str) -> str:
    """What the webhooks of a key's runs are signed with. Raises NotFound, and ConfigurationError without a secret."""
    async with _own_store(config) as (store, owner):
        await store.keys.get(owner, key_id)
    return webhook_secret(read_secret(config), key_id)


@asynccontextmanager
async def _own_store(config: ServerConfig) -> AsyncGenerator[tuple[Store, Owner], None]:
    if config.database_url is None and not (config.data / "outpost.sqlite").exists():
        raise ConfigurationError(
            f"There is no platform in {config.data}. Name its folder with --data, or make one with: outpost serve"
        )
    async with opened_store(config) as store:
        owner = await store.keys.first_owner()
        if owner is None:
            raise ConfigurationError("The platform was never started. Start it with: outpost serve")
        yield store, owner
