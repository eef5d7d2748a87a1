"""Every error this package raises on purpose. The server raises the same classes that the client gets back.

OutpostError
├── ConfigurationError        something is not set up, or what is stored of it cannot be used
│   └── NoConnection          no platform is set up at all
├── InvalidInput              a value was refused before anything was sent; names the input
│   └── UnsupportedMedia      bytes or a value that cannot be read as, or written as, their media
├── NotSupported              this platform cannot do that; the message says what to do instead
├── ConnectionFailed          the platform could not be reached, or went away in the middle of an answer
├── TransferError             a file did not arrive whole
│   ├── UrlExpired            the storage refused the URL: it has expired or was changed
│   └── SizeLimitExceeded     there were more bytes than the caller allowed
├── ApiError                  the platform answered with an error; carries `status`, `code` and `problems`
│   ├── BadRequest            400: the request makes no sense to the platform
│   ├── Unauthorized          401: the API key is missing, wrong or revoked
│   ├── PaymentRequired       402: the plan or something that depends on it forbids this
│   ├── Forbidden             403: the key is valid and not allowed to do this
│   ├── NotFound              404: no such thing, or it belongs to somebody else
│   ├── Conflict              409: not possible in the thing's present state
│   ├── TooLarge              413: more bytes than the platform accepts; the message names the limit
│   ├── Unprocessable         422: something in the request is wrong; `problems` has the path and the reason
│   ├── RateLimited           429: too many requests; `retry_after` in seconds where the platform said so
│   └── ServerError           5xx: the platform failed
│       └── Unavailable       502, 503, 504: it is not able to answer at the moment
└── RunError                  a run ended without success; carries `run_id`
    ├── RunFailed             the machine reported an error; `failure` has the node and the message
    ├── RunCancelled          somebody cancelled the run
    ├── RunTimedOut           the platform gave up on the run
    ├── RunDeadlineExceeded   the caller's own deadline passed; the run may still be going
    └── RunLost               the platform never told the run's id, or forgot the run
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .shapes import is_array, is_object

if TYPE_CHECKING:
    from .models import Failure

MAX_QUOTED = 200
"""Characters of somebody else's text that a message may quote."""
_MAX_LOOKED_AT = 50 * MAX_QUOTED  # it may be megabytes


class OutpostError(Exception):
    """Base of every error that this package raises on purpose."""

    # ComfyUI names modules by their files, and keeps an error's full name in its history, which is no place for a path.
    __module__ = "comfyui_outpost.api.errors"

    def __init_subclass__(cls) -> None:
        cls.__module__ = OutpostError.__module__

    code: ClassVar[str] = "error"
    """Stable name of the kind of error, for programs; `detail` is for people and may change."""


class ConfigurationError(OutpostError):
    """Something that has to be set up is not, or what is stored of it cannot be used."""

    code = "configuration"


class NoConnection(ConfigurationError):
    """No platform is set up at all."""

    code = "no_connection"


class InvalidInput(OutpostError):
    """A value was refused before anything was sent."""

    code = "invalid_input"

    def __init__(self, message: str, *, input_id: str | None = None) -> None:
        super().__init__(message)
        self.input_id = input_id


class UnsupportedMedia(InvalidInput):
    """Bytes or a value that cannot be read as, or written as, an image, a sound, a video or another kind of media."""

    code = "unsupported_media"


class NotSupported(OutpostError):
    """This platform cannot do that, and nothing was sent; the message says what to do instead."""

    code = "not_supported"


class ConnectionFailed(OutpostError):
    """The platform could not be reached, or went away in the middle of an answer.

    `was_sent` tells whether the request may have reached it.
    """

    code = "connection_failed"

    def __init__(self, message: str, *, was_sent: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class TransferError(OutpostError):
    """A file did not arrive whole."""

    code = "transfer_failed"


class UrlExpired(TransferError):
    """The storage refused the URL: it has expired or was changed."""

    code = "url_expired"


class SizeLimitExceeded(TransferError):
    """There were more bytes than the caller allowed."""

    code = "size_limit"


@dataclass(frozen=True)
class Problem:
    """One wrong field of a request."""

    path: tuple[str, ...]
    """Where it is, from the outside in: `("body", "inputs", "size")`. A name may have dots of its own."""
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.message}" if self.path else self.message

    def in_form(self) -> str:
        """Without the part of the request that the field is in, of which a person knows nothing."""
        return str(Problem(self.path[1:], self.message))


class ApiError(OutpostError):
    """The platform answered with an error."""

    status: int = 500
    code = "api_error"

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        retry_after: float | None = None,
        status: int | None = None,
        run_id: str | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason or message
        """What is wrong, for somebody who has filled in a form and made no request."""
        self.problems = tuple(problems)
        self.retry_after = retry_after
        self.run_id = run_id
        """The run that the error is about, where the platform named one."""
        if status is not None:
            self.status = status


class BadRequest(ApiError):
    """The request makes no sense to the platform."""

    status = 400
    code = "bad_request"


class Unauthorized(ApiError):
    """The API key is missing, wrong or revoked."""

    status = 401
    code = "unauthorized"


class PaymentRequired(ApiError):
    """The plan, or something that depends on it, forbids this."""

    status = 402
    code = "payment_required"


class Forbidden(ApiError):
    """The key is valid and not allowed to do this."""

    status = 403
    code = "forbidden"


class NotFound(ApiError):
    """No such thing, or it belongs to somebody else."""

    status = 404
    code = "not_found"


class Conflict(ApiError):
    """Not possible in the thing's present state."""

    status = 409
    code = "conflict"


class TooLarge(ApiError):
    """More bytes than the platform accepts; the message names the limit."""

    status = 413
    code = "too_large"


class Unprocessable(ApiError):
    """A field is wrong: `detail` is then a list with the place (`loc`) and the reason (`msg`) of each.

    In Python they are in `problems`.
    """

    status = 422
    code = "unprocessable"


class RateLimited(ApiError):
    """Too many requests; `retry_after` is in seconds where the platform said so."""

    status = 429
    code = "rate_limited"


class ServerError(ApiError):
    """The platform failed."""

    status = 500
    code = "server_error"


class Unavailable(ServerError):
    """The platform is not able to answer at the moment."""

    status = 503
    code = "unavailable"


class RunError(OutpostError):
    """A run ended without success."""

    code = "run_error"

    def __init__(self, message: str, *, run_id: str | None, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.failure = failure


class RunFailed(RunError):
    """The machine reported an error; `failure` has the node and the message where the platform told them."""

    code = "run_failed"


class RunCancelled(RunError):
    """Somebody cancelled the run."""

    code = "run_cancelled"


class RunTimedOut(RunError):
    """The platform gave up on the run."""

    code = "run_timed_out"


class RunDeadlineExceeded(RunError):
    """The caller's own deadline passed; the run may still be going."""

    code = "run_deadline"


class RunLost(RunError):
    """The platform never told the run's id, or forgot the run."""

    code = "run_lost"


_API_ERRORS: tuple[type[ApiError], ...] = (
    BadRequest,
    Unauthorized,
    PaymentRequired,
    Forbidden,
    NotFound,
    Conflict,
    TooLarge,
    Unprocessable,
    RateLimited,
    ServerError,
    Unavailable,
)
_BY_STATUS = {error.status: error for error in _API_ERRORS} | {502: Unavailable, 504: Unavailable}

_QUERY = re.compile(r"(?<=[\w/])\?[^\s'\"]*=[^\s'\"]*")

# The hosted platform reports some of its own 404 and 400 as "Internal server error: 404: Machine not found", and others
# as what its database said: (words of the answer, the status that is meant, what to tell).
_STATUS_INSIDE_500 = re.compile(r"\b(4\d\d): (.+)", re.DOTALL)
_DATABASE_INSIDE_500 = (
    ("ForeignKeyViolationError", 404, "Something that the request names does not exist"),
    ("UniqueViolationError", 409, "There is one already, and there can be only one"),
    ("InvalidTextRepresentationError", 400, "A value of the request is none of those that are possible"),
    ("asyncpg.exceptions.DataError", 400, "A value of the request has the wrong form"),
)


def from_response(
    status: int, body: bytes, *, method: str, path: str, headers: Mapping[str, str] | None = None, origin: str = ""
) -> ApiError:
    """The typed error for an answer, whichever of the platform's four shapes of error body it has.

    `path` is quoted in the message, so it must carry no query string and no signature. `origin`: the platform that was
    asked, which is named where it has not found something.
    """
    data = _parsed(body)
    detail, problems = _detail(data)
    if status == 500:
        status, detail = _meaning_of_500(detail)
    run_id = data.get("run_id") if is_object(data) else None
    # Words of the platform itself, and not of a proxy in front of it, of which one has to know what they answer.
    is_platforms = is_object(data) and status in _BY_STATUS
    # A bare "Not Found" is said of a path that there is nowhere.
    may_be_elsewhere = origin and is_platforms and status == 404 and detail != "Not Found"
    place = f" at {origin}; another connection may have it" if may_be_elsewhere else ""
    error = _BY_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    return error(
        f"{quote(detail) or 'no reason was given'} ({method} {path} answered {status}{place})",
        reason=quote("; ".join(problem.in_form() for problem in problems) or detail) if is_platforms else "",
        problems=problems,
        retry_after=_seconds((headers or {}).get("retry-after")),
        status=status,
        run_id=run_id if isinstance(run_id, str) else None,
    )


def quote(text: str) -> str:
    """Somebody else's text on one line, without the secrets of URLs, cut to a length that fits into a message."""
    # What follows the ? of a URL may be a signature, which is a permission.
    line = _QUERY.sub("?…", " ".join(text[:_MAX_LOOKED_AT].split()))
    is_whole = len(line) <= MAX_QUOTED and len(text) <= _MAX_LOOKED_AT
    return line if is_whole else line[: MAX_QUOTED - 1].removesuffix("…") + "…"


def _parsed(body: bytes) -> Any:
    """JSON, or else the text."""
    text = body.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return "" if text.lstrip().startswith("<") else text


def _detail(data: Any) -> tuple[str, list[Problem]]:
    """The reason in `{"detail": text}`, `{"detail": [fields]}`, `{"error": text}`, or plain text."""
    if not is_object(data):
        return (data if isinstance(data, str) else json.dumps(data)), []
    detail = data.get("detail", data.get("error", ""))
    if is_array(detail):
        problems = [_problem(item) for item in detail]
        return "; ".join(map(str, problems)), problems
    return (detail if isinstance(detail, str) else json.dumps(detail)), []


def _meaning_of_500(detail: str) -> tuple[int, str]:
    """The status and the reason that the hosted platform means by an internal error, which may be that it is one."""
    for words, status, meaning in _DATABASE_INSIDE_500:
        if words in detail:
            return status, meaning
    inside = _STATUS_INSIDE_500.search(detail)
    return (int(inside[1]), inside[2]) if inside else (500, detail)


def _problem(item: Any) -> Problem:
    if not is_object(item):
        return Problem((), str(item))
    location = item.get("loc")
    path = tuple(str(part) for part in location) if is_array(location) else ()
    return Problem(path, str(item.get("msg", "is not valid")))


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds. The form with a date is not used by the platforms and counts as absent."""
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
