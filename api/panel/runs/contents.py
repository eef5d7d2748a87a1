"""What went into a run and what came out of it, as the page is told of it: no signed URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ...errors import NotFound
from ...models import OutputFile, Run
from ...outputs import OutputKind, kind_of_file, kind_of_output
from ...shapes import is_array, parse_json

_MAX_TEXT = 100_000
_MAX_NAME = 120


class Item(NamedTuple):
    """One file or text that a run has put out."""

    number: int
    kind: OutputKind
    name: str
    output_id: str | None
    node_id: str | None
    text: str | None
    url: str | None
    is_temporary: bool = False
    """Whether its node keeps it for a look only, such as Preview Image."""


def items_of(run: Run) -> Iterator[Item]:
    """All that a run has put out, numbered in its order."""
    number = 0
    for output in run.outputs:
        class_type = (output.node_meta and output.node_meta.node_class) or ""
        for in_list, values in output.data.items():
            for value in values:
                if isinstance(value, bool):
                    continue
                if isinstance(value, OutputFile):
                    name = value.filename or name_in(value.url)
                    kind = kind_of_output(name, in_list=in_list, class_type=class_type)
                    ids = output.output_id, output.node_id
                    yield Item(number, kind, name, *ids, None, value.url, is_temporary=value.type == "temp")
                else:
                    text = value[:_MAX_TEXT]
                    yield Item(number, OutputKind.TEXT, "", output.output_id, output.node_id, text, None)
                number += 1


def item_of(run: Run, number: str) -> Item:
    """One of them by its number. Raises NotFound."""
    for item in items_of(run):
        if str(item.number) == number:
            return item
    raise NotFound(f"The run {run.id} has put out nothing with the number {number[:20]}.")


def outputs_shown(run: Run) -> list[dict[str, Any]]:
    """What a run has put out, without addresses."""
    shown: list[dict[str, Any]] = []
    for item in items_of(run):
        told = {"number": item.number, "kind": item.kind.value, "name": item.name}
        shown.append({**told, "output_id": item.output_id, "node_id": item.node_id, "text": item.text})
    return shown


def inputs_shown(run: Run) -> list[dict[str, Any]]:
    """The values of a run; files by name and kind."""
    shown: list[dict[str, Any]] = []
    for input_id, value in (run.workflow_inputs or {}).items():
        urls = urls_in(value)
        files = [{"name": name_in(url), "kind": kind_of_file(name_in(url)).value} for url in urls]
        shown.append({"input_id": input_id, "files": files} if urls else {"input_id": input_id, "value": value})
    return shown


def urls_in(value: Any) -> list[str]:
    """The addresses that a value of a run is: one, or those of a batch, which is a list in a text."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            return []
    values = value if is_array(value) else [value]
    urls = [each for each in values if isinstance(each, str) and is_address(each)]
    return urls if len(urls) == len(values) else []


def is_address(text: str) -> bool:
    """Whether a value is nothing but where a file is."""
    return text.startswith(("http://", "https://", "data:")) and not any(each.isspace() for each in text)


def name_in(url: str) -> str:
    """What a file is called by its address."""
    if url.startswith("data:"):
        return f"inline.{url[5:].partition(';')[0].partition('/')[2][:10] or 'bin'}"
    path = urlsplit(url).path
    return unquote(path.rstrip("/").rpartition("/")[2])[:_MAX_NAME] or "file"
