"""Cancelling runs from a thread that has no event loop, also while the interpreter shuts down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..api.errors import Conflict, NotFound, OutpostError
from ..api.models import RunStatus
from .open_runs import Fate

if TYPE_CHECKING:
    from ..api.client import Client

log = logging.getLogger("outpost.runs")

CANCEL_SECONDS = 3.0
"""For cancelling all of them."""


class _SameThread(ThreadPoolExecutor):
    """Looks up names of hosts where it is asked to: at the end of a program no thread can be started any more."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except OSError as error:
            future.set_exception(error)
        return future


def cancel_runs(open_client: Callable[[], Client], run_ids: Sequence[str]) -> dict[str, Fate]:
    """Cancel these runs side by side; what has become of each. What could not be done is in the log."""
    fates: dict[str, Fate] = {}
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_SameThread(max_workers=1))
    try:
        loop.run_until_complete(asyncio.wait_for(_cancel_all(open_client, run_ids, fates), CANCEL_SECONDS))
    except asyncio.TimeoutError:
        unknown = ", ".join(run_id for run_id in run_ids if run_id not in fates)
        log.warning("the platform did not answer in %g s; these runs may go on: %s", CANCEL_SECONDS, unknown)
    except OutpostError as error:
        log.warning("these runs go on, because they could not be cancelled: %s (%s)", ", ".join(run_ids), error)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    return {run_id: fates.get(run_id, Fate.UNKNOWN) for run_id in run_ids}


async def _cancel_all(open_client: Callable[[], Client], run_ids: Sequence[str], fates: dict[str, Fate]) -> None:
    async def cancel(run_id: str) -> None:
        fates[run_id] = await cancel_run(client, run_id)

    async with open_client() as client:
        await asyncio.gather(*(cancel(run_id) for run_id in run_ids))


async def cancel_run(client: Client, run_id: str) -> Fate:
    """Cancel one run, if it has not ended; what has become of it. Why it could not be done is in the log."""
    try:
        await client.runs.cancel(run_id)
    except NotFound as error:
        log.debug("run %s needs no cancelling: %s", run_id, error)
    except Conflict as error:
        return await _fate_of(client, run_id, error)
    except OutpostError as error:
        log.warning("run %s goes on, because it could not be cancelled: %s", run_id, error)
        return Fate.UNKNOWN
    else:
        log.info("cancelled run %s", run_id)
    return Fate.USELESS


async def _fate_of(client: Client, run_id: str, reason: Conflict) -> Fate:
    """What the record of a run says that cannot be cancelled."""
    try:
        status = (await client.runs.get(run_id, queue_position=False)).status
    except OutpostError as error:
        log.warning("it is not known whether run %s goes on: %s", run_id, error)
        return Fate.UNKNOWN
    log.log(logging.DEBUG if status.is_terminal else logging.WARNING, "run %s is not cancelled: %s", run_id, reason)
    return Fate.USELESS if status.is_terminal and status is not RunStatus.SUCCESS else Fate.LEFT
