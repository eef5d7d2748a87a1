"""`outpost connect`: the connections of this computer."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Coroutine
from typing import Any

from ..connections import Book, change_book, read_book
from ..errors import InvalidInput, NotFound
from ..settings import Connection, completed, is_in_environment, normalised, save_connection, settings_path
from .place import one_sentence


def add_connect_options(connect: argparse.ArgumentParser) -> None:
    """What comes after `outpost connect`."""
    connect.add_argument("url", nargs="?", help="address of the platform, such as http://127.0.0.1:8190")
    connect.add_argument("--name", help="what to call the connection (default: as its address)")
    others = connect.add_mutually_exclusive_group()
    others.add_argument("--list", action="store_true", help="show the connections that are saved")
    others.add_argument("--use", metavar="NAME", help="use another one of them from now on")
    connect.set_defaults(command=_connect)


def _connect(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    if options.list or options.use:
        return _list() if options.list else _use(options.use)
    if not options.url:
        raise InvalidInput("Say to which platform: outpost connect URL")
    normalised(completed(options.url))  # before anybody has to look for a key
    # Not in the event loop, where Ctrl-C would wait for the answer.
    return _save(Connection.given(options.url, _ask_for_key()), options.name)


def _ask_for_key() -> str:
    try:
        text = getpass.getpass("API key (it is not shown): ") if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        return ""
    return text.strip()


async def _save(connection: Connection, name: str | None) -> int:
    from ..client import Client

    async with Client(connection) as client:
        found = len(await client.deployments.list())
    path = settings_path(os.environ)
    with one_sentence(f"{path} cannot be written"):
        save_connection(connection, path, name=name)
    print(f"Connected to {connection.base_url}; deployments: {found}. Saved in {path}, readable by you alone.")
    return 0


async def _list() -> int:
    book = read_book(settings_path(os.environ))
    if not book.entries:
        print("No connection is saved. Save one with: outpost connect URL")
    for each in book.entries:
        mark = "*" if each.id == book.current else " "
        key = f"…{each.connection.key_ending}" if each.connection.key_ending else "not shown"
        print(f"{mark} {each.name}  {each.connection.base_url}  key {key}")
    if is_in_environment():
        print("OUTPOST_BASE_URL and OUTPOST_API_KEY in the environment go before these.")
    return 0


async def _use(name: str) -> int:
    def choose(book: Book) -> Book:
        found = next((each for each in book.entries if name in (each.name, each.id)), None)
        if found is None:
            known = ", ".join(each.name for each in book.entries) or "none"
            raise NotFound(f"No connection is called {name!r}; there are: {known}.", status=404)
        return book.using(found.id)

    path = settings_path(os.environ)
    with one_sentence(f"{path} cannot be written"):
        book = change_book(path, choose)
    if chosen := book.chosen:
        print(f"Using {chosen.name}, {chosen.connection.base_url}.")
    return 0
