"""The command `outpost`. It puts the programs together; what they do is elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import __version__
from .errors import OutpostError
from .settings import Connection, load_connection, save_connection, settings_path

DEFAULT_PORT = 8190
MAX_PORT = 65535


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
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port to listen on (default: %(default)s)")
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
    # It quotes malformed requests, and with them whatever secrets they hold. Our own failures are logged by us.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    os.umask(0o077)  # whatever the platform keeps is for its own user
    data: Path = options.data or data_folder()
    config = ServerConfig(data, database_url=options.database, public_url=options.public_url)
    stopped = _stop_signals()
    with _one_sentence(f"The platform in {data} cannot be opened"):
        async with open_platform(config) as platform:
            if first := platform.first_start:
                # Before anything else can go wrong: nobody can find it out later.
                print(_KEY.format(key=first.api_key), flush=True)
            with _one_sentence(f"The server cannot start on {options.host}:{options.port}"):
                async with serving(platform, host=options.host, port=options.port) as url:
                    _greet(url, data, first.deployment_id if first else None)
                    await stopped.wait()
    return 0


_KEY = """
This is the first start, so an API key was made. It is shown only this once:

    {key}
"""
_FIRST_STEPS = """
Use the key on this computer:   outpost connect {url}      (it asks for the key)
Then try the whole way:         outpost doctor
A deployment to begin with:     Hello Outpost, {deployment}
"""


def _greet(url: str, data: Path, sample_id: str | None) -> None:
    print(f"ComfyUI-Outpost {__version__} serves {url} and keeps everything in {data}", flush=True)
    if sample_id:
        print(_FIRST_STEPS.format(url=url, deployment=sample_id), flush=True)


@contextmanager
def _one_sentence(what: str) -> Generator[None, None, None]:
    """What the operating system refuses, in one sentence."""
    try:
        yield
    except OSError as error:
        raise OutpostError(f"{what}: {error.strerror}") from error


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port, which is a number from 0 to {MAX_PORT}")
    return int(text)


def _stop_signals() -> asyncio.Event:
    """Set by Ctrl-C and, where there is such a signal, SIGTERM."""
    stopped = asyncio.Event()
    if sys.platform != "win32":
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
    return stopped


def _connect(options: argparse.Namespace) -> Coroutine[Any, Any, int]:
    # Not in the event loop, where Ctrl-C would wait for the answer.
    return _save(Connection(options.url, _ask_for_key()))


def _ask_for_key() -> str:
    try:
        text = getpass.getpass("API key (it is not shown): ") if sys.stdin.isatty() else sys.stdin.readline()
    except EOFError:
        return ""
    return text.strip()


async def _save(connection: Connection) -> int:
    from .client import Client

    async with Client(connection) as client:
        found = len(await client.deployments.list())
    path = settings_path(os.environ)
    with _one_sentence(f"{path} cannot be written"):
        save_connection(connection, path)
    print(f"Connected to {connection.base_url}; deployments: {found}. Saved in {path}, readable by you alone.")
    return 0


async def _demo(options: argparse.Namespace) -> int:
    # The one place where this package reaches for the nodes: the demo is their program, which only starts here.
    try:
        from ..nodes import demo
    except ModuleNotFoundError as error:
        raise OutpostError(f"The demo needs {error.name}. Install it: python -m pip install {error.name}") from error
    return await demo.run(options.picture, options.output)


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
