"""A ComfyUI of the size of a test: its queue, its websocket and its files, executing what a test's script says."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from .flaky import Act
from .serving import Log, Seen, reset, served

Json = dict[str, Any]


def node_class(*, output: bool = False, **inputs: Any) -> Json:
    """What `/object_info` tells of a class: `image=["IMAGE"]`, `ckpt_name=[["a.safetensors"]]`."""
    return {"input": {"required": inputs}, "output_node": output}


STOCK: dict[str, Json] = {
    "LoadImage": node_class(image=[["example.png"], {"image_upload": True}]),
    "LoadAudio": node_class(audio=["COMBO", {"audio_upload": True, "options": []}]),
    "LoadVideo": node_class(file=["COMBO", {"video_upload": True, "options": []}]),
    "GetVideoComponents": node_class(video=["VIDEO"]),
    "JoinImageWithAlpha": node_class(image=["IMAGE"], alpha=["MASK"]),
    "ImageBatch": node_class(image1=["IMAGE"], image2=["IMAGE"]),
    "ImageInvert": node_class(image=["IMAGE"]),
    "EmptyImage": node_class(width=["INT", {}], height=["INT", {}]),
    "CheckpointLoaderSimple": node_class(ckpt_name=[["xl\\base.safetensors", "plain.safetensors"]]),
    "NewLoader": node_class(name=["COMBO", {"options": ["flux/dev.safetensors"]}]),
    "KSampler": node_class(seed=["INT", {}], text=["STRING", {}]),
    "SaveImage": node_class(output=True, images=["IMAGE"], filename_prefix=["STRING", {}]),
    "PreviewAny": node_class(output=True, source=["*"]),
}
"""A few of the classes that every recent ComfyUI has, with the inputs that tests use."""


class Interrupted(Exception):
    """The prompt was interrupted."""


class NodeFailed(Exception):
    """A node has raised an error, which `data` tells of as ComfyUI does."""

    def __init__(self, **data: Any) -> None:
        super().__init__()
        self.data = data


@dataclass
class Execution:
    """A prompt that is being executed."""

    server: FakeComfyUI
    prompt_id: str
    prompt: Json
    client_id: str
    outputs: Json = field(default_factory=dict)
    meta: Json = field(default_factory=dict)
    """Which node of the prompt shows the outputs of one that was made while executing."""
    interruption: asyncio.Event = field(default_factory=asyncio.Event)

    async def say(self, kind: str, **data: Any) -> None:
        """Send a message about this prompt to whoever submitted it."""
        await self.server.send(self.client_id, {"type": kind, "data": {**data, "prompt_id": self.prompt_id}})

    async def put_out(self, node_id: str, ui: Json) -> None:
        """A node has put something out."""
        self.outputs[node_id] = ui
        await self.say("executed", node=node_id, output=ui)

    async def work_for_ever(self) -> None:
        """A node that ends only when it is interrupted."""
        await self.interruption.wait()
        raise Interrupted


Script = Callable[[Execution], Awaitable[None]]


async def execute_all(execution: Execution) -> None:
    """Begin with every node; output nodes put out a picture."""
    for node_id, node in execution.prompt.items():
        await execution.say("executing", node=node_id)
        if node["class_type"] == "SaveImage":
            await execution.put_out(node_id, {"images": [execution.server.write(f"{node_id}_00001_.png")]})


class FakeComfyUI:
    """Executes one prompt after the other by `script`."""

    def __init__(self, script: Script = execute_all) -> None:
        self.script = script
        self.classes = dict(STOCK)
        self.log = Log()
        self.faults: dict[str, deque[Act]] = {}
        self.uploads: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.stats: Any = {"system": {"comfyui_version": "0.9.9"}, "devices": []}
        self.is_down = False
        """Whether it breaks every connection off."""
        self.is_old = False
        """Whether it is of the time when an interruption hit whatever was at work."""
        self.pending: list[list[Any]] = []
        self.running: Execution | None = None
        self.history: Json = {}
        self.submitted: list[Json] = []
        self.told: dict[str, Json] = {}
        """The last message that each client has sent over its websocket."""
        self.interruptions: list[str] = []
        """Which prompts were interrupted."""
        self._news = asyncio.Condition()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._transports: set[Any] = set()

    @property
    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30, middlewares=[self._with_faults])
        router = app.router
        router.add_get("/ws", self._websocket)
        router.add_get("/system_stats", self._system_stats)
        router.add_get("/object_info", self._every_object_info)
        router.add_get("/object_info/{node_class}", self._object_info)
        router.add_post("/prompt", self._submit)
        router.add_get("/queue", self._queue)
        router.add_post("/queue", self._delete)
        router.add_post("/interrupt", self._interrupt)
        router.add_get("/history", self._history)
        router.add_get("/history/{prompt_id}", self._history_of)
        router.add_post("/upload/image", self._upload)
        router.add_get("/view", self._view)
        app.cleanup_ctx.append(self._at_work)
        return app

    def fail(self, path: str, *acts: Act) -> None:
        """What the next requests for a path get instead of an answer of its own."""
        self.faults[path] = deque(acts)

    def write(self, filename: str, content: bytes = b"a picture", *, type: str = "output", subfolder: str = "") -> Json:
        """Write a file, and give the record that a node puts out for it."""
        self.files[f"{type}/{subfolder}/{filename}"] = content
        return {"filename": filename, "subfolder": subfolder, "type": type}

    async def send(self, client_id: str, message: Any) -> None:
        """Send something to a client, if it listens: JSON, bytes, or text that is neither."""
        socket = self._sockets.get(client_id)
        if socket is None or socket.closed:
            return
        with suppress(ConnectionError):
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            elif isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_json(message)

    def cut_websockets(self) -> None:
        """Break every websocket off without a word."""
        for transport in self._transports:
            transport.abort()

    def die(self) -> None:
        """Be gone, with everything that it worked on."""
        self.is_down = True
        self.restart()

    def restart(self) -> None:
        """Forget everything, as a process that was killed and started again."""
        self.pending, self.history, self._sockets = [], {}, {}
        if self.running:
            self.running.prompt_id = "forgotten"
            self.running.interruption.set()
        self.cut_websockets()

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Return once something is so, which may be so after any request or step of an execution."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(is_so), 20)

    async def changed(self) -> None:
        """Have those who wait look again."""
        async with self._news:
            self._news.notify_all()

    @web.middleware
    async def _with_faults(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path.endswith("/upload/image"):  # its body can be read only once
            self.log.requests.append(Seen(request.method, request.raw_path, dict(request.headers)))
        else:
            await self.log.take(request)
        await self.changed()
        faults = self.faults.get(request.path)
        try:
            if self.is_down:
                reset(request)
                return web.Response()
            if faults:
                return await faults.popleft()(request)
            return await handler(request)
        finally:
            await self.changed()

    async def _at_work(self, app: web.Application) -> AsyncIterator[None]:
        work = asyncio.create_task(self._work())
        yield
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work

    async def _work(self) -> None:
        while True:
            await self._wait_for_work()
            entry = self.pending.pop(0)
            execution = self.running = Execution(self, entry[1], entry[2], entry[3].get("client_id", ""))
            await self.changed()
            messages = [["execution_start", {"prompt_id": execution.prompt_id}]]
            status = "success"
            await execution.say("execution_start")
            try:
                await self.script(execution)
            except Interrupted:
                messages.append(["execution_interrupted", {"node_id": None}])
                status = "error"
            except NodeFailed as error:
                messages.append(["execution_error", error.data])
                status = "error"
                await execution.say("execution_error", **error.data)
            if execution.prompt_id != "forgotten":
                record = {"status_str": status, "completed": status == "success", "messages": messages}
                told = {"prompt": entry, "outputs": execution.outputs, "meta": execution.meta, "status": record}
                self.history[execution.prompt_id] = told
            self.running = None
            await execution.say("executing", node=None)
            await self.changed()

    async def _wait_for_work(self) -> None:
        async with self._news:
            await self._news.wait_for(lambda: bool(self.pending))

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        try:
            await socket.prepare(request)
        except ConnectionResetError:
            return socket  # whoever asked for it is gone
        client_id, transport = request.query["clientId"], request.transport
        self._sockets[client_id] = socket
        self._transports.add(transport)
        await self.send(client_id, {"type": "status", "data": {"sid": client_id}})
        try:
            async for message in socket:
                assert message.type is WSMsgType.TEXT
                self.told[client_id] = message.json()
        finally:
            self._transports.discard(transport)
            if self._sockets.get(client_id) is socket:
                del self._sockets[client_id]
        return socket

    async def _system_stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats)

    async def _every_object_info(self, request: web.Request) -> web.Response:
        return web.json_response(self.classes)

    async def _object_info(self, request: web.Request) -> web.Response:
        name = request.match_info["node_class"]
        return web.json_response({name: self.classes[name]} if name in self.classes else {})

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.submitted.append(body)
        prompt_id = str(uuid.uuid4())
        about = {**body.get("extra_data", {}), "client_id": body.get("client_id")}
        entry = [len(self.submitted), prompt_id, body["prompt"], about, []]
        self.pending.append(entry)
        return web.json_response({"prompt_id": prompt_id, "number": entry[0], "node_errors": {}})

    async def _queue(self, request: web.Request) -> web.Response:
        running = self.running
        at_work = [[0, running.prompt_id, running.prompt, {"client_id": running.client_id}, []]] if running else []
        return web.json_response({"queue_running": at_work, "queue_pending": self.pending})

    async def _delete(self, request: web.Request) -> web.Response:
        deleted = (await request.json())["delete"]
        self.pending = [entry for entry in self.pending if entry[1] not in deleted]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        prompt_id = (await request.json()).get("prompt_id")
        if self.running and (self.is_old or self.running.prompt_id == prompt_id):
            self.interruptions.append(self.running.prompt_id)
            self.running.interruption.set()
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        return web.json_response(self.history)

    async def _history_of(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        return web.json_response({prompt_id: self.history[prompt_id]} if prompt_id in self.history else {})

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        image = form["image"]
        assert isinstance(image, web.FileField)
        name, subfolder = image.filename, str(form["subfolder"])
        if f"{subfolder}/{name}" in self.uploads and form.get("overwrite") != "true":
            name = f"another {name}"
        self.uploads[f"{subfolder}/{name}"] = image.file.read()
        return web.json_response({"name": name, "subfolder": subfolder, "type": "input"})

    async def _view(self, request: web.Request) -> web.Response:
        query = request.query
        if ".." in query["filename"]:
            return web.Response(status=400)
        if query["type"] == "input":
            found = self.uploads.get(f"{query['subfolder']}/{query['filename']}")
        else:
            found = self.files.get(f"{query['type']}/{query['subfolder']}/{query['filename']}")
        return web.Response(body=found) if found is not None else web.Response(status=404)


@asynccontextmanager
async def serve(comfyui: FakeComfyUI) -> AsyncIterator[str]:
    """The base URL of a fake at work."""
    async with served(comfyui.app) as url:
        yield url
