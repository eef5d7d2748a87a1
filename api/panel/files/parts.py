"""The part of a file that a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def part_of(headers: Mapping[str, str], *, size: int, etag: str) -> range | None:
    """The bytes that are asked for; none of them where there are no such, and None for the whole file.

    More than one range, and one that cannot be read, is answered with everything, as RFC 9110 allows (section 14.2);
    so is one of a file that was another one then (`If-Range`).
    """
    wanted = _RANGE.fullmatch(headers.get("Range", "").strip())
    if wanted is None or headers.get("If-Range", etag) != etag:
        return None
    first, last = wanted.groups()
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return range(min(int(first), size), min(int(last) + 1, size) if last else size)
