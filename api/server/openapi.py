"""The OpenAPI document, written from the route table and the records, so that it says what the server does."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from ... import __version__
from ..errors import ApiError, Forbidden, NotFound, ServerError, TooLarge, Unauthorized, Unprocessable
from ..models import Record, RunMessage
from .circular import PROMPT_HEADER
from .endpoint import EVENT_STREAM, FORM, JSON, Endpoint, PublicEndpoint
from .problems import ErrorAnswer
from .webhooks import ANSWER_SECONDS, ATTEMPTS, RETRY_SECONDS

Schema = dict[str, Any]
Direction = Literal["validation", "serialization"]
_REF = "#/components/schemas/{model}"
_DESCRIPTION = """Run ComfyUI workflows on machines, by the API of ComfyUI Deploy.

A workflow is kept in versions. A deployment puts a version on a machine. A run executes a deployment with inputs of its
own; its outputs are files and texts. Every path is also served without the prefix `/api`.

- Send the API key as `Authorization: Bearer …`.
- Every error is JSON with a `detail` for people (a text or, for wrong fields, a list) and a stable `code` for programs.
- A thing that belongs to somebody else is not found.
- With the header `Idempotency-Key`, what is asked for twice is made once: a run, a workflow, a version, a deployment.
  A repetition is recognised for at least 24 hours.
"""
_FILE_FORM: Schema = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}},
    "required": ["file"],
}
_EVENT: Schema = {
    "type": "object",
    "description": "One event of the stream, by the fields of a server-sent event.",
    "properties": {
        "id": {"type": "string", "description": "Its number; to go on after it, send it as Last-Event-ID."},
        "event": {"type": "string", "description": "What kind of event it is."},
        "data": {"type": "string", "contentMediaType": JSON, "description": "What it tells, as JSON."},
    },
    "required": ["data"],
}
_HEADERS: Mapping[str, Schema] = {
    "Idempotency-Key": {
        "description": "A text of your own in printable ASCII. The same request with it again makes nothing "
        "a second time, and is answered the same; it is recognised for at least 24 hours.",
        "schema": {"type": "string", "minLength": 8, "maxLength": 200, "pattern": "^[ -~]*$"},
    },
    PROMPT_HEADER: {
        "description": "The id of the prompt that waits for the run, from a node in a ComfyUI. A run that only this "
        "ComfyUI could execute is refused: it would wait for itself.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[ -~]*$"},
    },
    "Last-Event-ID": {
        "description": "The `id` of the last event that has arrived; the stream goes on after it.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
    },
}
_TOLD = f"""The server POSTs this to the `webhook` of a run at every change of its status, and with
`webhook_intermediate_status` at its progress, too.

- Every answer 2xx within {ANSWER_SECONDS} seconds takes the message; nothing else of the answer is looked at.
- A change of status that is not taken is sent again after {RETRY_SECONDS[0]} seconds, then ever later:\
 {ATTEMPTS} times in all, within {sum(RETRY_SECONDS) // 3600} hours or little more. Progress is sent once.
- So a message may come twice, late, or after a newer one.
- Messages are signed as Standard Webhooks has it. The secret is the `webhook_secret` (`whsec_…`) that was answered\
 when the run's API key was created.
"""
_TOLD_HEADERS: Mapping[str, str] = {
    "webhook-id": "The message's own id, which stays the same when it is sent again.",
    "webhook-timestamp": "When it was sent, in seconds since 1970.",
    "webhook-signature": (
        "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`: the two headers above and the body as it came. "
        "The key is what follows `whsec_` in the secret, decoded from base64."
    ),
}


def document(endpoints: Sequence[Endpoint], public: Sequence[PublicEndpoint]) -> Schema:
    """The OpenAPI 3.1 document of these endpoints."""
    return _Writer(endpoints, public).write()


class _Writer:
    def __init__(self, endpoints: Sequence[Endpoint], public: Sequence[PublicEndpoint]) -> None:
        self._endpoints = endpoints
        self._public = [each for each in public if each.is_listed]
        self._refs, definitions = models_json_schema(list(self._models()), ref_template=_REF)
        self._definitions: Schema = definitions.get("$defs", {})

    def write(self) -> Schema:
        paths: dict[str, Schema] = {}
        for endpoint in self._endpoints:
            paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = self._operation(endpoint)
        for public in self._public:
            answers = {"200": self._success(public.answer, public.answers), "500": self._error([ServerError])}
            operation: Schema = {**_words(public.path, public.handler), "security": [], "responses": answers}
            paths.setdefault(public.path, {})[public.method.lower()] = operation
        return {
            "openapi": "3.1.0",
            "info": {"title": "ComfyUI-Outpost", "version": __version__, "description": _DESCRIPTION},
            "servers": [{"url": "."}],
            "security": [{"api_key": []}],
            "paths": paths,
            "webhooks": {"run.updated": {"post": self._told()}},
            "components": {
                "schemas": self._definitions,
                "securitySchemes": {"api_key": {"type": "http", "scheme": "bearer"}},
            },
        }

    def _models(self) -> Iterator[tuple[type[Record], Direction]]:
        yield ErrorAnswer, "serialization"
        yield RunMessage, "serialization"
        for endpoint in (*self._endpoints, *self._public):
            for model in _records(endpoint.answer):
                yield model, "serialization"
        for endpoint in self._endpoints:
            for model in (endpoint.body, endpoint.query):
                if model:
                    yield model, "validation"

    def _operation(self, endpoint: Endpoint) -> Schema:
        operation = {**_words(endpoint.path, endpoint.handler), "parameters": self._parameters(endpoint)}
        if content := self._request(endpoint):
            operation["requestBody"] = {"content": content, "required": not endpoint.is_body_optional}
        answers = {"200": self._success(endpoint.answer, endpoint.answers)}
        by_status: dict[int, list[type[ApiError]]] = {}
        for error in _errors(endpoint):
            by_status.setdefault(error.status, []).append(error)
        answers |= {str(status): self._error(errors) for status, errors in sorted(by_status.items())}
        return {**operation, "responses": answers, "x-scopes": sorted(each.value for each in endpoint.access.value)}

    def _told(self) -> Schema:
        """The message to the webhook of a run."""
        return {
            "summary": "A run has come further",
            "operationId": "run_updated",
            "description": _TOLD,
            "tags": ["Webhooks"],
            "security": [],
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": words, "schema": {"type": "string"}}
                for name, words in _TOLD_HEADERS.items()
            ],
            "requestBody": {
                "required": True,
                "content": {JSON: {"schema": self._refs[RunMessage, "serialization"]}},
            },
            "responses": {"2XX": {"description": "Taken"}, "default": {"description": "Not taken: it is sent again"}},
        }

    def _parameters(self, endpoint: Endpoint) -> list[Schema]:
        in_path: list[Schema] = [
            {"name": name, "in": "path", "required": True, "schema": TypeAdapter(kind).json_schema()}
            for name, kind in endpoint.path_types.items()
        ]
        names = ["Idempotency-Key"] if endpoint.is_once else []
        names += [PROMPT_HEADER] if endpoint.path.startswith("/run/deployment/") else []
        names += ["Last-Event-ID"] if endpoint.method == "GET" and endpoint.answers == EVENT_STREAM else []
        headers: list[Schema] = [{"name": name, "in": "header", **_HEADERS[name]} for name in names]
        return [*in_path, *(self._query(endpoint.query) if endpoint.query else ()), *headers]

    def _query(self, query: type[Record]) -> Iterator[Schema]:
        schema = self._definitions[self._refs[query, "validation"]["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        for name, each in schema["properties"].items():
            yield {
                "name": name,
                "in": "query",
                "required": name in required,
                "description": each.get("description", ""),
                "schema": _not_null({key: value for key, value in each.items() if key != "description"}),
            }

    def _request(self, endpoint: Endpoint) -> Schema:
        content: Schema = {JSON: {"schema": self._refs[endpoint.body, "validation"]}} if endpoint.body else {}
        return content | ({FORM: {"schema": _FILE_FORM}} if endpoint.form else {})

    def _success(self, answer: Any, content_type: str) -> Schema:
        if content_type == EVENT_STREAM:
            schema = _EVENT
        elif content_type == JSON:
            schema = self._schema_of(answer)
        else:
            schema = {"type": "string"}
        return {"description": "Done", "content": {content_type: {"schema": schema}}}

    def _schema_of(self, answer: Any) -> Schema:
        if record := _record(answer):
            return self._refs[record, "serialization"]
        schema = TypeAdapter[Any](answer).json_schema(mode="serialization", ref_template=_REF)
        schema.pop("$defs", None)
        return schema

    def _error(self, errors: Sequence[type[ApiError]]) -> Schema:
        words = "; ".join((inspect.getdoc(error) or "").partition("\n\n")[0].rstrip(".") for error in errors)
        return {"description": words, "content": {JSON: {"schema": self._refs[ErrorAnswer, "serialization"]}}}


def _words(path: str, handler: Any) -> Schema:
    summary, _, more = (inspect.getdoc(handler) or "").partition(". ")
    words = {"summary": summary.rstrip("."), "operationId": handler.__name__, "tags": [_tag(path)]}
    return words | ({"description": more} if more else {})


def _tag(path: str) -> str:
    return _TAGS.get(path.split("/")[1].removesuffix("s"), path.split("/")[1])


_TAGS = {
    "run": "Runs",
    "workflow": "Workflows",
    "workflow-version": "Workflows",
    "deployment": "Deployments",
    "machine": "Machines",
    "file": "Files",
    "asset": "Assets",
    "platform": "API keys",
    "event": "Events",
    "health": "Server",
    "doc": "Server",
    "openapi.json": "Server",
}


def _errors(endpoint: Endpoint) -> Iterator[type[ApiError]]:
    """What an endpoint can answer: what it says itself, and what its parameters and its being an endpoint imply."""
    implied: dict[type[ApiError], bool] = {
        Unauthorized: True,
        Forbidden: True,
        NotFound: bool(endpoint.path_types) or endpoint.may_miss,
        TooLarge: endpoint.body is not None,
        Unprocessable: bool(endpoint.body or endpoint.query or endpoint.form),
        ServerError: True,
    }
    yield from (error for error, is_possible in implied.items() if is_possible)
    yield from (error for error in endpoint.errors if not implied.get(error))


def _record(kind: Any) -> type[Record] | None:
    """A type that is a record."""
    return kind if isinstance(kind, type) and issubclass(kind, Record) else None


def _records(answer: Any) -> Iterator[type[Record]]:
    """The records in the type of an answer."""
    if record := _record(answer):
        yield record
    for part in get_args(answer):
        yield from _records(part)


def _not_null(schema: Schema) -> Schema:
    """The schema of a value in a query string, which can be absent and cannot be null."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default") or value is not None}
    if len(kinds) == 1 and "anyOf" in schema:
        return {key: value for key, value in rest.items() if key != "anyOf"} | kinds[0]
    return rest
