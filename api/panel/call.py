"""One request of the page: what a route reads from it, checked."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import AfterValidator, Field, ValidationError

from ..client import Client
from ..errors import BadRequest, ConfigurationError, Conflict, InvalidInput, Problem, TooLarge, Unprocessable
from ..models import Record
from .comfyui import ComfyUI
from .desk import Desk

R = TypeVar("R", bound=Record)

MAX_BODY = 256 * 1024
"""Bytes of a body without graphs."""
MAX_GRAPHS = 16 * 1024 * 1024
"""Bytes of a body with graphs: as many as a platform takes."""
MEANT = "Outpost-Connection"
"""Names the connection that the page shows, with all that it has done."""
_MAX_ID = 200
_NO_TEXT = re.compile("[\\x00-\\x1f\\x7f\\ud800-\\udfff]")
"""Control characters, and halves of characters."""


def _on_one_line(text: str) -> str:
    if _NO_TEXT.search(text):
        raise ValueError("has to be a text without control characters")
    return text


Line = Annotated[str, Field(max_length=1000), AfterValidator(_on_one_line)]
"""A text on one line, such as a name or what to search for."""


class Call:
    """A request that came from the page, and what there is to answer it with."""

    def __init__(self, request: web.Request, desk: Desk) -> None:
        self.request = request
        self.desk = desk

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client, None]:
        """The client of the platform that is chosen at the moment. Raises ConfigurationError where there is none.

        Raises Conflict where the page has something done and shows another platform: one is chosen in another tab, or
        by another program, and a page that is out of sight has not heard of it.
        """
        async with self.desk.clients.open() as client:
            if self.request.headers.get(MEANT, client.connection.id) != client.connection.id:
                raise Conflict(
                    "Another connection has been chosen meanwhile, so nothing was done. Look, and try again."
                )
            yield client

    @property
    def comfyui(self) -> ComfyUI:
        """The ComfyUI that this is in. Raises ConfigurationError where there is none."""
        if self.desk.comfyui is None:
            raise ConfigurationError("This server is no ComfyUI, and only there can this be done.")
        return self.desk.comfyui

    def id(self, name: str) -> str:
        """An identifier in the path. Raises InvalidInput for what cannot be one."""
        text = self.request.match_info[name]
        if not text or len(text) > _MAX_ID or _NO_TEXT.search(text):
            raise InvalidInput(f"{text[:40]!r} is not an id")
        return text

    def query(self, kind: type[R]) -> R:
        """What stands behind the question mark. Raises Unprocessable."""
        return validated(kind, dict(self.request.query))

    async def body(self, kind: type[R], *, max_bytes: int = MAX_BODY) -> R:
        """The JSON that was sent. Raises BadRequest, TooLarge, Unprocessable."""
        data = bytearray()
        async for chunk in self.request.content.iter_any():
            data += chunk
            if len(data) > max_bytes:
                raise TooLarge(f"The page may send {max_bytes} bytes here, and sent more.")
        try:
            value = json.loads(data or b"{}")
        except (ValueError, RecursionError) as error:
            raise BadRequest("The page sent something that is no JSON.") from error
        return validated(kind, value)


def validated(kind: type[R], value: Any) -> R:
    """A record of what the page sent. Raises Unprocessable, which names what is wrong and repeats nothing of it."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        problems = [Problem(tuple(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")) for each in found]
        said = "; ".join(map(str, problems[:3]))
        raise Unprocessable(f"That is not possible: {said}", problems=problems) from None
