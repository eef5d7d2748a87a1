"""A store of files with presigned URLs: it knows no API key, and checks what a real one checks."""

from __future__ import annotations

from collections import deque

from aiohttp import web

from .serving import Log, reset

SIGNATURE = "SIGNATURE-that-nobody-may-see"


class FakeStorage:
    """Takes what is PUT and gives it back. `faults` makes the next exchanges fail: `reset`, `short`, or a status."""

    def __init__(self) -> None:
        self.log = Log()
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.faults: deque[str | int] = deque()
        self.base_url = ""

    @property
    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_put("/{name:.+}", self._put)
        app.router.add_get("/{name:.+}", self._get)
        return app

    def url(self, name: str, *, query: str = f"X-Amz-Signature={SIGNATURE}%2F%2b+~") -> str:
        return f"{self.base_url}/{name}?{query}"

    async def _put(self, request: web.Request) -> web.StreamResponse:
        seen = await self.log.take(request)
        if fault := self._fault():
            return self._fail(request, fault)
        if "Content-Length" not in seen.headers or "Transfer-Encoding" in seen.headers:
            return web.Response(status=411)
        name = request.match_info["name"]
        self.objects[name], self.types[name] = seen.body, seen.headers["Content-Type"]
        return web.Response()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        await self.log.take(request)
        fault = self._fault()
        data = self.objects.get(request.match_info["name"])
        if fault == "short" and data:
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
            reset(request)
            return response
        if fault:
            return self._fail(request, fault)
        return web.Response(body=data) if data is not None else web.Response(status=404, text="<Error/>")

    def _fault(self) -> str | int | None:
        return self.faults.popleft() if self.faults else None

    def _fail(self, request: web.Request, fault: str | int) -> web.StreamResponse:
        if fault == "reset":
            reset(request)
        return web.Response(status=fault if isinstance(fault, int) else 500, text=f"<Error>{request.raw_path}</Error>")
