"""What of an object a request asks for: all, a range of bytes, or nothing because the client has it already."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from .objects import Stored


@dataclass(frozen=True)
class Choice:
    """How a request for an object is answered."""

    status: int
    """200, 206, 304, 412 or 416."""
    part: range | None = None
    """The bytes to send; None for an answer without any."""
    headers: dict[str, str] = field(default_factory=dict[str, str])


def choose(request: web.Request, stored: Stored) -> Choice:
    """The answer that the headers of a request want; RFC 9110, sections 13 and 14."""
    if _has_changed(request, stored):
        return Choice(412)
    if _is_known(request, stored):
        return Choice(304)
    accepts = {"Accept-Ranges": "bytes"}
    if not _range_counts(request, stored):
        return Choice(200, range(stored.size), accepts | {"Content-Length": str(stored.size)})
    part = _part(request, stored.size)
    if not part:
        return Choice(416, None, accepts | {"Content-Range": f"bytes */{stored.size}"})
    where = {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{stored.size}"}
    return Choice(206, part, accepts | where | {"Content-Length": str(len(part))})


def _part(request: web.Request, size: int) -> range:
    """The bytes of the header Range; none when it cannot be read, or names none that there are."""
    try:
        wanted = request.http_range
    except ValueError:
        return range(0)
    return range(size)[wanted]


def _range_counts(request: web.Request, stored: Stored) -> bool:
    """Whether there is a Range, and it is one of the object as it is now."""
    if "Range" not in request.headers:
        return False
    known = request.headers.get("If-Range")
    if known is None:
        return True
    date = request.if_range
    return known == stored.etag or (date is not None and stored.modified <= date)


def _has_changed(request: web.Request, stored: Stored) -> bool:
    if (wanted := request.if_match) is not None:
        return not any(each.value == "*" or f'"{each.value}"' == stored.etag for each in wanted if not each.is_weak)
    return (date := request.if_unmodified_since) is not None and stored.modified > date


def _is_known(request: web.Request, stored: Stored) -> bool:
    if (known := request.if_none_match) is not None:
        return any(each.value == "*" or f'"{each.value}"' == stored.etag for each in known)
    return (date := request.if_modified_since) is not None and stored.modified <= date
