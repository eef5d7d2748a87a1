"""The computer of a small ComfyUI: on it the ComfyUI can be killed and started again, at the same address."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from .comfyui import FakeComfyUI
from .serving import stop_listening


class Host:
    """Runs one ComfyUI. What is on its disk outlives a kill, what was in its memory does not."""

    def __init__(self, comfyui: FakeComfyUI) -> None:
        self._comfyui = comfyui
        self._port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start the ComfyUI, at the port that it had before."""
        self._runner = web.AppRunner(
            self._comfyui.app, access_log=None, shutdown_timeout=0.01, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """End it without a word, whatever it is doing; nobody answers from then on."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in [*runner.sites]:
            await stop_listening(site)
        connections: Any = runner.server.connections if runner.server else []
        for connection in [*connections]:
            if connection.transport:
                connection.transport.abort()
        await runner.cleanup()
        self._comfyui.restart()
        self._comfyui.running = None
        self._comfyui.faults.clear()
