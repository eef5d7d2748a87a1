"""What the page's routes share, on the event loop of ComfyUI's server."""

from __future__ import annotations

from .clients import Clients
from .comfyui import ComfyUI
from .connections.sign_ins import SignIns
from .covers import Covers
from .files.copies import Copies
from .files.kept import Pictures
from .files.room import Room
from .files.sent import SentFiles
from .files.thumbnails import Thumbnails
from .live.watching import Watcher
from .runs.starts import Starts


class Desk:
    """One for each panel. Made by the first request; whoever stops the server closes it."""

    def __init__(self, comfyui: ComfyUI | None) -> None:
        self.comfyui = comfyui
        """None in a server that is no ComfyUI: what needs one is refused there."""
        self.here = comfyui.here() if comfyui and comfyui.here else None
        """The platform that can be started on this computer; None where that cannot be done."""
        self.clients = Clients(self.here.connection) if self.here else Clients()
        self.sign_ins = SignIns()
        self.pictures = Pictures()
        self.thumbnails = Thumbnails(self.pictures)
        self.covers = Covers(self.thumbnails)
        self.watcher = Watcher(self.clients)
        self.sent_files = SentFiles()
        self.starts = Starts()
        self.room = Room()
        self.copies = Copies(room=self.room)

    def connection_changed(self) -> None:
        """Another connection was chosen, or the chosen one is different: what listens hears of it at once."""
        self.watcher.look()

    async def aclose(self) -> None:
        """Watch the platform no more, remove the copies of its files, and close the connections to it."""
        await self.watcher.aclose()
        await self.copies.aclose()
        await self.clients.aclose()
