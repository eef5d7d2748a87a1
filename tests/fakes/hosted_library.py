"""The hosted platform's files: uploads, assets in folders, and the store behind them, which checks what is signed."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, cast
from uuid import uuid4

from aiohttp import web

from . import recordings
from .hosted_resources import Crash, recorded

Row = dict[str, Any]


class HostedLibrary:
    """Assets are found by paths without a leading slash; what is PUT must have the headers that were signed."""

    def __init__(self) -> None:
        self.uploaded = b""
        """The bytes of the newest `POST /file/upload`."""
        self.assets: dict[str, Row] = {}
        self.is_public = True
        """Whether files can be read without a signature. Where not, only reading an asset tells a URL with one."""
        self.objects: dict[str, bytes] = {}
        """What the store holds, by path; on the wire it has the place of the recorded one."""
        self._signed: dict[str, dict[str, str]] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/file/upload", self._upload),
            web.get("/api/assets", self._list),
            web.get("/api/assets/search", self._search),
            web.get("/api/assets/presigned-url", self._sign),
            web.post("/api/assets/register", self._register),
            web.post("/api/assets/upload", self._upload_asset),
            web.post("/api/assets/folder", self._folder),
            web.post("/api/assets/add", self._add_from_url),
            web.get("/api/assets/{id}", self._get),
            web.patch("/api/assets/{id}", self._move),
            web.delete("/api/assets/{id}", self._delete),
            web.put("/store/{path:.+}", self._put),
            web.get("/store/{path:.+}", self._fetch),
        ]

    async def _upload(self, request: web.Request) -> web.Response:
        part = await _part(request)
        if part is None:
            return recorded("post_file_upload", "the documented")
        name, self.uploaded = part
        if name.endswith(".txt"):
            return recorded("post_file_upload", "txt")
        path = f"inputs/file_{uuid4().hex[:16]}.png"
        self.objects[path] = self.uploaded
        url = f"http://{request.host}/store/{path}"
        return recorded("post_file_upload", "multipart", file_name=name, file_url=url)

    async def _list(self, request: web.Request) -> web.Response:
        asked = request.query.get("path", "/")
        folder = "" if asked == "/" else asked.rstrip("/")
        return web.json_response([row for row in self.assets.values() if _parent(row) == folder])

    async def _search(self, request: web.Request) -> web.Response:
        query, limit = request.query.get("query", "").lower(), int(request.query.get("limit", 5))
        return web.json_response([row for row in self.assets.values() if query in row["name"].lower()][:limit])

    async def _get(self, request: web.Request) -> web.Response:
        row = self.assets.get(request.match_info["id"])
        if not row:
            return recorded("get_assets_asset_id", "unknown")
        is_signed = not self.is_public and row["url"]
        return web.json_response(row | ({"url": f"{row['url']}?X-Amz-Signature=x"} if is_signed else {}))

    async def _sign(self, request: web.Request) -> web.Response:
        if not {"file_name", "type"} <= set(request.query):
            return recorded("get_assets_presigned-url", "missing type")
        file_id = f"img_{uuid4().hex[:16]}"
        path = "/".join(filter(None, (request.query.get("parent_path", "").strip("/"), f"{file_id}.png")))
        url = f"http://{request.host}/store/{path}"
        acl = {"x-amz-acl": "public-read"} if self.is_public else {}
        self._signed[path] = {"Content-Type": request.query["type"], **acl}
        ticket = {"url": f"{url}?X-Amz-Signature=x", "download_url": url, "file_id": file_id, "db_path": path}
        return web.json_response(ticket | {"is_public": self.is_public})

    async def _put(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        signed = ("content-type", "x-amz-acl", "authorization")
        sent = {name: value for name, value in request.headers.items() if name.lower() in signed}
        if {name.lower(): value for name, value in sent.items()} != {
            name.lower(): value for name, value in self._signed[path].items()
        }:
            return web.Response(status=403, text="<Error>SignatureDoesNotMatch</Error>", content_type="application/xml")
        self.objects[path] = await request.read()
        return web.Response()

    async def _fetch(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        data = self.objects.get(request.match_info["path"])
        return web.Response(body=data) if data is not None else web.Response(status=403, text="<Error/>")

    async def _register(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not {"file_id", "file_name", "file_size", "db_path", "url", "mime_type"} <= set(body):
            return recorded("post_assets_register", "missing")
        if body["file_id"] in self.assets:
            raise Crash
        row = {"id": body["file_id"], "name": body["file_name"], "path": body["db_path"]}
        return self._keep(row | {name: body[name] for name in ("file_size", "url", "mime_type")})

    async def _upload_asset(self, request: web.Request) -> web.Response:
        part = await _part(request)
        if part is None:
            return recorded("post_assets_upload", "JSON body")
        name, data = part
        if name.endswith(".txt"):
            return recorded("post_assets_upload", "txt")
        folder, file_id = request.query.get("parent_path", "/").strip("/"), f"img_{uuid4().hex[:16]}"
        path = "/".join(filter(None, (folder, f"{file_id}.png")))
        return self._keep({"id": file_id, "name": name, "path": path, "file_size": len(data)})

    async def _folder(self, request: web.Request) -> web.Response:
        body = await request.json()
        path = "/".join(filter(None, (body.get("parent_path", "/").strip("/"), body["name"])))
        row = {"id": f"folder_{uuid4().hex[:16]}", "name": body["name"], "path": path, "is_folder": True}
        return self._keep(row | {"url": None, "file_size": None, "mime_type": None})

    async def _add_from_url(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, file_id = body["url"].rpartition("/")[2], f"img_{uuid4().hex[:16]}"
        path = "/".join(filter(None, (body["path"], f"{file_id}.png")))
        return self._keep({"id": file_id, "name": name, "path": path, "url": body["url"]})

    async def _move(self, request: web.Request) -> web.Response:
        row, body = self.assets.get(request.match_info["id"]), await request.json()
        if not row:
            return recorded("get_assets_asset_id", "unknown")
        row["path"] = "/".join(filter(None, (body["path"], row["path"].rpartition("/")[2])))
        return web.json_response(row)

    async def _delete(self, request: web.Request) -> web.Response:
        if not self.assets.pop(request.match_info["id"], None):
            return recorded("delete_assets_asset_id", "unknown")
        return recorded("delete_assets_asset_id", "file")

    def _keep(self, fields: Row) -> web.Response:
        row = recordings.body("post_assets_upload", "ok, root") | fields
        self.assets[row["id"]] = row
        return web.json_response(row)


def _parent(row: Row) -> str:
    return row["path"].rpartition("/")[0]


async def _part(request: web.Request) -> tuple[str, bytes] | None:
    """The name and the bytes of the one part of a form, which is called `file`; None for anything else."""
    if not request.content_type.startswith("multipart/"):
        return None
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + await request.read())
    [part] = cast("list[EmailMessage]", list(form.iter_parts()))
    assert part.get_param("name", header="Content-Disposition") == "file"
    return part.get_filename() or "", cast("bytes", part.get_payload(decode=True))
