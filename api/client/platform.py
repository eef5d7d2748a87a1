"""The platform's API over HTTP: the API key, typed errors, retries of what is safe to repeat, answers as records."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import TypeAdapter, ValidationError

from ..errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailed,
    InvalidInput,
    NotFound,
    NotSupported,
    OutpostError,
    RateLimited,
    ServerError,
    Unavailable,
    from_response,
)
from ..models import Health, canonical_id
from ..settings import Connection
from .http import Answer, Body, Message, Wire
from .redaction import Redaction

log = logging.getLogger("outpost.client")

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[Any]]
Params = Mapping[str, str | int | float | bool | None]
"""A query string; what is None is left out."""

MAX_RETRIES = 3
LONGEST_RETRY_AFTER = 60.0
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_GATEWAY = (502, 503, 504)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for what, in seconds."""

    connect: float = 10.0
    read: float = 30.0
    """Without a byte of an answer."""
    submit: float = 120.0
    """For the answer to a POST: the hosted platform asks the machine before it answers, six times if need be."""
    sync: float = 3600.0
    """For the answer to a synchronous run, which comes at its end."""
    transfer: float = 60.0
    """Without a byte of a file moving."""
    silence: float = 60.0
    """Without a byte of a stream; our server writes at least every 15 s. Elsewhere it is time to look after the run."""
    quiet: float = 1800.0
    """Without a byte of the hosted platform's streams, which stay silent while a machine starts or a node works."""
    identify: float = 3.0
    """For the id of a run that is to be cancelled right after it was submitted."""
    cancel: float = 5.0
    """For everything that has to be done to cancel a run."""
    unreachable: float = 300.0
    """During which a platform may fail to answer before a run is given up."""
    settle: float = 60.0
    """Between the machine's last word on a run and the hosted platform's record of it, which may never come."""
    poll_first: float = 0.25
    poll_last: float = 5.0


def is_retryable(error: OutpostError, *, method: str, is_repeatable: bool = False) -> bool:
    """Whether a request may be sent again after this error, without doing anything twice.

    `is_repeatable` says that the server recognises a second sending: it has an Idempotency-Key and the server heeds it.
    """
    is_safe = method in _IDEMPOTENT or is_repeatable
    match error:
        case RateLimited():
            return (error.retry_after or 0) <= LONGEST_RETRY_AFTER
        case ConnectionFailed():
            return is_safe or not error.was_sent
        case Unavailable():
            return is_safe and (error.retry_after or 0) <= LONGEST_RETRY_AFTER
        case _:
            return False


def retry_delay(attempt: int, *, chance: float, retry_after: float | None = None) -> float:
    """Seconds to wait after attempt number `attempt`, from 1: the server's wish, else exponential with full jitter."""
    if retry_after is not None:
        return min(retry_after, LONGEST_RETRY_AFTER)
    return chance * min(8.0, 0.5 * 2 ** (attempt - 1))


def checked_id(value: str) -> str:
    """An id in its usual spelling; InvalidInput when it is none. The hosted platform answers 500 to those."""
    try:
        return canonical_id(value)
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def checked_name(value: str) -> str:
    """An id of a file, asset or key, which may have any letters and digits; InvalidInput when it is none."""
    if not _NAME.fullmatch(value):
        raise InvalidInput(f"{value[:80]!r} is not an id of the platform: it has letters, digits, _ and - only")
    return value


def checked_count(value: int, *, name: str) -> int:
    """A number of rows; InvalidInput below 0. The hosted platform answers 500 to those."""
    if value < 0:
        raise InvalidInput(f"{name} is {value} and cannot be less than 0", input_id=name)
    return value


class Platform:
    """The API of one platform.

    Everything here raises ApiError, ConnectionFailed, ConfigurationError, or, before anything is sent, InvalidInput.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        wire: Wire,
        timeouts: Timeouts,
        sleep: Sleep = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.connection = connection
        self.timeouts = timeouts
        self.is_outpost: bool | None = None
        """Whether it is a server of this package, which heeds idempotency keys and resumes streams. None: unknown."""
        self._wire = wire
        self._redaction = Redaction(connection.api_key)
        self._sleep = sleep
        self._chance = chance

    async def knows_outpost(self) -> bool:
        """Whether it is a server of this package; it is asked when nothing has been heard of it yet."""
        if self.is_outpost is None:
            with suppress(NotFound):
                await self.get("/health", Health)
        return bool(self.is_outpost)

    async def require_outpost(self, deed: str, *, instead: str) -> None:
        """Raise NotSupported on the hosted platform, before anything is sent that it would misunderstand."""
        if not await self.knows_outpost():
            raise NotSupported(f"{self.connection.origin} cannot {deed}. {instead}")

    def is_vague(self, error: ServerError) -> bool:
        """Whether it is the hosted platform's 500, which it also answers to what does not exist."""
        return error.status == 500 and not self.is_outpost

    async def get(self, path: str, kind: type[T], *, params: Params | None = None) -> T:
        """Read something."""
        return await self._record("GET", _with_query(path, params), kind)

    async def post(
        self,
        path: str,
        kind: type[T],
        *,
        json: Mapping[str, Any] | None = None,  # the body's values are the caller's
        params: Params | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        read: float | None = None,
        idempotency_key: str | None = None,
    ) -> T:
        """Do something, once: with a key, a server of this package recognises a second sending."""
        if json is not None:
            body = json_body(json)
        headers = {"Content-Type": content_type} if body else {}
        headers |= {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        path, read, is_keyed = _with_query(path, params), read or self.timeouts.submit, idempotency_key is not None
        return await self._record("POST", path, kind, headers=headers, body=body, read=read, is_keyed=is_keyed)

    async def patch(self, path: str, kind: type[T], *, json: Mapping[str, Any]) -> T:
        """Change something, once."""
        headers = {"Content-Type": "application/json"}
        return await self._record("PATCH", path, kind, headers=headers, body=json_body(json), read=self.timeouts.submit)

    async def delete(self, path: str, *, params: Params | None = None) -> None:
        """Delete something. It may be gone when a request is repeated whose answer was lost; that is no error."""
        was_sent = False

        async def exchange() -> None:
            nonlocal was_sent
            try:
                await self._exchange("DELETE", _with_query(path, params), read=self.timeouts.submit)
            except ConnectionFailed as error:
                was_sent = was_sent or error.was_sent
                raise
            except NotFound:
                if not was_sent:
                    raise

        await self._retrying(exchange, method="DELETE")

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncGenerator[AsyncGenerator[Message, None], None]:
        """The server-sent events of an answer, while it is open."""
        body = json_body(json) if json is not None else None
        sent = {"Accept": "text/event-stream", "Cache-Control": "no-store", **(headers or {})}
        sent |= {"Content-Type": "application/json"} if body else {}
        sent |= {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        read = self.timeouts.silence if self.is_outpost else self.timeouts.quiet
        async with AsyncExitStack() as stack:

            async def open_() -> AsyncGenerator[Message, None]:
                answer = await self._accepted(method, path, stack, headers=sent, body=body, read=read)
                if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                    raise _wrong_shape(method, path, "an event stream")
                return self._redacted(answer.messages())

            messages = await self._retrying(open_, method=method, is_keyed=idempotency_key is not None)
            yield await stack.enter_async_context(aclosing(messages))

    async def _record(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        read: float | None = None,
        is_keyed: bool = False,
    ) -> T:
        async def exchange() -> bytes:
            return await self._exchange(method, path, headers=headers, body=body, read=read or self.timeouts.read)

        data = await self._retrying(exchange, method=method, is_keyed=is_keyed)
        try:
            return TypeAdapter(kind).validate_json(data)
        except ValidationError as error:
            # The error would quote the answer, in which there may be presigned URLs.
            where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise _wrong_shape(method, path, f"what it should, at {where!r}" if where else "JSON") from None

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        read: float,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> bytes:
        """One request, and the body of the answer if it is a good one."""
        sent = {"Accept": "application/json", **(headers or {})}
        async with AsyncExitStack() as stack:
            answer = await self._accepted(method, path, stack, headers=sent, body=body, read=read)
            return self._redaction.of_answer(await answer.read())

    async def _redacted(self, messages: AsyncGenerator[Message, None]) -> AsyncGenerator[Message, None]:
        async with aclosing(messages):
            async for message in messages:
                yield message._replace(data=self._redaction.of_answer(message.data.encode()).decode())

    async def _accepted(
        self,
        method: str,
        path: str,
        stack: AsyncExitStack,
        *,
        headers: Mapping[str, str],
        body: Body | None,
        read: float,
    ) -> Answer:
        """The answer, open until the stack closes it, if it is a good one; else the error in it."""
        answer = await stack.enter_async_context(
            self._wire.exchange(
                method,
                self.connection.api_root + path,
                headers={**headers, "Authorization": f"Bearer {self.connection.api_key}"},
                body=body,
                read=read,
            )
        )
        self._recognise(answer)
        if 200 <= answer.status < 300:
            return answer
        if 300 <= answer.status < 400:
            raise _redirected(self.connection, answer)
        reason = self._redaction.of_error(await answer.excerpt())
        await stack.aclose()
        asked, origin = path.partition("?")[0], self.connection.origin
        raise from_response(answer.status, reason, method=method, path=asked, headers=answer.headers, origin=origin)

    def _recognise(self, answer: Answer) -> None:
        if "outpost-version" in answer.headers:
            self.is_outpost = True
        elif self.is_outpost is None and answer.status not in _GATEWAY:
            self.is_outpost = False  # A gateway that fails says nothing about who is behind it.

    async def _retrying(self, exchange: Callable[[], Awaitable[T]], *, method: str, is_keyed: bool = False) -> T:
        attempt, was_sent = 0, False
        while True:
            attempt += 1
            try:
                return await exchange()
            except (ApiError, ConnectionFailed) as error:
                if isinstance(error, ConnectionFailed):
                    error.was_sent = was_sent = was_sent or error.was_sent
                is_repeatable = is_keyed and bool(self.is_outpost)
                if attempt > MAX_RETRIES or not is_retryable(error, method=method, is_repeatable=is_repeatable):
                    raise
                retry_after = error.retry_after if isinstance(error, ApiError) else None
            await self.pause(attempt, retry_after=retry_after)

    async def pause(self, attempt: int, *, retry_after: float | None = None) -> None:
        """Wait before trying again, after attempt number `attempt`."""
        await self._sleep(retry_delay(attempt, chance=self._chance(), retry_after=retry_after))


def _with_query(path: str, params: Params | None) -> str:
    given = {name: value for name, value in (params or {}).items() if value is not None}
    spelled = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    return f"{path}?{urlencode(spelled)}" if spelled else path


def json_text(data: Mapping[str, Any]) -> str:
    """JSON in a text; InvalidInput for what JSON cannot say."""
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        raise InvalidInput(
            "A value cannot be sent as JSON: only texts, finite numbers, booleans and lists can"
        ) from None


def json_body(data: Mapping[str, Any]) -> Body:
    """JSON to be sent; InvalidInput for what JSON cannot say."""
    return Body.of(json_text(data).encode())


def _redirected(connection: Connection, answer: Answer) -> ConfigurationError:
    """What to set instead of a base URL that redirects. The key is not sent after a redirect."""
    target = urlsplit(answer.headers.get("location", ""))
    place = f"{target.scheme}://{target.hostname}" + (f":{target.port}" if target.port else "")
    advice = (
        f"Set the base URL to {place}" if target.hostname and place != connection.origin else "Correct the base URL"
    )
    return ConfigurationError(f"{connection.base_url} redirects, and the API key is not sent after it. {advice}.")


def _wrong_shape(method: str, path: str, expected: str) -> ServerError:
    path = path.partition("?")[0]
    return ServerError(
        f"The answer to {method} {path} is not {expected}. Is the base URL that of the platform's API?", status=502
    )
