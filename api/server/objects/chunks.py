"""The bytes of an upload on their way: counted, and joined to pieces that are worth a trip."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from ...errors import BadRequest, TooLarge

PIECE_BYTES = 1024 * 1024


class Counted:
    """Chunks that fail when there are more or fewer bytes than there may be. `size` is exact, `max_size` a limit."""

    def __init__(self, chunks: AsyncIterable[bytes], *, size: int | None, max_size: int | None) -> None:
        self._chunks = chunks
        self._size = size
        self._limit = size if size is not None else max_size
        self.written = 0
        """Bytes so far."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.written += len(chunk)
            if self._limit is not None and self.written > self._limit:
                raise TooLarge(f"There are more than the {self._limit} bytes that are allowed")
            yield chunk
        if self._size is not None and self.written < self._size:
            raise BadRequest(f"{self.written} bytes arrived of the {self._size} that were announced; nothing was kept")


async def in_pieces(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least PIECE_BYTES; the last may be shorter."""
    waiting: list[bytes] = []
    length = 0
    async for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)
