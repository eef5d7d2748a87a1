"""What is asked of the stream of an account's events."""

from __future__ import annotations

from .records import Record


class EventQuery(Record):
    """Which events to tell."""

    previews: bool = False
    """Whether to tell what samplers have so far, of runs that were asked for with `preview_images`."""
