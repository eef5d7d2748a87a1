"""What ComfyUI says over its websocket."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import aiohttp

# Raw JSON of ComfyUI's API. It differs between versions, which is what these tests are about, so it is not modelled.
Json = dict[str, Any]

CLIENT_FEATURES: Json = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
"""The first thing that today's page says; versions from before feature flags ignore it."""


@dataclass(frozen=True)
class Message:
    """One websocket message.

    `type` is ComfyUI's own for a JSON message. Binary ones are called `preview` (`blob` is an image file; `data` says
    which node, from 0.3.41 on) and `progress_text` (`data` is `{"node": …, "text": …}`).
    """

    type: str
    data: Json
    blob: bytes = b""

    def is_about(self, prompt_id: str) -> bool:
        return self.data.get("prompt_id") == prompt_id

    def ends(self, prompt_id: str) -> bool:
        """Whether nothing more follows about a prompt.

        Every version sends this last, however the prompt ended, and after its history was written.
        """
        return self.type == "executing" and self.is_about(prompt_id) and self.data.get("node") is None


def read_message(received: aiohttp.WSMessage) -> Message | None:
    """The message in a websocket frame; None for kinds that are neither JSON nor known binary ones."""
    if received.type is aiohttp.WSMsgType.TEXT:
        content = json.loads(received.data)
        return Message(content["type"], content.get("data") or {})
    if received.type is aiohttp.WSMsgType.BINARY:
        return read_binary(received.data)
    return None


def read_binary(content: bytes) -> Message | None:
    """The message in a binary frame, whose first four bytes are its kind."""
    (kind,) = struct.unpack_from(">I", content)
    body = content[4:]
    match kind:
        case 1:
            # Four bytes say JPEG or PNG, which the image itself says too.
            return Message("preview", {}, body[4:])
        case 3:
            node, text = split_counted(body)
            return Message("progress_text", {"node": node.decode(), "text": text.decode()})
        case 4:
            metadata, image = split_counted(body)
            return Message("preview", json.loads(metadata), image)
        case _:
            return None


def split_counted(body: bytes) -> tuple[bytes, bytes]:
    """Split a part that its length in four bytes precedes from what follows it."""
    (length,) = struct.unpack_from(">I", body)
    return body[4 : 4 + length], body[4 + length :]
