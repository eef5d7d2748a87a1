"""Where the platform is and the key for it: from the environment, else from a private file. Never from the browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from .connection import DEFAULT_BASE_URL, SHORTEST_KEY, Connection, completed, normalised
from .connections import HERE, Book, Saved, change_book, folder_here, name_for, new_id, read_book
from .errors import ConfigurationError, NoConnection
from .here import address_in

__all__ = [
    "DEFAULT_BASE_URL",
    "SHORTEST_KEY",
    "Connection",
    "completed",
    "is_in_environment",
    "load_connection",
    "normalised",
    "save_connection",
    "settings_path",
]


def load_connection(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> Connection:
    """The connection from OUTPOST_BASE_URL and OUTPOST_API_KEY, else the chosen one of the settings file.

    A base URL in the environment without a key takes a key of the file only if it is for the same platform, so that a
    key never goes to a platform it was not made for.
    """
    base_url, api_key = environ.get("OUTPOST_BASE_URL", "").strip(), environ.get("OUTPOST_API_KEY", "")
    if api_key and base_url:
        return Connection.given(base_url, api_key)
    path = path or settings_path(environ)
    book = read_book(path)
    if api_key and book.entries:
        raise ConfigurationError(
            "OUTPOST_API_KEY is set and does not say for which platform: set OUTPOST_BASE_URL too, or unset "
            f"OUTPOST_API_KEY to use a connection of {path}."
        )
    if api_key:
        return Connection.given(DEFAULT_BASE_URL, api_key)
    return _named(book, base_url, path) if base_url else _chosen(book, path)


def is_in_environment(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment says which platform is used, so that what is chosen in the file does not count."""
    return bool(environ.get("OUTPOST_BASE_URL", "").strip() or environ.get("OUTPOST_API_KEY"))


def save_connection(connection: Connection, path: Path, *, name: str | None = None) -> Saved:
    """Keep a connection and use it from now on. It takes the place of one with its name, or else with its base URL."""
    saved = Saved(new_id(), name or name_for(connection.base_url), connection)

    def put(book: Book) -> Book:
        nonlocal saved
        of_name = (each for each in book.entries if each.name == name)
        of_platform = (each for each in book.entries if each.connection.base_url == connection.base_url)
        if former := next(of_name if name else of_platform, None):
            saved = replace(former, connection=connection)
        return book.having(saved).using(saved.id)

    change_book(path, put, replaces_broken=True)
    return saved


def settings_path(environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> Path:
    """The settings file: OUTPOST_SETTINGS, else where programs of this operating system keep their settings."""
    if chosen := environ.get("OUTPOST_SETTINGS"):
        return Path(chosen).expanduser()
    return _settings_folder(environ, platform) / "comfyui-outpost" / "connection.json"


def _settings_folder(environ: Mapping[str, str], platform: str) -> Path:
    if platform == "win32":
        appdata = environ.get("APPDATA")
        return Path(appdata) if appdata else Path.home() / "AppData" / "Roaming"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    xdg = environ.get("XDG_CONFIG_HOME")
    return Path(xdg) if xdg else Path.home() / ".config"


def _named(book: Book, base_url: str, path: Path) -> Connection:
    """The connection of the file to a platform that the environment names."""
    wanted = normalised(completed(base_url))
    entries = sorted(book.entries, key=lambda each: each.id != book.current)
    found = next((each.connection for each in entries if each.connection.base_url == wanted), None)
    if found is None:
        raise ConfigurationError(
            f"There is no API key for {wanted}. Set OUTPOST_API_KEY too, or save the connection in {path}."
        )
    return found


def _chosen(book: Book, path: Path) -> Connection:
    if chosen := book.chosen:
        # Another program may listen where it was: it must not get the key.
        connection = chosen.connection
        if chosen.id == HERE and address_in(folder_here(path), connection.api_key) != connection.base_url:
            raise ConfigurationError(
                "The platform on this computer does not run. Start its ComfyUI, or use another one."
            )
        return connection
    if book.entries:
        raise ConfigurationError(
            "None of the connections is chosen. Choose one in ComfyUI, in the panel Outpost under Connections, or with "
            "the command: outpost connect --use NAME."
        )
    raise NoConnection(
        "No platform is set up. Start one on this computer or connect one: in ComfyUI, in the panel Outpost under "
        f"Connections, or with the command: outpost connect URL (which writes {path}), or by OUTPOST_BASE_URL and "
        "OUTPOST_API_KEY in the environment."
    )
