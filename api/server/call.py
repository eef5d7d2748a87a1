"""One call of the API, as a handler sees it: who calls, and with what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from ..errors import Problem, TooLarge, Unauthorized, Unprocessable
from ..models import Record
from ..shapes import is_object, parse_json
from .platform import Platform
from .store.keys import KeyHolder, Owner

R = TypeVar("R", bound=Record)

_CHUNK_BYTES = 256 * 1024
_MOST_PROBLEMS = 10

_MAX_NAME = 100
"""Characters of a field's name, which the sender may have chosen, that an error repeats."""


@dataclass(frozen=True)
class Call:
    """A request whose API key has been checked."""

    request: web.Request
    platform: Platform
    holder: KeyHolder

    @property
    def owner(self) -> Owner:
        """Whoever the key belongs to: the only one whose things this call can reach."""
        return self.holder.owner

    @property
    def base_url(self) -> str:
        """Where this client reaches the API: under this come the signed URLs."""
        origin = self.platform.config.public_url or f"{self.request.scheme}://{self.request.host}"
        return f"{origin.rstrip('/')}/api"


async def read_json(request: web.Request, *, limit: int, is_optional: bool = False) -> dict[str, Any]:
    """The body as a JSON object. Unprocessable when it is none, TooLarge when it has more than `limit` bytes."""
    data = bytearray()
    async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
        data += chunk
        if len(data) > limit:
            raise TooLarge(f"The body is larger than the {limit} bytes that are accepted here")
    if not data and is_optional:
        return {}
    try:
        body = parse_json(bytes(data)) if data else None
    except ValueError as error:
        raise unprocessable(("body",), str(error)) from error
    if not is_object(body):
        raise unprocessable(("body",), "has to be a JSON object" if data else "is missing")
    return body


def validate(record: type[R], data: Any, *, where: str) -> R:
    """Data from outside as a record; Unprocessable with the path of each wrong field. Values are not repeated."""
    try:
        return record.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        problems = [
            Problem(
                (where, *(str(name)[:_MAX_NAME] for name in each["loc"])), each["msg"].removeprefix("Value error, ")
            )
            for each in found[:_MOST_PROBLEMS]
        ]
        raise Unprocessable("; ".join(map(str, problems)), problems=problems) from error


def unprocessable(path: tuple[str, ...], message: str) -> Unprocessable:
    """The error for one wrong field. The path has its names from the outside in: `("body", "name")`."""
    problem = Problem(path, message)
    return Unprocessable(str(problem), problems=[problem])


async def authenticate(request: web.Request, platform: Platform) -> KeyHolder:
    """Who calls, by `Authorization: Bearer …` or `x-api-key`; Unauthorized without a valid key."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    holder = await platform.store.keys.holder_of(key) if key else None
    if holder is None:
        raise Unauthorized("The API key is missing, wrong, revoked or expired")
    return holder
