"""`outpost machine`: the machines of the platform that this computer is connected to."""

from __future__ import annotations

import argparse

from ..errors import Conflict
from ..settings import load_connection


def add_machine_commands(parser: argparse.ArgumentParser) -> None:
    """What comes after `outpost machine`."""
    commands = parser.add_subparsers(required=True, metavar="ACTION")
    listing = commands.add_parser("list", help="list the machines, and how they are")
    listing.set_defaults(command=_list)
    logs = commands.add_parser("logs", help="show what a ComfyUI that the platform starts has printed last")
    logs.add_argument("id", help="as `outpost machine list` shows it")
    logs.add_argument("--all", action="store_true", help="also of its earlier processes, the oldest first")
    logs.set_defaults(command=_show_logs)
    delete = commands.add_parser("delete", help="delete a machine that no deployment and no pool uses")
    delete.add_argument("id", help="as `outpost machine list` shows it")
    delete.add_argument("--force", action="store_true", help="even one that is used: what uses it takes no more runs")
    delete.set_defaults(command=_delete)


async def _list(options: argparse.Namespace) -> int:
    from ..client import Client

    async with Client(load_connection()) as client:
        for machine in await client.machines.list():
            reason = f"  {_last_line(machine.status_reason)}" if machine.status_reason else ""
            print(f"{machine.id}  {machine.type:8}  {machine.status:11}  {machine.name}{reason}")
    return 0


async def _show_logs(options: argparse.Namespace) -> int:
    from ..client import Client

    async with Client(load_connection()) as client:
        logs = await client.machines.logs(options.id)
    if not logs:
        print("This machine has no logs here: it has started no ComfyUI yet, or somebody else starts it.")
    for log in reversed(logs if options.all else logs[:1]):
        state = "running" if log.is_running else "ended"
        print(f"{log.name}, started {log.started_at:%Y-%m-%d %H:%M:%S} UTC, {state}\n\n{_harmless(log.text)}")
    return 0


async def _delete(options: argparse.Namespace) -> int:
    from ..client import Client

    async with Client(load_connection()) as client:
        machine = await client.machines.get(options.id)
        try:
            await client.machines.delete(machine.id, force=options.force)
        except Conflict as error:
            command = f"outpost machine delete --force {machine.id}"
            raise Conflict(f"{error.reason} Here that is: {command}", status=error.status) from error
    print(f"The machine {machine.id} is deleted: {machine.name}")
    return 0


def _last_line(text: str) -> str:
    """Of the end of a log, what says the most."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _harmless(text: str) -> str:
    """What custom nodes have printed, without what could steer the terminal."""
    return "".join(
        each for each in text.replace("\r\n", "\n").replace("\r", "\n") if each.isprintable() or each in "\n\t"
    )
