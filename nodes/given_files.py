"""What the upload nodes of this ComfyUI have given, so that they are executed again when it can no longer be read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .remote_files import RemoteFile


def utc_now() -> datetime:
    """The time."""
    return datetime.now(timezone.utc)


class GivenFiles:
    """The files that each node has given last, and how often what it gave was lost."""

    def __init__(self, *, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._files: dict[str, Sequence[RemoteFile]] = {}
        self._losses: dict[str, int] = {}

    def give(self, node_id: str, files: Sequence[RemoteFile]) -> None:
        """Remember what a node has given, in place of what it gave before."""
        self._files[node_id] = files

    def losses(self, node_id: str, *, with_url: bool) -> int:
        """Another number than before when a file that the node has given is lost, or a URL that is used has expired.

        The file itself outlives its URL: a new one is asked for where it is used.
        """
        files, now = self._files.get(node_id, ()), self._now()
        if any(file.fate.is_lost or (with_url and file.has_expired(now)) for file in files):
            self._losses[node_id] = self._losses.get(node_id, 0) + 1
            self._files[node_id] = ()
        return self._losses.get(node_id, 0)


@functools.lru_cache(maxsize=1)
def given_files() -> GivenFiles:
    """Those of this ComfyUI: its prompts come one after the other."""
    return GivenFiles()
