"""Which objects a person's runs may read: the files and assets that the person has uploaded, and
the outputs of earlier runs."""

from __future__ import annotations

from ..errors import InvalidInput, NotFound
from .objects import Objects
from .store import Store
from .store.keys import Owner

RUNS = "runs"
"""First part of the keys of outputs; the second is the run's id."""
ASSETS = "assets"
"""First part of the keys of assets."""


async def readable_key(store: Store, objects: Objects, *, owner: Owner, url: str) -> str:
    """The key of the object behind a URL of ours that the owner may read, expired or not; InvalidInput otherwise."""
    key = objects.key_of(url)
    if key is None or not await _is_theirs(store, owner, key):
        raise InvalidInput("The URL is not one of a file that has been uploaded here. Upload the file first.")
    return key


async def _is_theirs(store: Store, owner: Owner, key: str) -> bool:
    kind, _, rest = key.partition("/")
    if kind == RUNS:
        try:
            await store.runs.get(owner, rest.partition("/")[0])
        except NotFound:
            return False
        return True
    if kind == ASSETS:
        return await store.assets.find(owner, key) is not None
    file = await store.files.find(owner, key)
    return bool(file and file.stored_at)
