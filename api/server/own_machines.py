"""The ComfyUIs that the operator names when the server starts: each has a machine then, and the same one every time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import ConfigurationError, InvalidInput
from .config import ServerConfig
from .machines.comfyui_address import authorization, read_endpoint
from .store import Store
from .store.database import Row
from .store.keys import Owner
from .store.machines import MANAGED

TOKEN_VARIABLE = "OUTPOST_COMFYUI_TOKEN"
"""In the environment: what the named ComfyUIs want to be told, a bearer token or `user:password`."""


def read_comfyuis(named: Iterable[str], *, allowed: Mapping[str, Path]) -> tuple[list[str], dict[str, Path]]:
    """URLs, and folders by name, of the ComfyUIs that were named; each of them once.

    A folder among the `allowed` ones has its name there, any other its own. Raises ConfigurationError.
    """
    urls: list[str] = []
    folders: dict[str, Path] = {}
    for text in named:
        if "://" in text:
            urls.append(_read_url(text))
            continue
        folder = _read_folder(text)
        name = next((name for name, path in allowed.items() if path == folder), folder.name)
        if {**allowed, **folders}.get(name, folder) != folder:
            raise ConfigurationError(
                f"Another folder with a ComfyUI has the name {name!r} as well. Give {folder} another one: "
                f"--comfyui-folder NAME={folder}"
            )
        folders[name] = folder
    return list(dict.fromkeys(urls)), folders


def read_token(token: str | None) -> str | None:
    """The token for the named ComfyUIs; None without one. Raises ConfigurationError."""
    try:
        authorization(token)
    except InvalidInput as error:
        raise ConfigurationError(f"{TOKEN_VARIABLE} cannot be used: {error}") from error
    return token or None


async def ensure_machines(store: Store, config: ServerConfig) -> list[str]:
    """A machine of the operator's for every ComfyUI that was named, made where there is none yet; their ids."""
    owner = await store.keys.first_owner()
    if owner is None:
        return []
    rows = [row for row in await store.machines.rows() if row["owner_id"] == owner.id]
    urls = [await _ensure_url(store, owner, rows, url=url, token=config.comfyui_token) for url in config.comfyui_urls]
    return urls + [await _ensure_folder(store, owner, rows, name=name) for name in config.own_folders]


async def _ensure_url(store: Store, owner: Owner, rows: Iterable[Row], *, url: str, token: str | None) -> str:
    known = (row for row in rows if row["type"] == "comfyui" and _address_of(row) == url)
    if row := next(known, None):
        if token and row["auth_token"] != token:
            await store.machines.change(owner, row["id"], {"auth_token": token})
        return row["id"]
    name = url.partition("://")[2][:200]
    return await store.machines.add(owner, name=name, kind="comfyui", slots=1, endpoint=url, auth_token=token)


async def _ensure_folder(store: Store, owner: Owner, rows: Iterable[Row], *, name: str) -> str:
    known = (row["id"] for row in rows if row["type"] == MANAGED and row["comfyui"] == name)
    if machine_id := next(known, None):
        return machine_id
    return await store.machines.add(owner, name=name, kind=MANAGED, slots=1, comfyui=name, keep_warm=True)


def _address_of(row: Row) -> str | None:
    try:
        return str(read_endpoint(row["endpoint"]))
    except InvalidInput:
        return None  # what may be an address was another thing when the machine was made


def _read_url(text: str) -> str:
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ConfigurationError(
            f"The URL of --comfyui has a name or password in it: give them as {TOKEN_VARIABLE}=name:password in the "
            "environment, where nobody reads them from the list of processes."
        )
    try:
        return str(read_endpoint(text))
    except InvalidInput as error:
        raise ConfigurationError(f"The URL of --comfyui cannot be used: {error}") from error


def _read_folder(text: str) -> Path:
    folder = Path(text).expanduser().resolve()
    if not text or not (folder / "main.py").is_file():
        raise ConfigurationError(
            f"--comfyui {text} is neither the URL of a ComfyUI, such as http://127.0.0.1:8188, nor a folder with one, "
            "which has a main.py."
        )
    return folder
