"""When a node that gives the URLs of files has to be executed again, although its inputs are as they were."""

from __future__ import annotations

from . import host
from .given_files import given_files


def url_state(unique_id: str, output: int) -> str:
    """Another text than before when what a node gave cannot be read any more, or its output of URLs is wanted only now.

    It is what the node's IS_CHANGED gives to ComfyUI.
    """
    wanted = "with URL" if host.is_wanted(unique_id, output) else "without URL"
    losses = given_files().losses(unique_id, with_url=host.is_linked(unique_id, output))
    return f"{wanted}, {losses} times lost" if losses else wanted
