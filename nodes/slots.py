"""What the output sockets of a node about a deployment carry: the fixed ones, and those named by the deployment."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..api.errors import InvalidInput, OutpostError, quote
from ..api.outputs import OutputKind
from ..api.shapes import is_array
from . import host, sockets
from .on_failure import FailedRun
from .open_sockets import MAX_OUTPUTS

if TYPE_CHECKING:
    from .execution import Finished
    from .results import RunResult

log = logging.getLogger("outpost.runs")


def names_in(text: str) -> list[str]:
    """The names of the outputs that have a socket of their own, from the value of the input `outputs`."""
    try:
        names: Any = json.loads(text or "[]")
    except (ValueError, RecursionError):
        names = None
    if not is_array(names) or not all(isinstance(name, str) for name in names):
        raise InvalidInput(
            f'The input \'outputs\' is a JSON list of names, such as ["first", "second"], not {quote(repr(text))}',
            input_id="outputs",
        )
    if len(names) > MAX_OUTPUTS:
        raise InvalidInput(f"A node has at most {MAX_OUTPUTS} outputs of a deployment", input_id="outputs")
    return [str(name) for name in names]


def together(finished: Sequence[Finished]) -> Finished:
    """Several runs of a deployment as if all of their outputs were those of the first one."""
    first = finished[0]
    parts = tuple(part for each in finished for part in each.result.parts)
    return replace(first, result=replace(first.result, parts=parts))


async def carried(finished: Finished, names: Sequence[str]) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """The images, the masks, and for each of the named outputs what its socket carries. Reads files, on threads."""
    images, masks = await asyncio.to_thread(sockets.images_and_masks, finished.result)
    dynamic = [await asyncio.to_thread(_values, finished, images, name) for name in names]
    return images, masks, dynamic


def _values(finished: Finished, images: list[Any], name: str) -> list[Any]:
    """What the socket of one output carries, if nothing else a message: its run has been paid, and so have the others.

    ComfyUI does not execute the node again when a socket is connected later, so each gets its values.
    """
    result = finished.result
    try:
        picked = result.pick(name)
        kind = finished.kinds.get(name) or picked.parts[0].kind
        if kind is OutputKind.IMAGE:
            return sockets.images_among(picked, result, images)
        return sockets.values(picked, kind)
    except OutpostError as error:
        message = str(error)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"The output {quote(repr(name))} of run {result.run.id} could not be read or kept: {reason}"
    log.warning("%s", message)
    return [host.blocked(message)]


def shown(runs: Sequence[RunResult | FailedRun]) -> dict[str, list[dict[str, Any]]]:
    """What our part of the page shows on a node after its runs."""
    return {"outpost_run": [_failed(run) if isinstance(run, FailedRun) else _succeeded(run) for run in runs]}


def _succeeded(result: RunResult) -> dict[str, Any]:
    seconds = round(result.stopwatch.seconds.get("total", 0.0), 2)
    return {"run_id": result.run.id, "status": result.run.status.value, "seconds": seconds}


def _failed(run: FailedRun) -> dict[str, Any]:
    return {"run_id": run.run_id, "status": run.status, "seconds": round(run.seconds, 2), "message": run.message}
