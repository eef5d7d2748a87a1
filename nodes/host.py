"""ComfyUI, as far as the nodes need it. The only module that imports its `comfy`, `server` and `execution`.

ComfyUI's versions differ: which function exists is looked up where it is needed. ComfyUI waits for this module at its
start, so whatever takes time to load is loaded by the first execution of a node.
"""

# ComfyUI's modules are there only inside ComfyUI, and have no types.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from ..api.client import Client, ContentCache

PROGRESS_STEPS = 1000


@functools.lru_cache(maxsize=1)
def contents() -> ContentCache:
    """What has been uploaded, for all prompts of this ComfyUI: each prompt has its own event loop and client."""
    from ..api.client import ContentCache

    return ContentCache()


def client() -> Client:
    """A client for one execution of a node, with the connection that is set up on this computer."""
    from ..api.client import Client
    from ..api.settings import load_connection

    return Client(load_connection(), contents=contents())


class Node:
    """The node that is being executed. `unique_id` is its id in the prompt, `5:3` inside a subgraph."""

    def __init__(self, unique_id: str) -> None:
        import comfy.model_management
        import comfy.utils

        self._unique_id = unique_id
        self._management = comfy.model_management
        self._interrupt: Exception | None = None
        self._done = 0
        takes_node_id = "node_id" in inspect.signature(comfy.utils.ProgressBar.__init__).parameters
        options = {"node_id": unique_id} if takes_node_id else {}
        self._bar = comfy.utils.ProgressBar(PROGRESS_STEPS, **options)

    @property
    def prompt_id(self) -> str | None:
        """The id of the prompt that is being executed; None where this ComfyUI does not tell."""
        try:
            from comfy_execution.utils import get_executing_context
        except ImportError:
            pass  # before 0.3.45
        else:
            if context := get_executing_context():
                return str(context.prompt_id)
        from server import PromptServer

        at_work = list(getattr(PromptServer.instance.prompt_queue, "currently_running", {}).values())
        return str(at_work[0][1]) if len(at_work) == 1 else None

    def progress(self, share: float) -> None:
        """Show how much is done, 0 to 1."""
        self._done = round(share * PROGRESS_STEPS)
        self._show()

    def preview(self, picture: Image.Image) -> None:
        """Show a picture on the node, in place of the one before."""
        self._show(("JPEG", picture, None))  # no size to be scaled to: it has been

    def _show(self, preview: tuple[str, Image.Image, int | None] | None = None) -> None:
        try:
            self._bar.update_absolute(self._done, PROGRESS_STEPS, preview)
        except self._management.InterruptProcessingException as interrupt:
            self._interrupt = interrupt  # raising it takes ComfyUI's flag away, so it is kept for the next check

    def text(self, text: str) -> None:
        """Show a line on the node, where this ComfyUI can (from 0.3.34)."""
        from server import PromptServer

        if send := getattr(PromptServer.instance, "send_progress_text", None):
            send(text, self._unique_id)

    def check_interrupted(self) -> None:
        """Raise ComfyUI's InterruptProcessingException when its user has pressed the button."""
        if self._interrupt:
            raise self._interrupt
        self._management.throw_exception_if_processing_interrupted()


def blocked(message: str) -> Any:
    """What stands on an output that has nothing to give: ComfyUI tells the message to whoever is connected to it."""
    try:
        from comfy_execution.graph_utils import ExecutionBlocker
    except ImportError:
        return None  # before 0.1: a node that is connected there gets nothing and says so itself
    return ExecutionBlocker(message)


def awaited(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """A node's function as this ComfyUI wants it: before 0.3.45 coroutines are not awaited, so it gets a plain one."""
    execution = sys.modules.get("execution")
    if inspect.iscoroutinefunction(getattr(execution, "get_output_data", None)):
        return function

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return run
