"""The doctor: tries the whole way once, the connection, an upload, a run, and says in one sentence what is wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True)
class Step:
    """How it stands with a part of the way; the last one, `the end`, says how everything is."""

    name: str
    state: Literal["begun", "ok", "failed", "skipped"]
    text: str = ""
    """A sentence; empty for what has begun."""


Progress = Callable[[float, str], None]
"""Is told the share of the run that is done, and what it is doing."""


async def examine(client: Client, *, deployment_id: str | None) -> bool:
    """Whether everything works. Prints a line for each step, and at the end what is wrong or that nothing is."""
    with Bar("running") as bar:
        async for step in steps(client, deployment_id=deployment_id, on_progress=bar.show):
            if step.state == "failed" and step.name == "the end":
                return False
            if step.state == "skipped":
                say(f"--  {step.name}: {step.text}. Name one with outpost doctor --deployment ID")
            elif step.state == "failed":
                say(f"--  {step.text}")
            elif step.state == "ok":
                say(step.text if step.name == "the end" else f"ok  {step.name}: {step.text}")
    return True


async def steps(
    client: Client, *, deployment_id: str | None = None, on_progress: Progress | None = None
) -> AsyncGenerator[Step, None]:
    """Try one part of the way after the other, until one does not work. `the end` says in a sentence what is wrong.

    Without an id only a deployment that costs nothing is run, and none where there is none.
    """
    name = "the connection"
    try:
        yield Step(name, "begun")
        deployments = await client.deployments.list()
        yield Step(
            name, "ok", f"{client.connection.base_url} accepts the key and has {_told(len(deployments), 'deployment')}"
        )
        name = "the upload"
        yield Step(name, "begun")
        url = await _upload(client)
        yield Step(name, "ok", f"a picture of {_SIZE} x {_SIZE} pixels went there and came back the same")
        name = "the run"
        deployment = await _choose(client, deployments, deployment_id)
        if deployment is None:
            yield Step(name, "skipped", "not tried, as it may cost money here")
            yield Step("the end", "ok", "The connection and the upload work.")
            return
        yield Step(name, "begun")
        run = await _run(client, deployment, url, on_progress)
        yield Step(name, "ok", f"{run.id} ended with {run.status.value} and {_told(len(run.outputs), 'output')}")
    except OutpostError as error:
        yield Step(name, "failed", f"{name} does not work: {error}")
        yield Step("the end", "failed", f"{name[0].upper()}{name[1:]} does not work: {error}")
        return
    down = await _machines_in_trouble(client)
    for machine in down:
        reason = machine.status_reason or "it does not say why"
        yield Step("the machines", "failed", f"the machine {machine.name!r} does not work: {reason}")
    yield Step("the end", "ok", "Everything else works." if down else "Everything works.")


def _told(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


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


async def _run(client: Client, deployment: Deployment, url: str, on_progress: Progress | None) -> Run:
    inputs: dict[str, str] = {}
    for each in declared_inputs(deployment) or ():
        if kind_of(each) is InputKind.IMAGE:
            inputs[each.input_id] = url
        elif each.required:
            raise InvalidInput(
                f"The deployment needs a value for {each.input_id!r} ({kind_of(each).value}); name another one"
            )

    def show(event: RunEvent) -> None:
        if on_progress and isinstance(event, LiveStatus):
            on_progress(event.progress, event.text)

    return await client.runs.execute(deployment, inputs, on_event=show, deadline=DEADLINE_SECONDS)
