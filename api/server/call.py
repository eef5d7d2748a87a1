"""One call of the API, as a handler sees it: who calls, with what, and how to answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from math import isinf
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import ValidationError

from ..errors import Problem, Unauthorized, Unprocessable, quote
from ..models import Record, canonical_id
from ..shapes import is_array, is_object
from .platform import Platform
from .store.keys import Owner

R = TypeVar("R", bound=Record)
H = TypeVar("H")

MAX_DEPTH = 100
"""Levels of lists and objects in a body. pydantic writes 255 of them, and a graph has a dozen."""
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"


@dataclass(frozen=True)
class Call:
    """A request whose API key has been checked."""

    request: web.Request
    platform: Platform
    owner: Owner

    async def json(self) -> dict[str, Any]:
        """The body as a JSON object; Unprocessable when it is none. aiohttp itself refuses one that is too large."""
        data = await self.request.read()
        try:
            body = parse_json(data) if data else None
        except ValueError as error:
            raise unprocessable("body", str(error)) from error
        if not is_object(body):
            raise unprocessable("body", "has to be a JSON object" if data else "is missing")
        return body

    async def body(self, record: type[R]) -> R:
        """The body as a record; Unprocessable, with the path of each wrong field, when it is none."""
        return validate(record, await self.json(), where="body")

    def id(self, name: str) -> str:
        """An id from the path; Unprocessable when it cannot be one."""
        try:
            return canonical_id(self.request.match_info[name])
        except ValueError as error:
            raise unprocessable(f"path.{name}", str(error)) from error

    def query_int(self, name: str, *, default: int, maximum: int) -> int:
        """A whole number from the query, 0 to `maximum`."""
        text = self.request.query.get(name, str(default))
        if not text.isdecimal() or len(text) > 9 or int(text) > maximum:
            raise unprocessable(f"query.{name}", f"has to be a whole number from 0 to {maximum}")
        return int(text)

    def query_bool(self, name: str) -> bool:
        """A truth value from the query; false when it is absent."""
        text = self.request.query.get(name, "false").lower()
        if text not in _BOOLEANS:
            raise unprocessable(f"query.{name}", "has to be true or false")
        return _BOOLEANS[text]

    @property
    def base_url(self) -> str:
        """Where this client reaches the API: under this come the signed URLs."""
        origin = self.platform.config.public_url or f"{self.request.scheme}://{self.request.host}"
        return f"{origin.rstrip('/')}/api"


Handler = Callable[[Call], Awaitable[web.StreamResponse]]
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


PublicHandler = Callable[[web.Request, Platform], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Endpoint(Generic[H]):
    """One row of the API: who answers what. Paths are without `/api`, under which they are served as well."""

    method: str
    path: str
    handler: H


def reply(record: Record | list[Any] | dict[str, Any]) -> web.Response:
    """An answer with a record, or a list of records, as JSON."""
    content: Any = record.model_dump(mode="json") if isinstance(record, Record) else record
    if is_array(content):
        content = [item.model_dump(mode="json") if isinstance(item, Record) else item for item in content]
    return web.json_response(content)


def validate(record: type[R], data: Any, *, where: str) -> R:
    """Data from outside as a record; Unprocessable with the path of each wrong field. Values are not repeated."""
    try:
        return record.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [
            Problem(".".join([where, *map(str, each["loc"])]), each["msg"].removeprefix("Value error, "))
            for each in found
        ]
        raise Unprocessable("; ".join(map(str, problems)), problems=problems) from error


def unprocessable(path: str, message: str) -> Unprocessable:
    """The error for one wrong field."""
    problem = Problem(path, message)
    return Unprocessable(str(problem), problems=[problem])


async def authenticate(request: web.Request, platform: Platform) -> Owner:
    """The owner of the request's API key, from `Authorization: Bearer …` or `x-api-key`; Unauthorized without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    owner = await platform.store.keys.owner_of(key) if key else None
    if owner is None:
        raise Unauthorized("Invalid or missing token")
    return owner


def parse_json(data: str | bytes) -> Any:
    """JSON that can be written again as JSON.

    Raises ValueError for anything else, also for NaN and for what is nested deeper than it could be written.
    """
    try:
        value: Any = json.loads(data, parse_constant=_refuse_constant, parse_float=_parse_float)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {quote(str(error))}") from error
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for each in level for item in _items(each)]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def _items(value: Any) -> Iterable[Any]:
    """What is directly inside a list or an object."""
    if is_object(value):
        return value.values()
    return value if is_array(value) else ()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _parse_float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text} is too large for a number")
    return number
