"""What the page's routes answer, written by hand: deployments that change, platforms that are away, hostile names."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page

from .interception import Asked, Reply, replied

Json = dict[str, Any]
PORTRAIT = "0b3c2a10-0000-4000-8000-000000000001"
HOSTILE = '<img src=x onerror="window.pwned=1">'
MEDIA = "IMAGE,MASK,OUTPOST_FILE,STRING"


def input_field(input_id: str, kind: str, socket: str, widget: Json | None = None, **more: Any) -> Json:
    plain = {"label": input_id, "tooltip": None, "has_alpha": False, "is_required": False, "is_open": False}
    return {"input_id": input_id, "kind": kind, "socket": socket, "widget": widget, **plain, **more}


def output(name: str, kind: str, socket: str) -> Json:
    return {"name": name, "kind": kind, "socket": socket, "node_id": "9", "is_named": True}


def deployment(deployment_id: str, name: str, environment: str = "production") -> Json:
    return {
        "id": deployment_id,
        "name": name,
        "environment": environment,
        "workflow_id": "w",
        "machine": "built-in",
        "is_active": True,
    }


def portrait() -> Json:
    """A deployment with an input of each kind."""
    text = {"type": "text", "default": "cat"}
    return {
        "id": PORTRAIT,
        "name": "Portrait",
        "environment": "production",
        "is_active": True,
        "inputs": [
            input_field("image", "image", MEDIA, label="Photo", has_alpha=True, is_required=True),
            input_field("clip", "video", "VIDEO,OUTPOST_FILE,STRING"),
            input_field("prompt", "text", "STRING", {"type": "multiline", "default": "a cat"}, label="Prompt"),
            input_field("name", "text", "STRING", text),
            input_field("steps", "integer", "INT", {"type": "int", "default": 20, "min": 1, "max": 100, "step": 1}),
            input_field(
                "strength",
                "float",
                "FLOAT",
                {"type": "float", "default": 0.5, "min": 0, "max": 1, "step": 0.05, "is_slider": True},
            ),
            input_field("is_on", "boolean", "BOOLEAN", {"type": "boolean", "default": True}),
            input_field(
                "style", "enum", "COMBO,STRING", {"type": "combo", "default": "oil", "options": ["oil", "ink", HOSTILE]}
            ),
            input_field("seed", "integer", "INT", {"type": "seed", "default": 5, "min": 0, "max": 2**53 - 1}),
            input_field("deployment_id", "text", "STRING", text, label="Collides"),
            input_field(HOSTILE, "text", "STRING", text),
            *[input_field(f"{number}.text", "text", "STRING", text, is_open=True) for number in range(300)],
        ],
        "outputs": [output("picture", "image", "IMAGE"), output("caption", "text", "STRING")],
    }


@dataclass
class Routes:
    """The answers that the page gets now; a test changes them."""

    forms: dict[str, Json]
    is_away: bool = False
    assets: list[Json] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    others: list[Json] = field(default_factory=list)
    """More entries of the list of deployments."""

    def answer(self, asked: Asked) -> Reply | None:
        path = asked.url.partition("/outpost/")[2]
        if path == "events":  # which the whole page has, whatever is on its nodes
            return None
        self.asked.append(path)
        assert "thumbnail" in path or asked.headers.get("outpost-page") == "1"
        if self.is_away:
            told = {"detail": "No platform is set up. Run: outpost connect", "code": "no_connection"}
            return Reply(told, status=503)
        if path == "deployments":
            listed = [deployment(each["id"], each["name"], each["environment"]) for each in self.forms.values()]
            return Reply({"deployments": [*listed, *self.others]})
        if path.startswith("deployments/") and path.split("/")[1] in self.forms:
            return Reply(self.forms[path.split("/")[1]])
        if path.startswith("assets?"):
            return Reply({"path": "", "assets": self.assets})
        return Reply({"detail": "There is none", "code": "not_found"}, status=404)


@asynccontextmanager
async def answered(page: Page) -> AsyncGenerator[Routes]:
    """During the block the page's routes answer as a test says."""
    routes = Routes({PORTRAIT: copy.deepcopy(portrait())})
    async with replied(page, "*/outpost/*", routes.answer):
        yield routes
