"""What is sent for a run: inputs are checked, and tensors and other media become files behind URLs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..api.errors import InvalidInput
from ..api.inputs import PREFIX, InputKind, check_inputs, declared_inputs, kind_of
from ..api.models import Deployment, DeploymentInput
from ..api.outputs import OutputKind
from . import contents
from .contents import Content
from .local_files import temporary_folder
from .remote_files import RemoteFile, current_url
from .stopwatch import Stopwatch
from .waiting import gather_or_cancel, side_by_side

if TYPE_CHECKING:
    from ..api.client import Client

ALPHA = ":alpha"
"""Follows the id of an image input in the name of the mask that is its transparency."""

_STANDS_FOR_MEDIA = "https://tensor.invalid/"
_TAKEN_BY_CLASS: dict[str, tuple[OutputKind, ...]] = {
    f"{PREFIX}Video": (OutputKind.VIDEO,),
    f"{PREFIX}Vid": (OutputKind.VIDEO,),
    f"{PREFIX}Audio": (OutputKind.AUDIO,),
    f"{PREFIX}EXR": (OutputKind.IMAGE,),
}
_TAKEN: dict[InputKind, tuple[OutputKind, ...]] = {
    InputKind.IMAGE: (OutputKind.IMAGE,),
    InputKind.IMAGE_BATCH: (OutputKind.IMAGE,),
    InputKind.FILE: (OutputKind.IMAGE, OutputKind.VIDEO, OutputKind.AUDIO, OutputKind.LATENT),
}
_A = {OutputKind.AUDIO: "a sound", OutputKind.IMAGE: "an image", OutputKind.MODEL_3D: "a 3D file"}


class Display(Protocol):
    """What shows how an upload goes."""

    def progress(self, share: float) -> None:
        """Show how much is done, 0 to 1. Never raises."""
        ...

    def text(self, text: str) -> None:
        """Show a line. Never raises."""
        ...


async def upload_images(
    client: Client,
    images: Sequence[Any],
    *,
    stopwatch: Stopwatch,
    host: Display | None = None,
    encode: Callable[[Any], Content] = contents.png,
) -> list[RemoteFile]:
    """Images as files of the platform; each is [H, W, C] or a mask [H, W, 1], float 0..1.

    `host` shows how many are there already. Raises InvalidInput before any is sent when one of them cannot be sent.
    """
    return await upload_all(client, await _prepared(images, encode, stopwatch), stopwatch=stopwatch, host=host)


async def upload_all(
    client: Client, prepared: Sequence[Content], *, stopwatch: Stopwatch, host: Display | None = None
) -> list[RemoteFile]:
    """Contents as files of the platform, in order. They are encoded on threads while others are on their way.

    The same content travels once.
    """
    is_there = 0

    async def upload(each: Content) -> RemoteFile:
        nonlocal is_there
        file = await _upload(client, each, stopwatch)
        is_there += 1
        if host:
            host.progress(is_there / len(prepared))
            host.text(f"uploaded {is_there} of {len(prepared)}")
        return file

    if host:
        host.text("uploading")
    return await side_by_side(prepared, upload)


async def sent(
    client: Client,
    deployment: Deployment,
    inputs: Mapping[str, Any],
    *,
    stopwatch: Stopwatch,
    folder: Path | None = None,
) -> dict[str, Any]:
    """The values of a run as the platform takes them, with the URLs of what was uploaded in place of media.

    All are looked at before one is sent. What has to become a file first does so in `folder`, or where the system keeps
    temporary files. Raises InvalidInput, with the id of the input.
    """
    declared = {each.input_id: each for each in declared_inputs(deployment) or ()}
    values = _checked(deployment, inputs)
    with ExitStack() as stack:
        prepared = [
            await _contents(
                name,
                value,
                inputs,
                declared.get(name),
                stopwatch,
                lambda: stack.enter_context(temporary_folder(folder)),
            )
            for name, value in values.items()
            if _is_media(value)
        ]
        urls = await gather_or_cancel([_urls(client, each, stopwatch) for each in prepared])
    names = [name for name, value in values.items() if _is_media(value)]
    # A batch travels as text: ComfyUI takes a list for a link to another node.
    uploaded = {
        name: json.dumps(each) if _is_batch(declared.get(name)) else each[0]
        for name, each in zip(names, urls, strict=True)
    }
    return {**values, **uploaded}


def forget(client: Client, values: Mapping[str, Any]) -> None:
    """Upload everything in the values of a run again the next time: a machine could not read it."""
    for value in values.values():
        urls = [value]
        if isinstance(value, str) and value.startswith("["):
            try:
                urls = json.loads(value)
            except (ValueError, RecursionError):
                continue
        for url in urls:
            client.files.forget(str(url))


def _is_media(value: object) -> bool:
    return any(
        isinstance(each, RemoteFile) or contents.kind_of_value(each) is not None for each in contents.entries(value)
    )


def _is_batch(declared: DeploymentInput | None) -> bool:
    return declared is not None and kind_of(declared) is InputKind.IMAGE_BATCH


def _checked(deployment: Deployment, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The values brought to the types that the deployment declares, without those of transparency."""
    declared = declared_inputs(deployment)
    by_id = {each.input_id: each for each in declared or ()}
    alphas = {name for name in inputs if name.endswith(ALPHA) and name not in by_id}
    for name in alphas:
        image = name.removesuffix(ALPHA)
        if inputs[name] is None or _is_media(inputs.get(image)):
            continue
        reason = "no image is connected to that" if inputs.get(image) is None else "that is not an image but a value"
        raise InvalidInput(
            f"The input {name!r} is the transparency of {image!r}, and {reason}: connect an image there", input_id=name
        )
    values = {name: value for name, value in inputs.items() if name not in alphas}
    if declared is None:
        return values
    attached = {name: value for name, value in values.items() if _is_media(value)}
    for name, value in attached.items():
        if name in by_id:
            _check_kind(by_id[name], value)
    stand_ins = {name: [_STANDS_FOR_MEDIA] if _is_batch(by_id.get(name)) else _STANDS_FOR_MEDIA for name in attached}
    return {**check_inputs(declared, {**values, **stand_ins}), **attached}


def _check_kind(declared: DeploymentInput, value: Any) -> None:
    """InvalidInput for what the input does not take."""
    taken = _TAKEN_BY_CLASS.get(declared.class_type) or _TAKEN.get(kind_of(declared), ())
    for each in contents.entries(value):
        connected = each.kind if isinstance(each, RemoteFile) else contents.kind_of_value(each)
        if connected is None or connected in taken:
            continue
        if isinstance(each, RemoteFile) and _takes_file(declared, each):
            continue
        kind, what = kind_of(declared).value, f"The input {declared.input_id!r}"
        if not taken:
            raise InvalidInput(f"{what} ({kind}) takes no {connected.value}", input_id=declared.input_id)
        wanted = " or ".join(map(_a, taken))
        raise InvalidInput(f"{what} takes {wanted}, and {_a(connected)} is connected to it", input_id=declared.input_id)


def _takes_file(declared: DeploymentInput, file: RemoteFile) -> bool:
    """Whether the input takes an uploaded file of a kind that it does not name."""
    kind = kind_of(declared)
    if kind in (InputKind.IMAGE, InputKind.IMAGE_BATCH) or declared.class_type in _TAKEN_BY_CLASS:
        return file.kind is OutputKind.FILE  # nothing is known of it
    return kind in (InputKind.FILE, InputKind.TEXT)


def _a(kind: OutputKind) -> str:
    return _A.get(kind, f"a {kind.value}")


async def _contents(
    input_id: str,
    value: Any,
    inputs: Mapping[str, Any],
    declared: DeploymentInput | None,
    stopwatch: Stopwatch,
    folder: Callable[[], Path],
) -> list[Content | RemoteFile]:
    """What is sent for one input. Raises InvalidInput, with its id."""
    try:
        alpha = inputs.get(input_id + ALPHA)
        found = await _contents_of(value, alpha, declared, stopwatch, folder)
        if not _is_batch(declared) and len(found) != 1:
            what = found[0].kind.value
            raise InvalidInput(f"it takes one {what}, and a batch of {len(found)} is connected to it")
        return found
    except InvalidInput as error:
        raise type(error)(f"The input {input_id!r} cannot be sent: {error}", input_id=input_id) from error


async def _contents_of(
    value: Any,
    alpha: Any,
    declared: DeploymentInput | None,
    stopwatch: Stopwatch,
    folder: Callable[[], Path],
) -> list[Content | RemoteFile]:
    if len(values := contents.entries(value)) != 1:
        each = [await _contents_of(one, alpha, declared, stopwatch, folder) for one in values]
        return [content for several in each for content in several]
    value = values[0]
    if isinstance(value, RemoteFile):
        if alpha is not None:
            raise InvalidInput("a file that has been uploaded already can be given no transparency here")
        return [value]
    if alpha is not None and contents.kind_of_value(value) is not OutputKind.IMAGE:
        raise InvalidInput("only an image can be given transparency")
    if contents.kind_of_value(value) is OutputKind.IMAGE:
        is_exr = declared is not None and declared.class_type == f"{PREFIX}EXR"
        images = contents.images_of(value, alpha)
        return [*await _prepared(images, contents.exr if is_exr else contents.png, stopwatch)]
    with stopwatch.measure("encode"):
        return [*await asyncio.to_thread(contents.of_value, value, folder())]


async def _prepared(images: Sequence[Any], encode: Callable[[Any], Content], stopwatch: Stopwatch) -> list[Content]:
    """The contents of all images: only then is it known that each of them can be sent."""

    async def convert(image: Any) -> Content:
        with stopwatch.measure("encode"):
            return await asyncio.to_thread(encode, image)

    return await side_by_side(images, convert)


async def _urls(client: Client, prepared: Sequence[Content | RemoteFile], stopwatch: Stopwatch) -> list[str]:
    async def url(each: Content | RemoteFile) -> str:
        if isinstance(each, RemoteFile):
            return await current_url(client, each)
        return (await _upload(client, each, stopwatch)).url

    return await side_by_side(prepared, url)


async def _upload(client: Client, content: Content, stopwatch: Stopwatch) -> RemoteFile:
    with stopwatch.measure("encode"):
        key = await asyncio.to_thread(lambda: content.key)
    encoding: float | None = None

    async def encode() -> bytes | Path:
        nonlocal encoding
        start = time.perf_counter()
        data = await asyncio.to_thread(content.encode)
        encoding = time.perf_counter() - start
        return data

    start = time.perf_counter()
    name = content.filename
    stored = await client.files.upload_once(key, encode, content_type=content.content_type, name=name)
    if encoding is not None:  # else the platform has it already
        stopwatch.sent_bytes += stored.size
    stopwatch.add("encode", encoding or 0.0)
    stopwatch.add("upload", time.perf_counter() - start - (encoding or 0.0))
    return RemoteFile(
        content.kind, stored.file_id, stored.url, name, stored.expires_at, connection_id=client.connection.id
    )
