"""The connections of this computer, as the page is told of them: of a key only its end, and of a short one nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...client import Client, Timeouts
from ...connection import DEFAULT_BASE_URL, Connection, completed
from ...connections import HERE, Book, Saved, change_book, name_for, new_id, read_book
from ...errors import ConfigurationError, Conflict, InvalidInput, NotFound, OutpostError, Unavailable
from ...models import Record
from ...settings import is_in_environment, load_connection, settings_path
from ..call import Call, Line
from ..discretion import without_places
from .here import Here

ENVIRONMENT = "environment"
"""The id of the connection that is in ComfyUI's environment."""
_NAME_OF_ENVIRONMENT = "From ComfyUI's environment"
_WHY_FIXED = (
    "It comes from OUTPOST_BASE_URL and OUTPOST_API_KEY in ComfyUI's environment, which go before what is chosen here. "
    "Take them away and restart ComfyUI to choose here."
)
_TRIAL_SECONDS = 15.0
_TIMEOUTS = Timeouts(connect=4.0, read=10.0)


class NewConnection(Record):
    """A connection to be added. Its key is tried first."""

    name: Line = ""
    base_url: Line = DEFAULT_BASE_URL
    api_key: Line
    is_untried: bool = False
    """Keep it although the platform does not answer."""


class Change(Record):
    """What is to be different; what is absent stays."""

    name: Line | None = None
    base_url: Line | None = None
    api_key: Line | None = None
    is_untried: bool = False


async def list_connections(call: Call) -> dict[str, Any]:
    """All connections, and which one is used. Raises ConfigurationError."""
    return await asyncio.to_thread(shown, call.desk.here)


async def add_connection(call: Call) -> dict[str, Any]:
    """Try a connection, keep it and use it. Raises OutpostError; ConnectionFailed where the platform is away."""
    body = await call.body(NewConnection)
    connection = Connection.given(body.base_url, body.api_key)
    if not body.is_untried:
        await try_out(connection)
    saved = Saved(new_id(), body.name.strip() or name_for(connection.base_url), connection)
    return await changed(call, lambda book: book.having(saved).using(saved.id))


async def change_connection(call: Call) -> dict[str, Any]:
    """Give a connection another name, address or key. A key is never sent to another place than it was given for."""
    body, connection_id = await call.body(Change), _id(call)
    former = (await asyncio.to_thread(read_book, settings_path())).find(connection_id)
    saved = _after(former, body)
    if saved.connection != former.connection and not body.is_untried:
        await try_out(saved.connection)
    return await changed(call, lambda book: book.having(_after(book.find(connection_id), body)))


async def remove_connection(call: Call) -> dict[str, Any]:
    """Forget a connection and its key. Raises NotFound."""
    connection_id = _id(call)
    told = await changed(call, lambda book: book.without(connection_id))
    if connection_id == HERE and call.desk.here:
        await asyncio.to_thread(call.desk.here.stop)
    return told


async def use_connection(call: Call) -> dict[str, Any]:
    """Use a connection from now on, in the panel, in nodes and on the command line. Raises NotFound."""
    connection_id = _id(call)
    return await changed(call, lambda book: book.using(connection_id))


async def changed(call: Call, change: Callable[[Book], Book]) -> dict[str, Any]:
    """Change what is kept, tell everybody, and answer how it is now."""
    try:
        await asyncio.to_thread(change_book, settings_path(), change)
    except OSError as error:
        raise ConfigurationError(f"The connections cannot be saved: {error.strerror}.") from error
    call.desk.connection_changed()
    return await asyncio.to_thread(shown, call.desk.here)


async def connection_of(call: Call) -> Connection:
    """The connection that the path names. Raises NotFound, ConfigurationError."""
    connection_id = call.id("connection_id")
    if connection_id == ENVIRONMENT:
        return await asyncio.to_thread(load_connection)
    if connection_id == HERE and call.desk.here:
        await call.desk.here.start()
    return (await asyncio.to_thread(read_book, settings_path())).find(connection_id).connection


async def try_out(connection: Connection) -> None:
    """Whether the platform is there and takes the key. Raises OutpostError, which says what is wrong."""
    try:
        async with Client(connection, timeouts=_TIMEOUTS) as client:
            await asyncio.wait_for(client.deployments.list(), _TRIAL_SECONDS)
    except asyncio.TimeoutError:
        raise Unavailable(
            f"{connection.base_url} does not answer. Is the address right, and does the platform run?", status=504
        ) from None
    except NotFound as error:
        raise InvalidInput(
            f"There is no platform at {connection.base_url}: its address has to be corrected."
        ) from error


def shown(here: Here | None) -> dict[str, Any]:
    """All connections, and which one is used, without their keys."""
    told: dict[str, Any] = {"connections": [], "current": None, "here": _here(here), "problem": None}
    try:
        book = read_book(settings_path())
    except ConfigurationError as error:
        book, told["problem"] = Book(), without_places(error)
    told["connections"] = [_row(each) for each in book.entries]
    told["current"] = book.chosen.id if book.chosen else None
    if is_in_environment():
        told["connections"].insert(0, _row_of_environment())
        told["current"] = ENVIRONMENT
    return told


def _here(here: Here | None) -> dict[str, Any] | None:
    """How it stands with the platform on this computer; None where there can be none."""
    if here is None:
        return None
    state = "starting" if here.is_starting else "ready" if here.is_running else "off"
    return {"state": state, "is_shared": here.is_shared}


def _row(saved: Saved) -> dict[str, Any]:
    connection = saved.connection
    return {
        "id": saved.id,
        "name": saved.name,
        "base_url": connection.base_url,
        "key_ending": connection.key_ending,
        "kind": "here" if saved.id == HERE else _kind(connection.base_url),
        "why_fixed": None,
    }


def _row_of_environment() -> dict[str, Any]:
    row: dict[str, Any] = {"id": ENVIRONMENT, "name": _NAME_OF_ENVIRONMENT, "why_fixed": _WHY_FIXED}
    try:
        connection = load_connection()
    except OutpostError as error:
        return {**row, "base_url": None, "key_ending": None, "kind": "server", "why_fixed": without_places(error)}
    return {
        **row,
        "base_url": connection.base_url,
        "key_ending": connection.key_ending,
        "kind": _kind(connection.base_url),
    }


def _kind(base_url: str) -> str:
    return "hosted" if base_url == DEFAULT_BASE_URL else "server"


def _after(former: Saved, change: Change) -> Saved:
    """A connection with what is to be different. Raises InvalidInput where its key would go to another platform."""
    url = former.connection.base_url if change.base_url is None else change.base_url
    given = Connection.given if change.api_key else Connection  # a key that is kept already may be any
    connection = given(completed(url), change.api_key or former.connection.api_key)
    if connection.origin != former.connection.origin and not change.api_key:
        raise InvalidInput(
            "The key was made for the platform at the former address. For another address give its own key."
        )
    if former.id == HERE and connection != former.connection:
        raise Conflict("The address and the key of the platform on this computer take care of themselves.")
    name = former.name if change.name is None else change.name.strip() or name_for(connection.base_url)
    return replace(former, name=name, connection=connection)


def _id(call: Call) -> str:
    connection_id = call.id("connection_id")
    if connection_id == ENVIRONMENT or is_in_environment():
        raise Conflict(_WHY_FIXED, status=409)
    return connection_id
