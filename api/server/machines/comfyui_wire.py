"""The HTTP and websocket calls of one ComfyUI, of any version since 2024, with typed errors.

Only paths without the prefix `/api` are used, which every version has.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from math import isfinite
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from ...models import Failure, Graph
from ...shapes import is_array, is_object
from . import MachineError, MachineLost
from .comfyui_address import (
    CONNECT_SECONDS,
    ForbiddenAddress,
    Redirected,
    authorization,
    open_session,
    read_endpoint,
)
from .comfyui_messages import RemoteFile

ANSWER_SECONDS = 60
"""Longest wait for an answer that needs no work."""
PROMPT_SECONDS = 300
"""Longest wait for the answer to a graph, which ComfyUI checks first."""
SILENCE_SECONDS = 60
"""Longest silence in the middle of a file."""
HEARTBEAT_SECONDS = 30
QUESTIONS_AT_ONCE = 16
MANY_CLASSES = 200
"""Node classes; of more than these it is not asked one by one."""
MAX_JSON_BYTES = 64 * 1024 * 1024
"""Of what it tells of everything that it has."""
MAX_CLASS_BYTES = 4 * 1024 * 1024
"""Of what it tells of one node class."""
LARGE_BYTES = 1024 * 1024
"""JSON that is larger is read while other work goes on."""
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
UPLOAD_FOLDER = "outpost"
"""Folder in ComfyUI's input folder for what is uploaded."""
_TAKES_PREVIEWS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
"""The first message to a websocket that is to say of each preview whose it is; older versions ignore it."""

CLOSED = Failure(message="The machine is being removed")
"""Why nothing can be asked any more."""


class Unreachable(MachineLost):
    """The ComfyUI could not be reached, went away in the middle, or answered nonsense: it may be better later."""

    def __init__(self, failure: Failure, *, was_sent: bool = False) -> None:
        super().__init__(failure, was_sent=was_sent)


class Refused(MachineError):
    """The ComfyUI has refused a request, and would again."""

    def __init__(self, failure: Failure, *, status: int, answer: Any = None) -> None:
        super().__init__(failure)
        self.status = status
        self.answer = answer
        """The JSON of the answer, where there was some."""


class Wire:
    """The calls to one ComfyUI, on the event loop of the first one.

    `endpoint` is its base URL. Raises InvalidInput when that or `auth_token` cannot be used.
    """

    def __init__(self, endpoint: str | None, *, auth_token: str | None) -> None:
        self._base = read_endpoint(endpoint)
        self._headers = authorization(auth_token)
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def close(self) -> None:
        """Close every connection. Whatever is asked later comes to a MachineError."""
        self._is_closed = True
        if self._session:
            await self._session.close()

    async def system_stats(self, *, seconds: float = ANSWER_SECONDS) -> Any:
        """What it says of itself; every ComfyUI does."""
        return await self._json("GET", "/system_stats", seconds=seconds)

    async def node_info(self, node_classes: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """What it tells of node classes; those that it lacks are left out."""
        asked, found = set(node_classes), dict[str, Mapping[str, Any]]()
        if len(asked) > MANY_CLASSES:
            every = await self._every_node_info()
            return {name: info for name in asked if is_object(info := every.get(name))}
        slots = asyncio.Semaphore(QUESTIONS_AT_ONCE)

        async def ask(node_class: str) -> None:
            async with slots:
                # A class that no URL can have is none that it has.
                path = f"/object_info/{quote(node_class, safe='', errors='replace')}"
                answer = await self._json("GET", path, max_bytes=MAX_CLASS_BYTES)
            info = answer.get(node_class) if is_object(answer) else None
            if is_object(info):
                found[node_class] = info

        tasks = [asyncio.ensure_future(ask(each)) for each in asked]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return found

    async def node_classes(self) -> frozenset[str]:
        """The names of all its node classes. It tells megabytes of them, of which nothing else is kept."""
        return frozenset(await self._every_node_info())

    async def _every_node_info(self) -> Mapping[str, Any]:
        answer = await self._json("GET", "/object_info")
        return answer if is_object(answer) else {}

    async def queue(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """What it works on, and what waits: `[number, prompt_id, prompt, extra_data, outputs]` each."""
        answer = await self._json("GET", "/queue")
        answer = answer if is_object(answer) else {}
        return _entries(answer.get("queue_running")), _entries(answer.get("queue_pending"))

    async def history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Its record of a prompt that has ended; None when it has none."""
        answer = await self._json("GET", f"/history/{quote(prompt_id, safe='', errors='replace')}")
        entry = answer.get(prompt_id) if is_object(answer) else None
        return entry if is_object(entry) else None

    async def latest(self, count: int) -> Mapping[str, Any]:
        """Its records of the prompts that have ended last, by prompt id."""
        answer = await self._json("GET", f"/history?max_items={count}")
        return answer if is_object(answer) else {}

    async def submit(self, prompt: Graph, *, client_id: str, with_previews: bool = False) -> Mapping[str, Any]:
        """Queue a graph; its messages go to the websocket of that client id. Raises Refused with the node errors.

        Versions that can be asked for previews prompt by prompt are; of the others the operator decides.
        """
        body: dict[str, Any] = {"prompt": prompt, "client_id": client_id}
        if with_previews:
            body["extra_data"] = {"preview_method": "auto"}
        answer = await self._json("POST", "/prompt", seconds=PROMPT_SECONDS, json=body)
        if not is_object(answer) or not isinstance(answer.get("prompt_id"), str):
            raise Unreachable(_failure("The machine's ComfyUI took the graph with an answer that makes no sense"))
        return answer

    async def delete(self, prompt_id: str) -> None:
        """Take a prompt that waits from the queue; does nothing to one that is at work."""
        await self._done("POST", "/queue", json={"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str) -> None:
        """Stop a prompt that is at work. Old versions stop whichever is: look first whether it is that one."""
        await self._done("POST", "/interrupt", json={"prompt_id": prompt_id})

    async def uploaded_size(self, filename: str) -> int | None:
        """How many bytes an uploaded file has; None when it is not there."""
        query = urlencode({"filename": filename, "subfolder": UPLOAD_FOLDER, "type": "input"})
        try:
            async with self._request("HEAD", f"/view?{query}") as response:
                return response.content_length
        except Refused:
            return None

    async def upload(self, filename: str, chunks: AsyncIterable[bytes], *, overwrite: bool) -> str:
        """Put a file into the input folder; what a Load node takes as its name."""
        form = aiohttp.FormData()
        form.add_field("type", "input")
        form.add_field("subfolder", UPLOAD_FOLDER)
        if overwrite:
            form.add_field("overwrite", "true")
        form.add_field("image", chunks, filename=filename, content_type="application/octet-stream")
        answer = await self._json("POST", "/upload/image", seconds=None, data=form)
        if not is_object(answer) or not isinstance(answer.get("name"), str):
            raise Unreachable(_failure("The machine's ComfyUI took a file with an answer that makes no sense"))
        return f"{answer.get('subfolder') or UPLOAD_FOLDER}/{answer['name']}"

    async def view(self, file: RemoteFile) -> AsyncGenerator[bytes, None]:
        """The bytes of a file that a node has put out, as they come."""
        names = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        # JSON can have halves of characters in it, which no URL can.
        query = urlencode(names, errors="replace")
        async with self._request("GET", f"/view?{query}", seconds=None) as response:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                yield chunk

    @asynccontextmanager
    async def websocket(
        self, client_id: str, *, with_previews: bool = False
    ) -> AsyncGenerator[aiohttp.ClientWebSocketResponse, None]:
        """What it tells of the prompts of a client id."""
        url = self._url(f"/ws?clientId={quote(client_id, safe='')}")
        connect = self._open().ws_connect(url, heartbeat=HEARTBEAT_SECONDS, max_msg_size=MAX_MESSAGE_BYTES)
        try:
            socket = await asyncio.wait_for(connect, ANSWER_SECONDS)
        except aiohttp.WSServerHandshakeError as error:
            raise refusal(error.status) from error
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise unreachable(error) from error
        try:
            if with_previews:
                with suppress(ConnectionError):  # whoever listens notices that it is gone
                    await socket.send_json(_TAKES_PREVIEWS)
            yield socket
        finally:
            await socket.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise MachineError(CLOSED)
        self._session = self._session or open_session(self._base, self._headers)
        return self._session

    def _url(self, path: str) -> URL:
        return URL(f"{self._base}{path}", encoded=True)

    async def _done(self, method: str, path: str, **content: Any) -> None:
        async with self._request(method, path, **content):
            pass

    async def _json(self, method: str, path: str, *, max_bytes: int = MAX_JSON_BYTES, **content: Any) -> Any:
        async with self._request(method, path, **content) as response:
            body = await _read(response, max_bytes=max_bytes)
        try:
            return await _parse(body)
        except ValueError as error:
            raise Unreachable(
                _failure(f"The machine's ComfyUI answered {path.partition('?')[0]} with no JSON")
            ) from error

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, *, seconds: float | None = ANSWER_SECONDS, **content: Any
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A request that was answered with success. `seconds` is for all of it; None for a file, which may be large."""
        silence = None if seconds else SILENCE_SECONDS
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            async with self._open().request(
                method, self._url(path), timeout=timeout, allow_redirects=False, **content
            ) as response:
                if response.status != 200:
                    raise refusal(response.status, path=path.partition("?")[0], answer=await _read_answer(response))
                yield response
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise unreachable(error) from error


async def _read(response: aiohttp.ClientResponse, *, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise Unreachable(_failure(f"The machine's ComfyUI answered with more than {max_bytes // 1024**2} MiB"))
    return bytes(body)


async def _read_answer(response: aiohttp.ClientResponse) -> Any:
    """The JSON of an answer that tells of an error; None where it is none."""
    try:
        return await _parse(await _read(response))
    except ValueError:
        return None


async def _parse(body: bytes) -> Any:
    """The JSON in an answer. Raises ValueError when it is none."""
    if len(body) <= LARGE_BYTES:
        return _load(body)
    # The hook is what lets other threads go on meanwhile: without one Python reads it all in one go.
    return await asyncio.to_thread(_load, body, object_hook=_as_it_is)


def _load(body: bytes, *, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    try:
        return json.loads(body, parse_constant=_nothing, parse_float=_finite, object_hook=object_hook)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _as_it_is(value: dict[str, Any]) -> dict[str, Any]:
    return value


def _nothing(name: str) -> None:
    """What NaN and Infinity are read as. Custom nodes use them, and JSON has no such numbers."""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _entries(value: Any) -> list[list[Any]]:
    entries: list[Any] = value if is_array(value) else []
    return [entry for entry in entries if is_array(entry) and len(entry) > 1]


def _failure(message: str) -> Failure:
    return Failure(message=message)


def refusal(status: int, *, path: str = "", answer: Any = None) -> MachineError:
    """The error for an answer that is no success. What the answer says is not repeated: it may come from anybody."""
    if status in (401, 403):
        message = f"The machine refuses the auth_token ({status}): set the right one"
        return Refused(_failure(message), status=status)
    if 300 <= status < 400:
        message = f"The machine redirects to another address ({status}): set its own address as the endpoint"
        return Refused(_failure(message), status=status)
    if status == 413:
        message = "A file is too large for the machine's ComfyUI (413): start it with a larger --max-upload-size"
        return Refused(_failure(message), status=status)
    message = f"The machine's ComfyUI answered {path or 'a request'} with {status}"
    if status in (502, 503, 504):
        return Unreachable(_failure(message))
    return Refused(_failure(message), status=status, answer=answer)


def unreachable(error: BaseException) -> MachineError:
    """The error for a request without an answer, in words that tell no address."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    match error:
        case Redirected():
            return refusal(302)
        case _ if isinstance(cause, ForbiddenAddress):
            return Refused(_failure(str(cause)), status=0)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | aiohttp.ClientSSLError():
            reason = "it cannot prove by a certificate who it is"
        case aiohttp.InvalidURL():
            reason = "its address is not written as addresses are"
        case _ if isinstance(cause, socket.gaierror):
            reason = "its name leads to no address"
        case aiohttp.ClientConnectorError():
            reason = "nobody answers at its address"
        case asyncio.TimeoutError():
            reason = "it does not answer in time"
        case _:
            reason = "it broke the connection off"
    return Unreachable(_failure(f"The machine's ComfyUI cannot be reached: {reason}"))
