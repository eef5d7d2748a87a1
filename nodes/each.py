"""One run of a deployment for each image of a batch or entry of a list. Knows nothing of ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..api.errors import InvalidInput, quote
from ..api.inputs import PREFIX, InputKind, declared_inputs, kind_of
from ..api.models import Deployment
from ..api.outputs import OutputKind
from . import contents, media, sending
from .execution import Finished, Flow, Host
from .on_failure import OnFailure
from .results import LocalFile, OutputPart, RunResult
from .sending import ALPHA
from .several import End, Ends, Several
from .stopwatch import Stopwatch
from .waiting import side_by_side

if TYPE_CHECKING:
    from ..api.client import Client
    from .open_runs import OpenRuns

Inputs = dict[str, Any]

_IMAGES = (InputKind.IMAGE, InputKind.IMAGE_BATCH)
_FLOATS = (f"{PREFIX}EXR",)
"""Classes of inputs whose images are not sent as PNG."""


@dataclass(frozen=True)
class Results:
    """What came of the runs."""

    outputs: Finished
    """The outputs of all runs, in order, with blanks where they were wanted."""
    ends: Ends
    """How each of them has ended."""


def entries(deployment: Deployment, inputs: Mapping[str, Sequence[Any]]) -> list[Inputs]:
    """The inputs of each run, from lists of values: a list of one is for all runs, and the others are of one length.

    A batch counts as its images, unless the deployment's input takes a batch.
    Raises InvalidInput when the lengths do not agree, or there is nothing.
    """
    batches = {each.input_id for each in declared_inputs(deployment) or () if kind_of(each) is InputKind.IMAGE_BATCH}
    values = {
        name: list(given)
        if name.removesuffix(ALPHA) in batches
        else [one for value in given for one in _singles(value)]
        for name, given in inputs.items()
    }
    counts = {name: len(given) for name, given in values.items()}
    if empty := [name for name, count in counts.items() if count == 0]:
        raise InvalidInput(f"There is nothing on the input {quote(repr(empty[0]))}", input_id=empty[0])
    several = {name: count for name, count in counts.items() if count != 1}
    if len(set(several.values())) > 1:
        told = ", ".join(f"{quote(repr(name))} has {count}" for name, count in several.items())
        raise InvalidInput(f"The inputs have to have one entry or the same number of entries: {told}")
    count = max(several.values(), default=1)
    return [{name: given[index % len(given)] for name, given in values.items()} for index in range(count)]


def _singles(value: Any) -> list[Any]:
    """The images or masks of a batch, as batches of one; any other value is one."""
    if not media.is_tensor(value) or value.dim() < 3:
        return [value]
    return [value[index : index + 1] for index in range(len(value))]


class ForEach:
    """Runs a deployment several times, at most `limit` at a time."""

    def __init__(
        self,
        client: Client,
        host: Host,
        *,
        limit: int,
        on_failure: OnFailure = OnFailure.STOP,
        open_runs: OpenRuns | None = None,
        deadline: float | None = None,
    ) -> None:
        self._client = client
        self._host = host
        self._limit = limit
        self._on_failure = on_failure
        self._open_runs = open_runs
        self._deadline = deadline
        self._prompt_id = host.prompt_id

    async def run(self, deployment_id: str, inputs: Mapping[str, Sequence[Any]]) -> Results:
        """The results of all runs. Raises the first error when failures stop everything, or when all failed."""
        self._host.text("reading the deployment")
        deployment = await self._client.deployments.get(deployment_id)
        runs = await self._with_shared_images(deployment, entries(deployment, inputs))
        several = Several(self._host, len(runs), is_stopped_by_failures=self._on_failure is OnFailure.STOP)

        async def end(index: int) -> End:
            flow = Flow(
                self._client,
                several.part(index),
                deadline=self._deadline,
                open_runs=self._open_runs,
                prompt_id=self._prompt_id,
            )
            return await several.end(index, flow, lambda: flow.run(deployment, runs[index]))

        ends = several.ends(await side_by_side(range(len(runs)), end, limit=self._limit))
        return Results(self._together(ends), ends)

    async def _with_shared_images(self, deployment: Deployment, runs: list[Inputs]) -> list[Inputs]:
        """The inputs of the runs, with an image that goes to all of them uploaded: it is converted and hashed once."""
        if len(runs) == 1:
            return runs
        self._host.text("uploading")
        shared: Inputs = {}
        for declared in declared_inputs(deployment) or ():
            name, kind = declared.input_id, kind_of(declared)
            value = runs[0].get(name)
            if kind not in _IMAGES or declared.class_type in _FLOATS or not media.is_tensor(value):
                continue
            if f"{name}{ALPHA}" in runs[0] or any(run[name] is not value for run in runs):
                continue
            with suppress(InvalidInput):  # each run says what is wrong with it, and with which input
                images = contents.images_of(value)
                files = await sending.upload_images(self._client, images, stopwatch=Stopwatch())
                shared[name] = files if kind is InputKind.IMAGE_BATCH else files[0]
        return [{**run, **shared} for run in runs]

    def _together(self, ends: Ends) -> Finished:
        first = ends.finished[0]
        blanks = _blanks(ends.results, order=list(first.kinds)) if self._on_failure is OnFailure.BLANK else []
        parts = [part for end in ends.all for part in (end.result.parts if isinstance(end, Finished) else blanks)]
        return replace(first, result=replace(first.result, parts=tuple(parts)))


def _blanks(results: Sequence[RunResult], *, order: list[str]) -> list[OutputPart]:
    """The images that a run would have put out, but black and not transparent.

    How many there are of each output, and of which size, is known by the runs that have succeeded; `order` has the
    names of the outputs.
    """
    like: dict[str, list[OutputPart]] = {}
    for result in results:
        found: dict[str, list[OutputPart]] = {}
        for part in result.of_kind(OutputKind.IMAGE):
            found.setdefault(part.output_name, []).append(part)
        like = {**found, **like}
    names = sorted(like, key=lambda name: order.index(name) if name in order else len(order))
    return [_blank(part) for name in names for part in like[name]]


def _blank(part: OutputPart) -> OutputPart:
    if isinstance(part.value, (str, LocalFile)):
        return part
    image, mask = part.value.image, part.value.mask
    black = media.Decoded(image.new_zeros(image.shape), mask.new_zeros(mask.shape))
    return replace(part, value=black, file=None)
