"""What a person sees of a run while it goes on: a share of the work done and a line of text, from its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..api.events import (
    LiveStatus,
    NodeProgress,
    NodesProgress,
    NodeStarted,
    Phase,
    RunEvent,
    StatusChanged,
)
from ..api.models import Deployment, RunStatus
from ..api.shapes import is_object

PHASE_TEXTS = {
    "queuing": "queued",
    "gpu_ready": "the GPU is ready",
    "comfyui_api_ready": "ComfyUI is starting",
    "comfyui_ready": "ComfyUI is ready",
}
_WAITING = (RunStatus.NOT_STARTED, RunStatus.QUEUED)
MAX_TITLE = 60
"""Characters of a node's title that are shown."""


def node_titles(deployment: Deployment | None) -> dict[str, str]:
    """All nodes of a deployment's graph, in order: id to what whoever made it calls the node, which may be nothing."""
    graph = (deployment and deployment.version and deployment.version.workflow_api) or {}
    return {node_id: _title(node) for node_id, node in graph.items()}


def _title(node: object) -> str:
    meta = node.get("_meta") if is_object(node) else None
    title = meta.get("title") if is_object(meta) else None
    return title[:MAX_TITLE] if isinstance(title, str) else ""


class RunProgress:
    """Follows one run. `node_count` is how many nodes its graph has, 0 when unknown; `titles` are theirs, by id."""

    def __init__(
        self,
        node_count: int,
        *,
        show: Callable[[float, str], None],
        clock: Callable[[], float],
        titles: Mapping[str, str] | None = None,
    ) -> None:
        self._node_count = node_count
        self._titles = titles or {}
        self._title = ""
        self._is_waiting = False
        self._reason = ""
        self._behind = 0
        self._show = show
        self._clock = clock
        self._share = 0.0
        self._base = 0.0
        self._text = ""
        self._begun = clock()
        self.seconds: dict[str, float] = {}
        """How long the run waited (`queue`) and worked (`run`)."""

    def on_event(self, event: RunEvent) -> None:
        """Take note of an event and show what it changes."""
        share, text = self._share, self._text
        match event:
            case StatusChanged(_, status):
                self._note(status)
                self._is_waiting, self._reason = status in _WAITING, ""
                text = status.value
            case Phase(name) if name in PHASE_TEXTS:
                text = PHASE_TEXTS[name]
            case NodeStarted(_, node_id):
                self._title = self._titles.get(node_id or "", "")
                return
            case LiveStatus(_, live_text, live_share):
                share, text = live_share, self._titled(live_text)
                self._reason = text if self._is_waiting else ""
            # What a custom node sends need not be numbers, and must not end the run.
            case NodeProgress(_, _, int() | float() as value, int() | float() as maximum) if (
                maximum and self._node_count
            ):
                share = self._base + min(1.0, value / maximum) / self._node_count
            case NodesProgress(_, nodes) if self._node_count:
                share = sum(nodes.values()) / self._node_count
            case _:
                return
        self._update(share, text, is_base=isinstance(event, LiveStatus))

    def wait_behind(self, count: int) -> None:
        """Show how many other runs come before one that waits, and what it waits for where that is known."""
        if self._is_waiting:
            if count < self._behind:
                self._reason = ""  # somebody takes runs again
            self._behind = count
            runs = "run" if count == 1 else "runs"
            place = f"queued behind {count} other {runs}" if count else "queued, next"
            self._update(self._share, f"{place} · {self._reason}" if self._reason else place, is_base=False)

    def _titled(self, text: str) -> str:
        """What the machine does, with the title of its node where that says more than the node's class."""
        return f"{text} ({self._title})" if self._title and self._title not in text else text

    def _update(self, share: float, text: str, *, is_base: bool) -> None:
        # Shares come from different messages that do not agree to the last digit; what is shown never goes back.
        self._share = max(self._share, min(share, 1.0))
        self._base = self._share if is_base else self._base
        self._text = text
        self._show(self._share, text)

    def _note(self, status: RunStatus) -> None:
        now = self._clock()
        if status in (RunStatus.STARTED, RunStatus.RUNNING) and "queue" not in self.seconds:
            self.seconds["queue"], self._begun = now - self._begun, now
        if status.is_terminal:
            self.seconds["run"] = now - self._begun
