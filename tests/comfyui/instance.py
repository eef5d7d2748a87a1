"""One running ComfyUI, and the calls that a test makes to it."""

import asyncio
import json
import os
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import aiohttp

from .installations import Installation, provide
from .messages import CLIENT_FEATURES, Json, Message, read_message
from .process import ComfyUIError, Process, launch, prepare_environment
from .workspace import lay_out, page_options

HISTORY_POLL_SECONDS = 0.1


class Outcome(Enum):
    """How a prompt ended."""

    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Execution:
    """A prompt that has ended."""

    prompt_id: str
    outcome: Outcome
    messages: list[Message]
    """What the websocket said from the prompt's start to its end; events that belong to no prompt included."""
    history: Json
    """ComfyUI's own record: `outputs` by node id, and `status`."""

    def outputs(self, node_id: str) -> Json:
        """What an output node showed, for instance `{"images": [{"filename": …, "subfolder": …, "type": …}]}`."""
        return self.history["outputs"][node_id]


class Instance:
    """A ComfyUI that answers. Made by `start`, used on the event loop that it was started on."""

    def __init__(self, process: Process, session: aiohttp.ClientSession) -> None:
        self.workspace: Path = process.workspace
        """Its own folder: `input`, `output`, `models` and `user` lie here."""
        self.url = process.url
        self.client_id = uuid.uuid4().hex
        self._process = process
        self._session = session
        self._messages: list[Message] = []
        self._news = asyncio.Condition()
        self._is_gone = False
        self._of_others: set[str] = set()

    def log(self) -> str:
        """Everything that ComfyUI has printed so far."""
        return self._process.log()

    @property
    def heard(self) -> Sequence[Message]:
        """Everything that the websocket has said so far."""
        return self._messages

    async def get(self, path: str, **query: str) -> Any:
        """GET a JSON route, ComfyUI's or our own. Raises aiohttp.ClientResponseError for an error status."""
        async with self._session.get(path, params=query, raise_for_status=True) as response:
            return await response.json()

    async def object_info(self, node_class: str) -> Json | None:
        """A node class as the page sees it; None when ComfyUI has no such node."""
        return (await self.get(f"/object_info/{node_class}")).get(node_class)

    async def history(self, prompt_id: str) -> Json | None:
        """ComfyUI's record of a prompt that has ended; None before."""
        return (await self.get(f"/history/{prompt_id}")).get(prompt_id)

    async def queue(self, graph: Json, *, client_id: str | None = None, extra_data: Json | None = None) -> str:
        """Queue an executable graph and return its prompt id.

        `follow` has websocket messages only for prompts with this instance's own client id, the default.
        Raises ComfyUIError with the server's words when the graph is refused.
        """
        body = {"prompt": graph, "client_id": client_id or self.client_id, "extra_data": extra_data or {}}
        async with self._session.post("/prompt", json=body) as response:
            text = await response.text()
        if response.status != 200:
            # Old versions answer an unknown node with a bare 500: what is wrong is in their log only.
            raise ComfyUIError(f"POST /prompt was answered {response.status}: {text}\n{self._process.log_tail()}")
        prompt_id = json.loads(text)["prompt_id"]
        if client_id not in (None, self.client_id):
            self._of_others.add(prompt_id)
        return prompt_id

    async def follow(self, prompt_id: str, *, timeout: float = 60) -> Execution:
        """Wait for the end of a queued prompt, whatever it is; `timeout` is in seconds.

        Raises ComfyUIError when the prompt has not ended by then or ComfyUI died.
        """
        if prompt_id in self._of_others:
            await self._poll_history(prompt_id, timeout)
        else:
            await self.wait_for_message(lambda message: message.ends(prompt_id), timeout=timeout)
        record = await self.history(prompt_id)
        if record is None:
            raise ComfyUIError(f"ComfyUI ended prompt {prompt_id} without a history of it.")
        return Execution(prompt_id, read_outcome(record), self._messages_about(prompt_id), record)

    async def wait_for_message(self, is_wanted: Callable[[Message], bool], *, timeout: float = 60) -> Message:
        """The first message, among those heard so far and those to come, that `is_wanted` says yes to.

        Raises ComfyUIError when none has come after `timeout` seconds or ComfyUI died.
        """
        try:
            return await asyncio.wait_for(self._first(is_wanted), timeout)
        except asyncio.TimeoutError as error:
            raise ComfyUIError(f"No such message came in {timeout} s.\n{self._process.log_tail()}") from error

    async def interrupt(self) -> None:
        """Ask ComfyUI to stop the prompt that it is executing; does nothing when it is idle."""
        async with self._session.post("/interrupt", json={}, raise_for_status=True):
            pass

    async def upload_image(self, content: bytes, name: str) -> Json:
        """Put an image file into the input folder; the answer's `name` is what LoadImage takes."""
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name, content_type="application/octet-stream")
        async with self._session.post("/upload/image", data=form, raise_for_status=True) as response:
            return await response.json()

    async def view(self, filename: str, subfolder: str = "", type: str = "output") -> bytes:
        """A file that ComfyUI has written or was given. The parameters are the keys of an output's record."""
        query = {"filename": filename, "subfolder": subfolder, "type": type}
        async with self._session.get("/view", params=query, raise_for_status=True) as response:
            return await response.read()

    async def kill(self) -> None:
        """End it at once, as the system does when the memory is full. It answers nothing from then on."""
        await self._process.kill()

    async def press_ctrl_c(self) -> None:
        """End it as people do who have started it in a terminal."""
        await self._process.press_ctrl_c()

    async def listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Collect websocket messages until cancelled or until ComfyUI goes away. `connected` runs this."""
        try:
            async for received in socket:
                await self._collect(read_message(received))
        finally:
            self._is_gone = True
            await self._collect(None)

    async def _collect(self, message: Message | None) -> None:
        async with self._news:
            if message is not None:
                self._messages.append(message)
            self._news.notify_all()

    async def _poll_history(self, prompt_id: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while await self.history(prompt_id) is None:
            if time.monotonic() > deadline:
                raise ComfyUIError(f"Prompt {prompt_id} has no history after {timeout} s.\n{self._process.log_tail()}")
            await asyncio.sleep(HISTORY_POLL_SECONDS)

    async def _first(self, is_wanted: Callable[[Message], bool]) -> Message:
        seen = 0
        async with self._news:
            while True:
                for message in self._messages[seen:]:
                    if is_wanted(message):
                        return message
                if self._is_gone:
                    raise ComfyUIError(f"ComfyUI closed its websocket.\n{self._process.log_tail()}")
                seen = len(self._messages)
                await self._news.wait()

    def _messages_about(self, prompt_id: str) -> list[Message]:
        about = [index for index, message in enumerate(self._messages) if message.is_about(prompt_id)]
        return self._messages[about[0] : about[-1] + 1] if about else []


def read_outcome(record: Json) -> Outcome:
    """How a prompt ended: every version notes an interruption among the messages of an `error` status."""
    events = {event for event, _ in record["status"]["messages"]}
    if "execution_interrupted" in events:
        return Outcome.INTERRUPTED
    return Outcome(record["status"]["status_str"])


@asynccontextmanager
async def start(
    installation: Installation,
    python: Path,
    *,
    custom_nodes: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    port: int | None = None,
) -> AsyncGenerator[Instance]:
    """Run a ComfyUI in a temporary folder for as long as the `async with` block lasts.

    `custom_nodes` maps folder names to the node packages to install under them, `environment` adds variables, and
    `arguments` are added to ComfyUI's command line (the last of two equal options wins). Any free `port` is taken
    when none is given.
    Raises ComfyUIError with the end of the log when ComfyUI does not come up.
    """
    provide(installation)
    # ComfyUI has a handle on its log until the very end, and Windows removes no file that is open.
    with tempfile.TemporaryDirectory(prefix="comfyui-", ignore_cleanup_errors=True) as folder:
        workspace = Path(folder)
        lay_out(workspace, installation, custom_nodes or {})
        variables = prepare_environment(os.environ, environment or {})
        process = await launch(python, workspace, [*page_options(workspace), *arguments], variables, port=port)
        try:
            async with aiohttp.ClientSession(process.url) as session:
                await process.wait_until_ready(session)
                async with connected(process, session) as instance:
                    yield instance
        finally:
            await process.stop()


@asynccontextmanager
async def connected(process: Process, session: aiohttp.ClientSession) -> AsyncGenerator[Instance]:
    """An instance that collects its websocket messages during the block."""
    instance = Instance(process, session)
    async with session.ws_connect("/ws", params={"clientId": instance.client_id}, max_msg_size=0) as socket:
        await socket.send_json(CLIENT_FEATURES)
        listener = asyncio.create_task(instance.listen(socket))
        try:
            yield instance
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener
