"""The doctor: tries the whole way once, the connection, an upload, a run, and says in one sentence what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import png
from .client import Client
from .console import Bar, say
from .errors import InvalidInput, OutpostError
from .events import LiveStatus, RunEvent
from .inputs import InputKind, declared_inputs, kind_of
from .models import Deployment, Machine, Run

DEADLINE_SECONDS = 600
_SIZE = 64


async def examine(client: Client, *, deployment_id: str | None) -> bool:
    """Whether everything works. Prints a line for each step, and at the end what is wrong or that nothing is."""
    step = "the connection"
    try:
        deployments = await client.deployments.list()
        say(f"ok  {step}: {client.connection.base_url} accepts the key and has {len(deployments)} deployments")
        step = "the upload"
        url = await _upload(client)
        say(f"ok  {step}: a picture of {_SIZE} x {_SIZE} pixels went there and came back the same")
        step = "the run"
        deployment = await _choose(client, deployments, deployment_id)
        if deployment is None:
            say("--  the run: not tried, as it may cost money here. Name one with outpost doctor --deployment ID")
            say("The connection and the upload work.")
            return True
        run = await _run(client, deployment, url)
        say(f"ok  {step}: {run.id} ended with {run.status.value} and {len(run.outputs)} outputs")
    except OutpostError as error:
        say(f"--  {step} does not work: {error}")
        return False
    down = await _machines_in_trouble(client)
    for machine in down:
        say(f"--  the machine {machine.name!r} takes no runs: {machine.status_reason or 'it does not say why'}")
    say("Everything else works." if down else "Everything works.")
    return True


async def _machines_in_trouble(client: Client) -> list[Machine]:
    try:
        return [each for each in await client.machines.list() if each.status == "error"]
    except OutpostError:
        return []  # a key that may only run sees no machines


async def _upload(client: Client) -> str:
    """Send a picture, fetch it again and compare; its URL."""
    pixels = np.random.default_rng().integers(0, 256, (_SIZE, _SIZE, 3), dtype=np.uint8)
    data = png.encode(pixels)
    stored = await client.files.upload(data, content_type="image/png", name="doctor.png")
    if await client.files.download(stored.url, max_bytes=len(data) + 1) != data:
        raise OutpostError("The picture that came back is not the one that was sent")
    return stored.url


async def _choose(client: Client, deployments: Sequence[Deployment], deployment_id: str | None) -> Deployment | None:
    """The deployment to run: the one that was named, else one that costs nothing, else none."""
    if deployment_id:
        return await client.deployments.get(deployment_id)
    for each in deployments:
        if each.machine and each.machine.type == "builtin":
            return await client.deployments.get(each.id)
    return None


async def _run(client: Client, deployment: Deployment, url: str) -> Run:
    inputs: dict[str, str] = {}
    for each in declared_inputs(deployment) or ():
        if kind_of(each) is InputKind.IMAGE:
            inputs[each.input_id] = url
        elif each.required:
            raise InvalidInput(
                f"The deployment needs a value for {each.input_id!r} ({kind_of(each).value}); name another one"
            )
    with Bar("running") as bar:

        def show(event: RunEvent) -> None:
            if isinstance(event, LiveStatus):
                bar.show(event.progress, event.text)

        return await client.runs.execute(deployment, inputs, on_event=show, deadline=DEADLINE_SECONDS)
