"""ComfyUI, as far as the nodes need it. The only module that imports its modules.

ComfyUI's versions differ: which function exists is looked up where it is needed. ComfyUI waits for this module at its
start, so whatever takes time to load is loaded by the first execution of a node.
"""

# ComfyUI's modules are there only inside ComfyUI, and have no types.
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import atexit
import functools
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from PIL import Image

    from ..api.client import Client, ContentCache
    from ..api.panel.connections.here import Here
    from .open_runs import OpenRuns, PromptState

T = TypeVar("T")

PROGRESS_STEPS = 1000
ON_CLOSE_SETTING = "Outpost.OnClose"
TEXT_EVENT = "outpost.text"
"""Tells our part of the page what to show on a node, where ComfyUI itself cannot."""
IS_MACHINE = "OUTPOST_IS_MACHINE" in os.environ
"""Whether this ComfyUI was started by a platform that another one has started: it starts no further one."""
_SAME_FOR_BOTH = re.compile(
    "base_directory|input_directory|models_directory|extra_model_paths_config|(whitelist|disable_all)_custom_nodes|"
    "cpu|cpu_vae|cuda_device|default_device|directml|oneapi_device_selector|deterministic|fast|supports_fp8_compute|"
    "(disable_)?cuda_malloc|(fp|bf)[0-9].*|force_.*|dont_upcast_attention|use_.*|.*vram|disable_(xformers|smart_memory|"
    "ipex_optimize|pinned_memory|dynamic_vram|mmap|api_nodes)|gpu_only|async_offload|mmap_torch_files|front_end_root"
)
"""ComfyUI's arguments that say which models, nodes and devices there are, by their names in its parser."""


@functools.lru_cache(maxsize=1)
def contents() -> ContentCache:
    """What has been uploaded, for all prompts of this ComfyUI: each prompt has its own event loop and client."""
    from ..api.client import ContentCache

    return ContentCache()


def client() -> Client:
    """A client for one execution of a node, with the connection that is set up on this computer.

    Where that is the platform that ComfyUI starts itself, it runs afterwards.
    """
    from ..api.client import Client
    from ..api.settings import load_connection

    return Client(load_connection() if IS_MACHINE else here().connection(), contents=contents())


@functools.lru_cache(maxsize=1)
def here() -> Here:
    """The platform that this ComfyUI can start on this computer. It ends with ComfyUI's process."""
    from ..api.panel.connections.here import Here

    return Here(folder=_own_folder, arguments=_own_arguments)


@functools.lru_cache(maxsize=1)
def open_runs() -> OpenRuns:
    """The runs that the prompts of this ComfyUI have submitted and that nobody has seen the end of."""
    from .cancelling import cancel_runs
    from .open_runs import OpenRuns

    runs = OpenRuns(state_of=prompt_state, cancel=functools.partial(cancel_runs, client))
    atexit.register(lambda: runs.close(cancels=bool(runs.run_ids) and on_close() == "cancel"))
    return runs


def prompt_state(prompt_id: str) -> PromptState:
    """How it stands with a prompt. One that was removed from the history counts as one that ended well."""
    from comfy.model_management import processing_interrupted
    from server import PromptServer

    from .open_runs import PromptState

    queue = PromptServer.instance.prompt_queue
    running = {str(item[1]) for item in list(queue.currently_running.values())}
    if prompt_id in running:
        is_interrupted = len(running) == 1 and processing_interrupted()
        return PromptState.INTERRUPTED if is_interrupted else PromptState.RUNNING
    record = queue.get_history(prompt_id=prompt_id).get(prompt_id) or {}
    status = record.get("status") or {}
    if status.get("status_str") != "error":
        return PromptState.ENDED
    names = [message[0] for message in status.get("messages") or ()]
    return PromptState.INTERRUPTED if "execution_interrupted" in names else PromptState.FAILED


def on_close() -> str:
    """What becomes of open runs when ComfyUI closes, `leave` or `cancel`: OUTPOST_ON_CLOSE, else the page's setting.

    Closing means that Python comes to its regular end: Ctrl+C in ComfyUI's console, or a restart by its manager. A
    ComfyUI that is killed, also by the SIGTERM of `docker stop`, `systemctl stop` or `kill`, cancels nothing: its runs
    go on, their ids are in its log, and Wait For Runs collects them. Stop it with SIGINT (`docker stop -s INT`, or
    `KillSignal=SIGINT` in a systemd unit) to have them cancelled.

    Where several people use one ComfyUI, the setting of its default user counts.
    """
    if chosen := os.environ.get("OUTPOST_ON_CLOSE"):
        return chosen
    import folder_paths

    file = Path(folder_paths.user_directory) / "default" / "comfy.settings.json"
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "leave"
    return str(settings.get(ON_CLOSE_SETTING, "leave")) if isinstance(settings, dict) else "leave"


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

    @property
    def folder(self) -> Path:
        """Where files that a run has put out are kept; ComfyUI empties it at its next start."""
        return temporary_folder()

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
        """Show a line on the node: ComfyUI does from 0.3.34, before that our part of the page."""
        from server import PromptServer

        server = PromptServer.instance
        if send := getattr(server, "send_progress_text", None):
            send(text, self._unique_id)
        else:
            server.send_sync(TEXT_EVENT, {"node": self._unique_id, "text": text}, server.client_id)

    def check_interrupted(self) -> None:
        """Raise ComfyUI's InterruptProcessingException when its user has pressed the button."""
        if self._interrupt:
            raise self._interrupt
        self._management.throw_exception_if_processing_interrupted()

    async def interruptible(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, which is cancelled when ComfyUI's user has pressed the button."""
        from .waiting import interruptible

        return await interruptible(self.check_interrupted, coroutine)


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


def video(path: Path) -> Any:
    """A VIDEO of a file: ComfyUI's own where it has one (from 0.3.30), else ours with the same methods."""
    try:
        from comfy_api.input_impl import VideoFromFile
    except ImportError:
        from .media.video import VideoFile as VideoFromFile
    return VideoFromFile(str(path))


def input_folder() -> Path:
    """Where ComfyUI keeps the files that its user has brought."""
    import folder_paths

    return Path(folder_paths.get_input_directory())


def output_folder() -> Path:
    """Where ComfyUI keeps the files that its nodes have made."""
    import folder_paths

    return Path(folder_paths.get_output_directory())


def temporary_folder() -> Path:
    """Where files are kept that ComfyUI deletes at its next start."""
    import folder_paths

    return Path(folder_paths.get_temp_directory()) / "outpost"


def model_names(folder: str) -> list[str]:
    """The files that ComfyUI has in one of its model folders, such as `loras`; none where it knows no such folder."""
    import folder_paths

    return list(folder_paths.get_filename_list(folder)) if folder in folder_paths.folder_names_and_paths else []


def input_files() -> list[str]:
    """The names of the files directly in ComfyUI's input folder."""
    folder = input_folder()
    return sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []


def next_output(prefix: str, width: int = 0, height: int = 0) -> tuple[Path, str, int, str]:
    """Where ComfyUI would save next: folder, beginning of the filename, number, subfolder.

    The prefix may have %year% and the like.
    """
    import folder_paths

    folder, name, number, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory(), width, height
    )
    return Path(folder), name, number, subfolder


def scaled(images: Any, width: int, height: int) -> Any:
    """Images `[B, H, W, C]` in another size, scaled as ComfyUI does it."""
    import comfy.utils

    return comfy.utils.common_upscale(images.movedim(-1, 1), width, height, "lanczos", "center").movedim(1, -1)


def writes_metadata() -> bool:
    """Whether this ComfyUI writes the graph into the images that it saves."""
    from comfy.cli_args import args

    return not args.disable_metadata


def answer_page() -> None:
    """Let ComfyUI's server answer our part of its page. Outside of ComfyUI there is none."""
    from ..api import panel

    if server := getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None):
        comfyui = panel.ComfyUI(input_folder=input_folder, folder=_own_folder, here=None if IS_MACHINE else here)
        panel.attach(server.routes, comfyui=comfyui)


def _own_arguments() -> list[str]:
    """What a second ComfyUI of the same folder is started with, to find the same models, nodes and devices."""
    from comfy.cli_args import args, parser

    line: list[str] = []
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage] argparse tells it nowhere else
        value = getattr(args, action.dest, None)
        if not _SAME_FOR_BOTH.fullmatch(action.dest) or value in (None, False, action.default):
            continue
        if action.nargs == 0:
            # Several options can stand for one value.
            line += [action.option_strings[0]] if action.const == value else []
        else:
            for values in value if _is_nested(value) else [value]:
                line += [action.option_strings[0], *_words(values)]
    # It cannot share the database of the first one, and has nothing to keep in one.
    has_database = any("--database-url" in action.option_strings for action in parser._actions)  # pyright: ignore[reportPrivateUsage]
    return [*line, *(["--database-url", "sqlite:///:memory:"] if has_database else [])]


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list)


def _words(value: Any) -> list[str]:
    values = value if isinstance(value, (list, tuple, set)) else [value]
    return [str(getattr(each, "value", each)) for each in values]


def _own_folder() -> Path:
    """Where ComfyUI's `main.py` is."""
    import folder_paths

    return Path(str(folder_paths.__file__)).resolve().parent


def registered_classes() -> set[str]:
    """The node classes that this ComfyUI has already; what loads later replaces one of ours by itself."""
    return set(getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", ()))


def is_wanted(unique_id: str, output: int) -> bool:
    """Whether something is connected to an output of a node that is being executed.

    ComfyUI before 0.1 tells in an error what every node has put out, so what is secret is given only to who asks for
    it. Later versions do not, and there the answer is always yes.
    """
    from server import PromptServer

    at_work = getattr(PromptServer.instance.prompt_queue, "currently_running", {})
    return bool(find_spec("comfy_execution")) or len(at_work) != 1 or is_linked(unique_id, output)


def is_linked(unique_id: str, output: int) -> bool:
    """Whether a prompt that is being executed has a link to an output of a node."""
    from server import PromptServer

    at_work = list(getattr(PromptServer.instance.prompt_queue, "currently_running", {}).values())
    nodes = [node for item in at_work for node in item[2].values()]
    return any(value == [unique_id, output] for node in nodes for value in node["inputs"].values())
