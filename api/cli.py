"""The command `outpost`. It puts the programs together; what they do is elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import importlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from .errors import OutpostError
from .settings import Connection, load_connection, save_connection, settings_path

DEFAULT_PORT = 8190


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the process's exit code."""
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(options.command(options))
    except KeyboardInterrupt:
        return 130
    except OutpostError as error:
        print(f"outpost: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outpost", description="Run ComfyUI work on remote GPUs.")
    parser.add_argument("--version", action="version", version=f"ComfyUI-Outpost {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="start a platform on this computer")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to listen on (default: %(default)s)")
    serve.add_argument("--data", type=Path, default=None, help="folder for everything that the platform keeps")
    serve.add_argument("--database", metavar="URL", help="SQLAlchemy URL of a database to use instead of SQLite")
    serve.add_argument("--public-url", metavar="URL", help="where clients reach this server, if a proxy is in front")
    serve.set_defaults(command=_serve)

    connect = commands.add_parser("connect", help="save the platform and the API key that this computer uses")
    connect.add_argument("url", help="address of the platform, such as http://127.0.0.1:8190")
    connect.set_defaults(command=_connect)

    demo = commands.add_parser("demo", help="send a picture through a platform of its own, and look at the result")
    demo.add_argument("picture", type=Path, nargs="?", help="a picture of yours (default: one that is made up)")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the result")
    demo.set_defaults(command=_demo)

    doctor = commands.add_parser("doctor", help="try the whole way once and say what is wrong")
    doctor.add_argument("--deployment", metavar="ID", help="the deployment to run (default: the platform's own sample)")
    doctor.set_defaults(command=_doctor)
    return parser


async def _serve(options: argparse.Namespace) -> int:
    from .server.app import serving
    from .server.config import ServerConfig
    from .server.platform import open_platform

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    data: Path = options.data or data_folder()
    config = ServerConfig(data, database_url=options.database, public_url=options.public_url)
    try:
        async with open_platform(config) as platform, serving(platform, host=options.host, port=options.port) as url:
            print(f"ComfyUI-Outpost {__version__} serves {url} and keeps everything in {data}", flush=True)
            if first := platform.first_start:
                print(_WELCOME.format(key=first.api_key, url=url, deployment=first.deployment_id), flush=True)
            await _until_stopped()
    except OSError as error:
        raise OutpostError(f"The server cannot start on {options.host}:{options.port}: {error.strerror}") from error
    return 0


_WELCOME = """
This is the first start, so an API key was made. It is shown only this once:

    {key}

Use it on this computer:   outpost connect {url}      (it asks for the key)
Then try the whole way:    outpost doctor
A deployment to begin with: Hello Outpost, {deployment}
"""


async def _until_stopped() -> None:
    """Wait for Ctrl-C or, where there is such a signal, SIGTERM."""
    stopped = asyncio.Event()
    if sys.platform != "win32":
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


async def _connect(options: argparse.Namespace) -> int:
    from .client import Client

    prompt = "API key (it is not shown): "
    key = await asyncio.to_thread(getpass.getpass, prompt) if sys.stdin.isatty() else sys.stdin.readline()
    connection = Connection(options.url, key.strip())
    async with Client(connection) as client:
        found = len(await client.deployments.list())
    path = settings_path(os.environ)
    save_connection(connection, path)
    print(f"Connected to {connection.base_url}, which has {found} deployments. Saved in {path}, readable by you alone.")
    return 0


async def _demo(options: argparse.Namespace) -> int:
    # The one place where this package reaches for the nodes: the demo is their program, which only starts here.
    demo: Coroutine[Any, Any, int] = importlib.import_module("..nodes.demo", __package__).run(
        options.picture, options.output
    )
    return await demo


async def _doctor(options: argparse.Namespace) -> int:
    from .client import Client
    from .doctor import examine

    async with Client(load_connection()) as client:
        return 0 if await examine(client, deployment_id=options.deployment) else 1


def data_folder() -> Path:
    """Where `outpost serve` keeps everything unless it is told otherwise."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "comfyui-outpost"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "comfyui-outpost" / "server"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "comfyui-outpost"


if __name__ == "__main__":
    sys.exit(main())
