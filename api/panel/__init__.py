"""The routes of ComfyUI's own server that answer our part of its page.

They take identifiers, never an address or a local path, and only from the page itself; the API key stays here. What
takes time to import is imported by the first request, on a thread: ComfyUI waits for this package at its start.
"""

from __future__ import annotations

from .comfyui import ComfyUI
from .routes import attach

__all__ = ["ComfyUI", "attach"]
