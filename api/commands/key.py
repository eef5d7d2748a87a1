"""`outpost key`: the API keys of the platform on this computer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from .place import add_place, config_of

if TYPE_CHECKING:
    from ..models import ApiKey


def add_key_commands(parser: argparse.ArgumentParser) -> None:
    """What comes after `outpost key`."""
    commands = parser.add_subparsers(required=True, metavar="ACTION")
    create = commands.add_parser("create", help="make a key; it is shown only this once")
    create.add_argument("name", help="what it is for")
    create.add_argument("--scope", choices=["full", "run", "read"], default="full", help="what it may do (%(default)s)")
    create.add_argument("--days", type=float, metavar="N", help="after which it stops working (default: never)")
    create.set_defaults(command=_create)
    listing = commands.add_parser("list", help="list the keys, without what opens the door")
    listing.set_defaults(command=_list)
    revoke = commands.add_parser("revoke", help="end a key at once")
    revoke.add_argument("id", help="as `outpost key list` shows it")
    revoke.set_defaults(command=_revoke)
    secret = commands.add_parser("webhook-secret", help="show what the webhooks of a key's runs are signed with")
    secret.add_argument("id", help="as `outpost key list` shows it")
    secret.set_defaults(command=_show_webhook_secret)
    for each in (create, listing, revoke, secret):
        add_place(each)


async def _create(options: argparse.Namespace) -> int:
    from ..models import KeyScope
    from ..server.operator import create_key, list_keys

    config = config_of(options)
    key, key_id = await create_key(config, options.name, scope=KeyScope(options.scope), days=options.days)
    print(f"This key is shown only this once:\n\n    {key}\n\nIts id, for `outpost key revoke`: {key_id}")
    others = [each for each in _not_revoked(await list_keys(config), options.name) if each.id != key_id]
    if others:
        # To replace a key one has both for a while, so that nothing is refused.
        print(f"\nMore keys with this name are not revoked: {_told(others)}")
    return 0


async def _list(options: argparse.Namespace) -> int:
    from ..server.operator import list_keys

    for key in await list_keys(config_of(options)):
        state = (
            "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "works"
        )
        print(f"{key.id}  {key.scope.value:4}  {state:26}  {_made(key)}  {key.name}")
    return 0


async def _revoke(options: argparse.Namespace) -> int:
    from ..server.operator import list_keys, revoke_key

    config = config_of(options)
    keys = await list_keys(config)
    names = {each.id: each.name for each in keys}
    if options.id not in names and (named := _not_revoked(keys, options.id)):
        raise InvalidInput(f"{options.id!r} is a name, and a key is revoked by its id: {_told(named)}")
    await revoke_key(config, options.id)
    print(f"The key {options.id} is revoked: {names[options.id]}")
    return 0


async def _show_webhook_secret(options: argparse.Namespace) -> int:
    from ..server.operator import webhook_secret_of

    print(await webhook_secret_of(config_of(options), options.id))
    return 0


def _not_revoked(keys: Sequence[ApiKey], name: str) -> list[ApiKey]:
    """The keys with this name that are not revoked."""
    return [each for each in keys if each.name == name and not each.revoked_at]


def _told(keys: Sequence[ApiKey]) -> str:
    return ", ".join(f"{each.id} ({_made(each)})" for each in keys)


def _made(key: ApiKey) -> str:
    return f"made {key.created_at:%Y-%m-%d %H:%M} UTC" if key.created_at else ""
