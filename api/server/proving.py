"""Where a server proves to those who know its key that it is the one that they look for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

Prove = Callable[[str], Awaitable[str]]
"""Answers a question with a proof."""
_QUESTION = re.compile("[0-9a-f]{32}")


def add_proof(app: web.Application, path: str, prove: Prove) -> None:
    """Answer questions that come after `path`. No key is asked for: whoever asks does not trust the server yet."""

    async def answer(request: web.Request) -> web.Response:
        question = request.match_info["question"]
        if not _QUESTION.fullmatch(question):
            raise web.HTTPNotFound
        return web.Response(text=await prove(question))

    app.router.add_get(path + "{question}", answer)
