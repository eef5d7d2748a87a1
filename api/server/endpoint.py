"""One row of the API: a method, a path, and the function that answers.

The function's own signature is the contract. Its parameters say what is read from the request: those with the name of
a part of the path, `body`, and `query`; what it returns is the answer's record. The server reads requests by it, and
the OpenAPI document is written from it, so that the two cannot say different things.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, get_args, get_type_hints

from aiohttp import web
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from ..errors import ApiError, Forbidden, NotFound
from ..models import KeyScope, Record
from .call import Call, read_json, validate
from .platform import Platform

Handler = Callable[..., Awaitable[Any]]
"""Takes a `Call` and what its signature names; returns a record, a list of records, or a response of its own."""
PublicHandler = Callable[[web.Request, Platform], Awaitable[Any]]

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
FORM = "multipart/form-data"
GRAPH_BYTES = 16 * 1024 * 1024
"""Largest body with graphs in it."""
RUN_BYTES = 4 * 1024 * 1024
"""Largest body that asks for a run: a picture in it as a data: URL is legal, and better uploaded first."""


class Access(Enum):
    """The scopes of API keys that may use an endpoint."""

    READ = frozenset({KeyScope.FULL, KeyScope.READ})
    RUN = frozenset({KeyScope.FULL, KeyScope.RUN})
    READ_OR_RUN = frozenset(KeyScope)
    WRITE = frozenset({KeyScope.FULL})


@dataclass(frozen=True)
class Endpoint:
    """Paths are without `/api`, under which they are served as well."""

    method: str
    path: str
    handler: Handler
    access: Access
    errors: tuple[type[ApiError], ...] = ()
    """What it can answer besides what its parameters imply."""
    answers: str = JSON
    form: str | None = None
    """`FORM` where the body is a form with one part named `file`, which the handler reads itself. A handler that takes
    a body as well takes either, and gets None for a form."""
    max_body_bytes: int = 256 * 1024
    """Of a JSON body; the server's own limit holds as well."""
    is_body_optional: bool = False
    is_once: bool = False
    """Whether it heeds an Idempotency-Key: the same request with the same key is done once."""
    may_miss: bool = False
    """Whether the body names things that may not be there."""

    @cached_property
    def types(self) -> dict[str, Any]:
        """The types of the handler's parameters, and of its answer as `return`."""
        return get_type_hints(self.handler, include_extras=True)

    @cached_property
    def body(self) -> type[Record] | None:
        """The record in the request's body."""
        kinds = get_args(self.types.get("body")) or (self.types.get("body"),)
        return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Record)), None)

    @property
    def query(self) -> type[Record] | None:
        """The record in the request's query string."""
        return self.types.get("query")

    @cached_property
    def path_types(self) -> dict[str, Any]:
        """The types of the parts of the path, in order."""
        names = inspect.signature(self.handler).parameters
        return {name: self.types[name] for name in names if f"{{{name}}}" in self.path}

    @property
    def answer(self) -> Any:
        """The type of the answer; a response for what is no JSON."""
        return self.types["return"]

    @cached_property
    def _path_adapters(self) -> dict[str, TypeAdapter[Any]]:
        return {name: TypeAdapter(kind) for name, kind in self.path_types.items()}

    @cached_property
    def _answer_adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.answer)

    async def respond(self, call: Call) -> web.StreamResponse:
        """Read the request, let the handler work, and write its answer. Raises ApiError."""
        if call.holder.scope not in self.access.value:
            raise Forbidden(
                f"This API key is limited to the scope {call.holder.scope.value!r}, which does not allow this"
            )
        arguments = self._path_arguments(call.request)
        if self.query:
            arguments["query"] = validate(self.query, dict(call.request.query), where="query")
        if self.body and not (self.form and call.request.content_type.startswith("multipart/")):
            limit = min(self.max_body_bytes, call.platform.config.max_body_bytes)
            data = await read_json(call.request, limit=limit, is_optional=self.is_body_optional)
            arguments["body"] = validate(self.body, data, where="body")
        elif self.body:
            arguments["body"] = None
        result = await self.handler(call, **arguments)
        return result if isinstance(result, web.StreamResponse) else reply(result, self._answer_adapter)

    def _path_arguments(self, request: web.Request) -> dict[str, Any]:
        """The parts of the path. One that cannot be an id is the id of nothing."""
        arguments: dict[str, Any] = {}
        for name, adapter in self._path_adapters.items():
            text = request.match_info[name]
            try:
                arguments[name] = adapter.validate_python(text)
            except ValidationError:
                raise _absent(name, text) from None
            if not text.isprintable():  # a database may not even be asked for such a text
                raise _absent(name, text)
        return arguments


def _absent(name: str, text: str) -> NotFound:
    thing = name.removesuffix("_id").replace("_", " ")
    return NotFound(f"There is no {thing} {text[:80]!r}")


@dataclass(frozen=True)
class PublicEndpoint:
    """A row that needs no API key: it tells nothing, or the URL itself is the permission."""

    method: str
    path: str
    handler: PublicHandler
    answers: str = JSON
    is_listed: bool = field(default=True, kw_only=True)
    """Whether it stands in the OpenAPI document."""

    @cached_property
    def answer(self) -> Any:
        """The type of the answer; a response for what is no JSON."""
        return get_type_hints(self.handler, include_extras=True)["return"]

    async def respond(self, request: web.Request, platform: Platform) -> web.StreamResponse:
        """Let the handler work, and write its answer."""
        result = await self.handler(request, platform)
        return result if isinstance(result, web.StreamResponse) else reply(result, TypeAdapter(self.answer))


def reply(content: Any, adapter: TypeAdapter[Any]) -> web.Response:
    """An answer in JSON."""
    try:
        return web.Response(body=adapter.dump_json(content), content_type=JSON)
    except PydanticSerializationError:
        # Texts in graphs may hold halves of characters, which only the escapes of JSON can write.
        return web.json_response(adapter.dump_python(content, mode="json"))
