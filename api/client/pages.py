"""Lists that a platform answers page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from .platform import checked_count

PAGE = 100
"""Most rows that are asked for at a time."""


class _Row(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_Row)

ReadPage = Callable[[int, int], Awaitable[list[R]]]
"""The rows from an offset on, and at most so many: `await page(offset, size)`."""


WILDCARDS = frozenset("%_\\")


def is_pattern(search: str | None) -> bool:
    """Whether the hosted platform finds more than what contains these words, because it reads them as a pattern."""
    return not WILDCARDS.isdisjoint(search or "")


def contains(text: str | None, search: str | None) -> bool:
    """Whether the words are in a text, in capitals or small letters."""
    return (search or "").casefold() in (text or "").casefold()


def unique(rows: list[R]) -> list[R]:
    """The rows without repetitions, in their order."""
    return list({row.id: row for row in rows}.values())


async def read_pages(
    page: ReadPage[R],
    *,
    offset: int = 0,
    limit: int | None = None,
    keep: Callable[[R], bool] | None = None,
    page_size: Callable[[], int] = lambda: PAGE,
) -> list[R]:
    """The rows from `offset` on, `limit` at most, without repetitions; with `keep`, counted among those to keep.

    Rows may move from page to page while they are read, and a platform may ignore which page it is asked for.
    `page_size` is asked before each page: what a platform takes may show only in its first answer.
    """
    offset = checked_count(offset, name="offset")
    passed_over = offset if keep else 0
    wanted = None if limit is None else passed_over + checked_count(limit, name="limit")
    position, seen, kept = offset - passed_over, set[str](), list[R]()
    while wanted is None or len(kept) < wanted:
        size = page_size() if wanted is None or keep else min(page_size(), wanted - len(kept))
        rows = await page(position, size)
        fresh = [row for row in unique(rows) if row.id not in seen]
        seen.update(row.id for row in fresh)
        kept += [row for row in fresh if keep is None or keep(row)]
        position += len(rows)
        if len(rows) < size or not fresh:
            break
    return kept[passed_over:wanted]
