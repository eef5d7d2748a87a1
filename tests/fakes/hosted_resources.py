"""The hosted platform's workflows, deployments and machines: its rules and its crashes, with recorded rows."""

from __future__ import annotations

import copy
import json
import re
from datetime import datetime, timezone
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from . import recordings

Row = dict[str, Any]
SHARES = ("public-share", "private-share", "community-share")
ENVIRONMENTS = ("production", "staging", "preview", *SHARES)


class Crash(Exception):
    """What the platform does not expect: a text as the answer, after which the connection is dead."""


def recorded(name: str, case: str, /, **changes: Any) -> web.Response:
    """A recorded answer, with some of its fields changed."""
    response = recordings.exchange(name, case)["response"]
    return web.json_response(response["body"] | changes if changes else response["body"], status=response["status"])


def _now() -> datetime:
    """UTC, which the platform writes without a zone."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def _wanted(request: web.Request, rows: list[Row], *, limit: str = "limit") -> list[Row]:
    """The page of the rows that was asked for, of those with the searched name."""
    count, offset = int(request.query.get(limit, 100)), int(request.query.get("offset", 0))
    if count < 0 or offset < 0:
        raise Crash
    # A database's pattern: % and _ stand for others.
    pattern = re.escape(request.query.get("search", "")).replace("%", ".*").replace("_", ".")
    return [row for row in rows if re.search(pattern, row.get("name") or "", re.IGNORECASE)][offset:][:count]


def _checked(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise Crash from None


class HostedMachines:
    """Machines. Lists hold the deleted ones, too."""

    def __init__(self) -> None:
        self.machine: Row = recordings.body("get_machine_machine_id", "ok") | {"type": "comfy-deploy-serverless"}
        self.rows: dict[str, Row] = {row["id"]: row for row in recordings.body("get_machines", "default")}
        self.rows[self.machine["id"]] = self.machine
        self.used: set[str] = {self.machine["id"]}
        """Machines with deployments."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/machines", self._list),
            web.get("/api/machine/{id}", self._get),
            web.post("/api/machine/custom", self._custom),
            web.post("/api/machine/serverless", self._serverless),
            web.patch("/api/machine/{kind:custom|serverless}/{id}", self._change),
            web.delete("/api/machine/{id}", self._delete),
        ]

    def knows(self, machine_id: str) -> bool:
        return not self.rows.get(machine_id, {"deleted": True}).get("deleted")

    async def _list(self, request: web.Request) -> web.Response:
        rows = [
            row for row in self.rows.values() if request.query.get("is_deleted") != "false" or self.knows(row["id"])
        ]
        told = [{name: value for name, value in row.items() if name != "deleted"} for row in rows]
        return web.json_response(_wanted(request, told))

    async def _get(self, request: web.Request) -> web.Response:
        if not self.knows(request.match_info["id"]):
            return recorded("get_machine_machine_id", "unknown")
        return web.json_response(self.rows[request.match_info["id"]])

    async def _custom(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "auth_token" not in body:
            return recorded("post_machine_custom", "auth_token omitted")
        if body["type"] not in ("classic", "runpod-serverless", "modal-serverless"):
            return recorded("post_machine_custom", "bad type")
        return self._add(body)

    async def _serverless(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "gpu" not in body:
            return recorded("post_machine_serverless", "empty")
        return self._add({**body, "type": "comfy-deploy-serverless", "status": "building", "keep_warm": 2})

    async def _change(self, request: web.Request) -> web.Response:
        if not self.knows(request.match_info["id"]):
            return recorded("get_machine_machine_id", "unknown")
        row, body = self.rows[request.match_info["id"]], await request.json()
        known = {
            "custom": ("name", "type", "endpoint", "auth_token"),
            "serverless": ("name", "concurrency_limit", "idle_timeout", "keep_warm"),
        }
        row |= {name: body[name] for name in known[request.match_info["kind"]] if body.get(name) is not None}
        return web.json_response({name: value for name, value in row.items() if name != "auth_token"})

    def _add(self, body: Row) -> web.Response:
        row = recordings.body("post_machine_custom", "ok classic") | body | {"id": str(uuid4())}
        self.rows[row["id"]] = row
        return web.json_response(row)

    async def _delete(self, request: web.Request) -> web.Response:
        machine_id = request.match_info["id"]
        if machine_id not in self.rows:
            return recorded("delete_machine_machine_id", "unknown")
        if machine_id in self.used and request.query.get("force") != "true":
            return recorded("delete_machine_machine_id", "with deployments")
        self.rows[machine_id]["deleted"] = True
        return recorded("delete_machine_machine_id", "ok")


class HostedWorkflows:
    """Workflows with their versions, newest first."""

    def __init__(self, machines: HostedMachines) -> None:
        self._machines = machines
        row: Row = copy.deepcopy(recordings.body("get_workflow_workflow_id", "ok"))
        self.rows: dict[str, Row] = {row["id"]: row}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/workflows", self._list),
            web.post("/api/workflow", self._create),
            web.get("/api/workflow/{id}", self._get),
            web.patch("/api/workflow/{id}", self._update),
            web.delete("/api/workflow/{id}", self._delete),
            web.post("/api/workflow/{id}/clone", self._clone),
            web.get("/api/workflow/{id}/versions", self._versions),
            web.post("/api/workflow/{id}/version", self._add_version),
            web.get("/api/workflow/{id}/version/{number}", self._version),
            web.get("/api/workflow-version/{id}", self._version_by_id),
        ]

    def _known(self, request: web.Request) -> Row | None:
        row = self.rows.get(_checked(request.match_info["id"]))
        return row if row and not row["deleted"] else None

    async def _list(self, request: web.Request) -> web.Response:
        rows = [row for row in self.rows.values() if not row["deleted"]]
        told = [{name: value for name, value in row.items() if name != "versions"} for row in rows]
        return web.json_response(_wanted(request, sorted(told, key=lambda row: not row["pinned"])))

    async def _get(self, request: web.Request) -> web.Response:
        row = self._known(request)
        if not row:
            return recorded("get_workflow_workflow_id", "unknown")
        limit = int(request.query.get("limit", 1))
        return web.json_response(row | {"versions": row["versions"][:limit] or [None]})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not isinstance(body["workflow_json"], str) or not isinstance(body.get("workflow_api"), str):
            return recorded("post_workflow", "objects instead")
        machine_id = body.get("machine_id")
        if machine_id and not self._machines.knows(_checked(machine_id)):
            return recorded("post_workflow", "unknown machine")
        row = self._add(body["name"])
        graphs = {"workflow": json.loads(body["workflow_json"]), "workflow_api": json.loads(body["workflow_api"])}
        self._append(row, {**graphs, "comment": "initial version"})
        return web.json_response({"workflow_id": row["id"], "machine_id": machine_id})

    async def _update(self, request: web.Request) -> web.Response:
        row, body = self._known(request), await request.json()
        if body.get("deleted") is False:
            row = self.rows.get(_checked(request.match_info["id"]))
        if not row:
            return recorded("patch_workflow_workflow_id", "unknown id")
        row["deleted"] = body.get("deleted", row["deleted"])
        if "pinned" in body:
            row["pinned"] = body["pinned"]
        else:
            machine_id = body.get("selected_machine_id")
            if machine_id and not self._machines.knows(machine_id):
                raise Crash
            known = ("name", "description", "cover_image", "selected_machine_id")
            row |= {name: body[name] for name in known if body.get(name) is not None}
        return web.json_response({name: value for name, value in row.items() if name != "versions"})

    async def _delete(self, request: web.Request) -> web.Response:
        row = self._known(request)
        if not row:
            return recorded("delete_workflow_workflow_id", "again")
        row["deleted"] = True
        return recorded("delete_workflow_workflow_id", "ok")

    async def _clone(self, request: web.Request) -> web.Response:
        row = self._known(request)
        if not await request.read():
            return recorded("post_workflow_workflow_id_clone", "no body")
        if not row:
            return recorded("post_workflow_workflow_id_clone", "unknown")
        copied = self._add((await request.json()).get("name") or f"{row['name']} (Cloned)")
        self._append(copied, row["versions"][0])
        return recorded("post_workflow_workflow_id_clone", "with name", id=copied["id"], name=copied["name"])

    async def _versions(self, request: web.Request) -> web.Response:
        row = self.rows.get(_checked(request.match_info["id"]))
        if not row:
            return recorded("get_workflow_workflow_id", "unknown")
        search = request.query.get("search", "").lower()
        found = (
            [] if row["deleted"] else [each for each in row["versions"] if search in (each["comment"] or "").lower()]
        )
        return web.json_response(found[int(request.query.get("offset", 0)) :][: int(request.query.get("limit", 100))])

    async def _add_version(self, request: web.Request) -> web.Response:
        row, body = self._known(request), await request.json()
        if not isinstance(body.get("workflow"), dict) or not isinstance(body.get("workflow_api"), dict):
            return recorded("post_workflow_workflow_id_version", "without workflow_api")
        if not row:
            return recorded("post_workflow_workflow_id_version", "unknown workflow")
        return web.json_response(self._append(row, body))

    async def _version(self, request: web.Request) -> web.Response:
        row = self._known(request)
        number = int(request.match_info["number"])
        return self._told([each for each in (row or {"versions": []})["versions"] if each["version"] == number])

    async def _version_by_id(self, request: web.Request) -> web.Response:
        versions = [each for row in self.rows.values() for each in row["versions"]]
        return self._told([each for each in versions if each["id"] == request.match_info["id"]])

    def _told(self, found: list[Row]) -> web.Response:
        return web.json_response(found[0]) if found else recorded("get_workflow-version_version", "unknown")

    def _add(self, name: str) -> Row:
        row = recordings.body("get_workflow_workflow_id", "limit=0") | {
            "id": str(uuid4()),
            "name": name,
            "versions": [],
            "created_at": str(_now()),
        }
        self.rows[row["id"]] = row
        return row

    def _append(self, row: Row, body: Row) -> Row:
        version = recordings.body("post_workflow_workflow_id_version", "ok") | {
            "id": str(uuid4()),
            "workflow_id": row["id"],
            "version": len(row["versions"]) + 1,
            "created_at": _now().isoformat(),
            **{name: body.get(name) for name in ("workflow", "workflow_api", "comment", "machine_id")},
        }
        row["versions"].insert(0, version)
        return version


class HostedDeployments:
    """Deployments. All that goes wrong with one of them is an internal error."""

    def __init__(self, machines: HostedMachines, workflows: HostedWorkflows) -> None:
        self._machines = machines
        self._workflows = workflows
        self.deployment: Row = recordings.body("get_deployment_deployment_id", "ok")
        self.fluid: Row = recordings.body("get_deployment_deployment_id", "input_types of many")
        self.rows: dict[str, Row] = {row["id"]: row for row in (self.deployment, self.fluid)}
        self.active: set[str] = set()
        """Deployments with runs that have not ended."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/deployments", self._list),
            web.post("/api/deployment", self._create),
            web.get("/api/deployment/{id}", self._get),
            web.patch("/api/deployment/{id}", self._update),
            web.delete("/api/deployment/{id}", self._delete),
            web.post("/api/deployment/{id}/deactivate", self._deactivate),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        environment = request.query.get("environment")
        if environment is not None and environment not in ENVIRONMENTS:
            return web.json_response({"detail": [{"loc": ["query", "environment"], "msg": "no"}]}, status=422)
        is_fluid = request.query.get("is_fluid") == "true"
        rows = [row for row in self.rows.values() if (row["id"] == self.fluid["id"]) == is_fluid]
        rows = [self._whole(row) for row in rows if environment in (None, row["environment"])]
        return web.json_response(_wanted(request, rows, limit="page_size"))

    async def _get(self, request: web.Request) -> web.Response:
        row = self.rows.get(request.match_info["id"])
        return web.json_response(self._whole(row)) if row else recorded("get_deployment_deployment_id", "unknown")

    def _whole(self, row: Row) -> Row:
        """With what only the answers of GET tell: the workflow and the version, but not the machine."""
        if row["workflow"] or not (workflow := self._workflows.rows.get(row["workflow_id"])):
            return row
        versions = (each for each in workflow["versions"] if each["id"] == row["workflow_version_id"])
        named = {"id": workflow["id"], "name": workflow["name"], "cover_url": None}
        return row | {"workflow": named, "version": next(versions, None)}

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not {"workflow_version_id", "workflow_id", "environment"} <= set(body):
            return recorded("post_deployment", "the documented body")
        if body["environment"] not in ENVIRONMENTS:
            return recorded("post_deployment", "unknown environment")
        if not self._machines.knows(body["machine_id"]):
            return recorded("post_deployment", "unknown machine")
        kept = {name: body[name] for name in ("workflow_version_id", "workflow_id", "environment", "machine_id")}
        same = (
            row for row in self.rows.values() if all(row[each] == kept[each] for each in ("workflow_id", "environment"))
        )
        row = next(same, None) or recordings.body("post_deployment", "ok") | {"id": str(uuid4())}
        self.rows[row["id"]] = row | kept
        return web.json_response(self.rows[row["id"]])

    async def _update(self, request: web.Request) -> web.Response:
        row, body = self.rows.get(request.match_info["id"]), await request.json()
        if not row:
            return recorded("get_deployment_deployment_id", "unknown")
        if "machine_id" in body and not self._machines.knows(body["machine_id"]):
            return recorded("post_deployment", "unknown machine")
        known = ("workflow_version_id", "machine_id", "concurrency_limit", "run_timeout")
        row |= {name: body[name] for name in known if body.get(name) is not None}
        return web.json_response(row)

    async def _delete(self, request: web.Request) -> web.Response:
        row = self.rows.get(request.match_info["id"])
        if not row or row["environment"] not in SHARES:
            return recorded("delete_deployment_deployment_id", "unknown")
        del self.rows[row["id"]]
        return recorded("delete_deployment_deployment_id", "public-share")

    async def _deactivate(self, request: web.Request) -> web.Response:
        row = self.rows.get(_checked(request.match_info["id"]))
        if not row:
            return recorded("post_deployment_deployment_id_deactivate", "unknown")
        if row["id"] in self.active:
            return recorded("post_deployment_deployment_id_deactivate", "active runs")
        if self._machines.rows[row["machine_id"]]["type"] == "classic":
            raise Crash
        return web.json_response(row)
