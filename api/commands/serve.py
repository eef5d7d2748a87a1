"""`outpost serve`: a platform on this computer."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ... import __version__
from .place import add_place, data_folder, one_sentence

if TYPE_CHECKING:
    from ..server.config import ServerConfig
    from ..server.platform import Platform

DEFAULT_PORT = 8190
MAX_PORT = 65535

_KEY = """
This is the first start, so an API key was made. It is shown only this once:

    {key}
"""
_FIRST_STEPS = """
Use the key on this computer:   outpost connect {url}      (it asks for the key)
Then try the whole way:         outpost doctor
A deployment to begin with:     Hello Outpost, {deployment}
"""
_NEXT_STEP = """
Deploy a graph there:           POST {url}/api/workflow with "machine_id": "{machine}" and the graph
                                of ComfyUI's "Export (API)" as "workflow_api"
"""


def add_serve_options(serve: argparse.ArgumentParser) -> None:
    """What comes after `outpost serve`."""
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port to listen on (default: %(default)s)")
    add_place(serve)
    serve.add_argument(
        "--comfyui",
        metavar="URL|FOLDER",
        action="append",
        default=[],
        help="a ComfyUI to run graphs on: one that runs already, or a folder, from which the platform starts it; can "
        "be given several times. OUTPOST_COMFYUI_TOKEN in the environment has the token for those that run already",
    )
    serve.add_argument(
        "--objects", metavar="URL", help="s3://bucket/prefix to keep files there instead of in the folder"
    )
    serve.add_argument("--public-url", metavar="URL", help="where clients reach this server, if a proxy is in front")
    serve.add_argument(
        "--comfyui-folder",
        metavar="NAME=PATH",
        type=_named_folder,
        action="append",
        default=[],
        help="a folder with a ComfyUI that the platform may start when a run needs it; can be given several times",
    )
    serve.add_argument("--comfyui-python", metavar="PATH", type=Path, help="the Python that starts those ComfyUIs")
    serve.add_argument(
        "--allow-private-addresses",
        action="store_true",
        help="let webhooks, and files that are fetched from a URL, be on this computer and in its network",
    )
    serve.set_defaults(command=_serve)


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    folder = Path(path).expanduser()
    if not name or not (folder / "main.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PATH with the folder of a ComfyUI, which has a main.py")
    return name, folder.resolve()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port, which is a number from 0 to {MAX_PORT}")
    return int(text)


async def _serve(options: argparse.Namespace) -> int:
    from ..server.app import serving
    from ..server.platform import open_platform

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # It quotes malformed requests, and with them whatever secrets they hold. Our own failures are logged by us.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    os.umask(0o077)  # whatever the platform keeps is for its own user
    config = _config(options)
    stopped = _stop_signals()
    cannot_start = f"The server cannot start on {options.host}:{options.port}"
    with one_sentence(cannot_start):
        _check_free(options.host, options.port)
    with one_sentence(f"The platform in {config.data} cannot be opened"):
        async with open_platform(config) as platform:
            if first := platform.first_start:
                # Before anything else can go wrong: nobody can find it out later.
                print(_KEY.format(key=first.api_key), flush=True)
            with one_sentence(cannot_start):
                async with serving(platform, host=options.host, port=options.port) as url:
                    _greet(platform, url)
                    await _tell_of_machines(platform, url)
                    # All that is there now stays; looking through it for garbage would hold up everybody for 0.1 s.
                    gc.freeze()
                    await stopped.wait()
    return 0


def _check_free(host: str, port: int) -> None:
    """Raise OSError where a server cannot listen: what a first start makes and shows once would be for nothing."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    socket.create_server(address, family=family).close()


def _config(options: argparse.Namespace) -> ServerConfig:
    from ..server.config import ServerConfig
    from ..server.own_machines import TOKEN_VARIABLE, read_comfyuis, read_token

    allowed = dict(options.comfyui_folder)
    urls, folders = read_comfyuis(options.comfyui, allowed=allowed)
    return ServerConfig(
        options.data or data_folder(),
        database_url=options.database,
        objects_url=options.objects,
        public_url=options.public_url,
        allow_private_addresses=options.allow_private_addresses,
        comfyui_folders={**allowed, **folders},
        comfyui_python=options.comfyui_python,
        comfyui_urls=urls,
        comfyui_token=read_token(os.environ.get(TOKEN_VARIABLE)),
        own_folders=list(folders),
    )


def _greet(platform: Platform, url: str) -> None:
    print(f"ComfyUI-Outpost {__version__} serves {url} and keeps everything in {platform.config.data}", flush=True)
    print(f"Its API can be read and tried in a browser: {url}/api/doc", flush=True)
    if first := platform.first_start:
        print(_FIRST_STEPS.format(url=url, deployment=first.deployment_id), flush=True)


async def _tell_of_machines(platform: Platform, url: str) -> None:
    """How the ComfyUIs are that were named for this start, and what to do with them."""
    own = [row for row in await platform.store.machines.rows() if row["id"] in platform.own_machines]
    conditions = await asyncio.gather(*map(platform.fleet.examine, own))
    for row, how in zip(own, conditions, strict=True):
        state = "is being started" if row["keep_warm"] else "ready"
        if not how.is_ready:
            state = f"does not answer yet; runs wait for it ({how.reason})"
        print(f"Machine {row['name']}, {row['id']}: {state}", flush=True)
    if own:
        print(_NEXT_STEP.format(url=url, machine=own[0]["id"]), flush=True)


def _stop_signals() -> asyncio.Event:
    """Set by Ctrl-C and, where there is such a signal, SIGTERM."""
    stopped = asyncio.Event()
    if sys.platform != "win32":
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    return stopped
