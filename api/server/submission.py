"""Accepting a run: its inputs are checked before anything is kept, and what is kept will be executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput, Unprocessable
from ..inputs import addressable_inputs, check_inputs, external_inputs
from ..models import DeploymentInput, Graph, KeyScope, RunRequest
from ..shapes import is_array
from .addresses import check_url
from .call import Call, unprocessable
from .circular import waiting_machine
from .ownership import readable_key
from .repeating import key_of
from .store.runs import Limits, Webhook


async def submit(call: Call, request: RunRequest) -> str:
    """Accept a run; its id. The header Idempotency-Key makes a second sending of the same request the same run.

    Raises BadRequest, NotFound, Conflict and Unprocessable, the last with the input that is wrong or what its machine
    lacks.
    """
    platform, key = call.platform, key_of(call.request)
    if key and (known := await platform.store.runs.find_by_key(call.owner, request, key)):
        return known  # whatever has become of the deployment since
    deployment = await platform.store.deployments.runnable(call.owner, request.deployment_id)
    try:
        inputs = check_inputs(_open_to(call, deployment.workflow_api, request), request.inputs)
        await _check_files(call, inputs)
    except InvalidInput as error:
        raise unprocessable(("body", "inputs", str(error.input_id)), str(error)) from error
    comes_from = await waiting_machine(call, deployment.machine_id)
    await platform.checks.check(deployment, inputs)
    run_id = await platform.store.runs.create(
        call.owner,
        deployment,
        request=request,
        inputs=inputs,
        limits=Limits(platform.config.queue_seconds, platform.config.run_seconds),
        key=key,
        webhook=_webhook(call, request),
        comes_from=comes_from,
    )
    platform.dispatcher.expect(deployment.queue_timeout or platform.config.queue_seconds)
    return run_id


def _open_to(call: Call, graph: Graph, request: RunRequest) -> list[DeploymentInput]:
    """The inputs that the caller may set: with a key that may only run, no more than what the graph declares."""
    declared = external_inputs(graph)
    if declared and call.holder.scope is KeyScope.RUN:
        return declared
    return addressable_inputs(graph, request.inputs)


def _webhook(call: Call, request: RunRequest) -> Webhook | None:
    if request.webhook is None:
        return None
    try:
        check_url(request.webhook, allow_private=call.platform.config.allow_private_addresses)
    except Unprocessable as error:
        raise unprocessable(("body", "webhook"), str(error)) from error
    is_intermediate = request.webhook_intermediate_status
    return Webhook(request.webhook, is_intermediate, key_id=call.holder.key_id, base_url=call.base_url)


async def _check_files(call: Call, inputs: Mapping[str, Any]) -> None:
    """An input that names a file of this platform must name one of the caller's that has arrived."""
    platform = call.platform
    for input_id, value in inputs.items():
        for url in _urls(value):
            if platform.objects.key_of(url) is None:
                continue  # a URL of somebody else's, or no URL at all: the machine's business
            try:
                await readable_key(platform.store, platform.objects, owner=call.owner, url=url)
            except InvalidInput as error:
                raise InvalidInput(f"The input {input_id!r} cannot be used: {error}", input_id=input_id) from error


def _urls(value: Any) -> list[str]:
    """The texts of an input that may be URLs: itself, or those in the JSON array that a batch travels as."""
    if not isinstance(value, str):
        return []
    try:
        batch: Any = json.loads(value) if value.startswith("[") else None
    except (ValueError, RecursionError):
        batch = None
    return [each for each in batch if isinstance(each, str)] if is_array(batch) else [value]
