"""Errors as answers: every one is JSON with `detail` and `code`, and no traceback leaves the server."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import Field

from ..errors import ApiError, BadRequest, InvalidInput, NotFound, ServerError, TooLarge, Unprocessable
from ..models import Record

log = logging.getLogger("outpost.server")

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WrongField(Record):
    """One wrong field of a request."""

    loc: list[str]
    """Where it is: the names from the outside in."""
    msg: str
    type: str


class ErrorAnswer(Record):
    """Every error."""

    detail: str | list[WrongField] = Field(description="For people; it may change.")
    code: str
    """The kind of error, for programs; it stays."""
    run_id: str | None = None
    """The run that it is about, where there is one."""


def problems(*, max_body_bytes: int) -> Any:
    """The middleware that turns every error into an answer."""

    @web.middleware
    async def middleware(request: web.Request, handler: _Next) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return _problem(error)
        except InvalidInput as error:
            return _problem(Unprocessable(str(error)))
        except web.HTTPRequestEntityTooLarge:
            return _problem(TooLarge(f"The body is larger than the {max_body_bytes} bytes that are accepted"))
        except web.HTTPNotFound:
            return _problem(NotFound(f"There is no {request.method} {request.path}"))
        except web.HTTPException as error:
            return _problem(ApiError(error.reason, status=error.status), headers=_allow(error))
        except Exception as error:
            if error is request.content.exception():
                return _problem(
                    BadRequest("The body did not arrive whole, or not in the encoding that its headers say")
                )
            log.exception("%s %s failed", request.method, request.path)
            return _problem(ServerError("Internal server error; the server's log has the reason"))

    return middleware


def _allow(error: web.HTTPException) -> dict[str, str]:
    """Which methods there are instead of a wrong one."""
    allow = error.headers.get("Allow") if isinstance(error, web.HTTPMethodNotAllowed) else None
    return {"Allow": allow} if allow else {}


def _problem(error: ApiError, *, headers: dict[str, str] | None = None) -> web.Response:
    detail: Any = str(error)
    if error.problems:
        detail = [{"loc": list(each.path), "msg": each.message, "type": error.code} for each in error.problems]
    headers = {**(headers or {}), **({"WWW-Authenticate": "Bearer"} if error.status == 401 else {})}
    about = {"run_id": error.run_id} if error.run_id else {}
    return web.json_response({"detail": detail, "code": error.code, **about}, status=error.status, headers=headers)
