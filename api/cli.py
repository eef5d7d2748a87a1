"""The command `outpost`. It puts the programs together; what they do is elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .. import __version__
from .commands.connect import add_connect_options
from .commands.key import add_key_commands
from .commands.machine import add_machine_commands
from .commands.serve import add_serve_options
from .errors import OutpostError
from .settings import load_connection

_UNREAD = 128 + 13
"""As a shell tells of a program that SIGPIPE has ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the process's exit code."""
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        _write_nowhere()
        return _UNREAD


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(options.command(options))
    except KeyboardInterrupt:
        return 130
    except OutpostError as error:
        print(f"outpost: {error}", file=sys.stderr)
        return 1


def _write_nowhere() -> None:
    """Whoever read what the command says has gone: Python writes what is left at its end, and would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="outpost", description="Run ComfyUI work on remote GPUs.")
    parser.add_argument("--version", action="version", version=f"ComfyUI-Outpost {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add_serve_options(commands.add_parser("serve", help="start a platform on this computer"))
    add_key_commands(commands.add_parser("key", help="make, list and revoke the platform's API keys"))
    add_machine_commands(
        commands.add_parser("machine", help="look at the machines of the connected platform, and delete them")
    )

    add_connect_options(
        commands.add_parser("connect", help="save the platform and the API key that this computer uses")
    )

    demo = commands.add_parser("demo", help="send a picture through a platform of its own, and look at the result")
    demo.add_argument("picture", type=Path, nargs="?", help="a picture of yours (default: one that is made up)")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the result")
    demo.set_defaults(command=_demo)

    doctor = commands.add_parser("doctor", help="try the whole way once and say what is wrong")
    doctor.add_argument("--deployment", metavar="ID", help="the deployment to run (default: the platform's own sample)")
    doctor.set_defaults(command=_doctor)
    return parser


@contextmanager
def _needing_libraries(what: str) -> Generator[None, None, None]:
    """What only some commands need, and a plain Python may lack."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise OutpostError(
            f"{what} needs {error.name}. Install it: python -m pip install {error.name}, or use ComfyUI's own Python."
        ) from error


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


if __name__ == "__main__":
    sys.exit(main())
