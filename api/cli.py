"""The command `outpost`. It puts the programs together; what they do is elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import gc
import getpass
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .errors import OutpostError
from .settings import Connection, load_connection, save_connection, settings_path

if TYPE_CHECKING:
    from .server.config import ServerConfig

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

    _add_serve_options(commands.add_parser("serve", help="start a platform on this computer"))
    _add_key_commands(commands.add_parser("key", help="make, list and revoke the platform's API keys"))

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


def _add_serve_options(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port to listen on (default: %(default)s)")
    _add_place(serve)
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


def _add_place(parser: argparse.ArgumentParser) -> None:
    """Where a platform is kept."""
    where = f"folder for everything that the platform keeps (default: {data_folder()})".replace("%", "%%")
    parser.add_argument("--data", type=Path, default=None, help=where)
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("OUTPOST_DATABASE_URL"),
        help="SQLAlchemy URL of a database to use instead of SQLite (default: OUTPOST_DATABASE_URL in the environment, "
        "where nobody reads a password from the list of processes)",
    )


def _add_key_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="ACTION")
    create = commands.add_parser("create", help="make a key; it is shown only this once")
    create.add_argument("name", help="what it is for")
    create.add_argument("--scope", choices=["full", "run", "read"], default="full", help="what it may do (%(default)s)")
    create.add_argument("--days", type=float, metavar="N", help="after which it stops working (default: never)")
    create.set_defaults(command=_create_key)
    listing = commands.add_parser("list", help="list the keys, without what opens the door")
    listing.set_defaults(command=_list_keys)
    revoke = commands.add_parser("revoke", help="end a key at once")
    revoke.add_argument("id", help="as `outpost key list` shows it")
    revoke.set_defaults(command=_revoke_key)
    secret = commands.add_parser("webhook-secret", help="show what the webhooks of a key's runs are signed with")
    secret.add_argument("id", help="as `outpost key list` shows it")
    secret.set_defaults(command=_show_webhook_secret)
    for each in (create, listing, revoke, secret):
        _add_place(each)


def _named_folder(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    folder = Path(path).expanduser()
    if not name or not (folder / "main.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PATH with the folder of a ComfyUI, which has a main.py")
    return name, folder.resolve()


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
    config = ServerConfig(
        data,
        database_url=options.database,
        objects_url=options.objects,
        public_url=options.public_url,
        allow_private_addresses=options.allow_private_addresses,
        comfyui_folders=dict(options.comfyui_folder),
        comfyui_python=options.comfyui_python,
    )
    stopped = _stop_signals()
    with _one_sentence(f"The platform in {data} cannot be opened"):
        async with open_platform(config) as platform:
            if first := platform.first_start:
                # Before anything else can go wrong: nobody can find it out later.
                print(_KEY.format(key=first.api_key), flush=True)
            with _one_sentence(f"The server cannot start on {options.host}:{options.port}"):
                async with serving(platform, host=options.host, port=options.port) as url:
                    _greet(url, data, first.deployment_id if first else None)
                    # All that is there now stays; looking through it for garbage would hold up everybody for 0.1 s.
                    gc.freeze()
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


@contextmanager
def _needing_libraries(what: str) -> Generator[None, None, None]:
    """What only some commands need, and a plain Python may lack."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise OutpostError(
            f"{what} needs {error.name}. Install it: python -m pip install {error.name}, or use ComfyUI's own Python."
        ) from error


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


def _place(options: argparse.Namespace) -> ServerConfig:
    from .server.config import ServerConfig

    logging.getLogger("alembic").setLevel(logging.WARNING)
    return ServerConfig(options.data or data_folder(), database_url=options.database)


async def _create_key(options: argparse.Namespace) -> int:
    from .models import KeyScope
    from .server.operator import create_key

    key, key_id = await create_key(_place(options), options.name, scope=KeyScope(options.scope), days=options.days)
    print(f"This key is shown only this once:\n\n    {key}\n\nIts id, for `outpost key revoke`: {key_id}")
    return 0


async def _list_keys(options: argparse.Namespace) -> int:
    from .server.operator import list_keys

    for key in await list_keys(_place(options)):
        state = (
            "revoked" if key.revoked_at else f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "works"
        )
        print(f"{key.id}  {key.scope.value:4}  {state:26}  {key.name}")
    return 0


async def _revoke_key(options: argparse.Namespace) -> int:
    from .server.operator import revoke_key

    await revoke_key(_place(options), options.id)
    print(f"The key {options.id} is revoked")
    return 0


async def _show_webhook_secret(options: argparse.Namespace) -> int:
    from .server.operator import webhook_secret_of

    print(await webhook_secret_of(_place(options), options.id))
    return 0


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
    with _needing_libraries("The demo"):
        from ..nodes import demo
    return await demo.run(options.picture, options.output)


async def _doctor(options: argparse.Namespace) -> int:
    from .client import Client

    with _needing_libraries("The doctor"):
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
