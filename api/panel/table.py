"""All that ComfyUI's page may ask for. What is not here is not answered."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

PREFIX = "/outpost"


class Kind(Enum):
    """How an answer is asked for, and how long it may take."""

    JSON = "json"
    """Asked for by our page's own requests, and answered within the panel's patience."""
    PICTURE = "picture"
    """Asked for by an `<img>`, which cannot send our header, and answered within the panel's patience."""
    FILE = "file"
    """Asked for by an `<img>`, a `<video>` or a link, and takes as long as the file does. Only silence has an end."""
    STREAM = "stream"
    """Takes as long as the page listens, or as long as an upload or a test needs."""


class Route(NamedTuple):
    """One row of the table. Modules are loaded by the first request: ComfyUI waits for this package at its start."""

    method: str
    path: str
    """Below PREFIX. What is in braces is an identifier, never an address or a path."""
    answer: str
    """The module below this package and the function in it: `async def answer(call: Call) -> what is told as JSON`."""
    kind: Kind = Kind.JSON


ROUTES: tuple[Route, ...] = (
    # Connections
    Route("GET", "/connections", "connections.answers.list_connections"),
    Route("POST", "/connections", "connections.answers.add_connection"),
    Route("PATCH", "/connections/{connection_id}", "connections.answers.change_connection"),
    Route("DELETE", "/connections/{connection_id}", "connections.answers.remove_connection"),
    Route("POST", "/connections/{connection_id}/use", "connections.answers.use_connection"),
    Route("POST", "/connections/{connection_id}/test", "connections.trial.test_connection", Kind.STREAM),
    Route("POST", "/sign-in", "connections.sign_in.begin_sign_in"),
    Route("GET", "/sign-in/{sign_in_id}", "connections.sign_in.finish_sign_in"),
    Route("POST", "/here/start", "connections.local_platform.start_here", Kind.STREAM),
    Route("POST", "/here/stop", "connections.local_platform.stop_here", Kind.STREAM),
    # Workflows
    Route("GET", "/workflows", "workflows.answers.list_workflows"),
    Route("POST", "/workflows", "workflows.answers.create_workflow"),
    Route("GET", "/workflows/{workflow_id}", "workflows.answers.get_workflow"),
    Route("PATCH", "/workflows/{workflow_id}", "workflows.answers.change_workflow"),
    Route("DELETE", "/workflows/{workflow_id}", "workflows.answers.delete_workflow"),
    Route("POST", "/workflows/{workflow_id}/clone", "workflows.answers.clone_workflow"),
    Route("GET", "/workflows/{workflow_id}/cover", "workflows.answers.show_cover", Kind.PICTURE),
    Route("GET", "/workflows/{workflow_id}/versions", "workflows.answers.list_versions"),
    Route("POST", "/workflows/{workflow_id}/versions", "workflows.answers.add_version"),
    Route("GET", "/workflows/{workflow_id}/versions/{number}", "workflows.answers.get_version"),
    Route("POST", "/graphs/form", "workflows.graphs.describe_graph"),
    # Deployments
    Route("GET", "/deployments", "deployments.list_deployments"),
    Route("POST", "/deployments", "deployments.create_deployment"),
    Route("GET", "/deployments/{deployment_id}", "deployments.get_form"),
    Route("PATCH", "/deployments/{deployment_id}", "deployments.change_deployment"),
    Route("DELETE", "/deployments/{deployment_id}", "deployments.delete_deployment"),
    Route("POST", "/deployments/{deployment_id}/activate", "deployments.activate_deployment"),
    Route("POST", "/deployments/{deployment_id}/deactivate", "deployments.deactivate_deployment"),
    Route("GET", "/deployments/{deployment_id}/history", "deployments.list_history"),
    # Runs
    Route("GET", "/events", "live.events.stream_events", Kind.STREAM),
    Route("GET", "/runs", "runs.answers.list_runs"),
    Route("POST", "/runs", "runs.answers.start_run"),
    Route("GET", "/runs/{run_id}", "runs.answers.get_run"),
    Route("POST", "/runs/{run_id}/cancel", "runs.answers.cancel_run"),
    Route("POST", "/runs/{run_id}/again", "runs.answers.repeat_run"),
    Route("GET", "/runs/{run_id}/graph", "runs.answers.get_graph"),
    Route("GET", "/runs/{run_id}/cover", "runs.answers.show_cover", Kind.PICTURE),
    Route("GET", "/runs/{run_id}/preview", "runs.answers.show_preview", Kind.PICTURE),
    Route("GET", "/runs/{run_id}/outputs/{number}", "runs.files.show_output", Kind.FILE),
    Route("POST", "/runs/{run_id}/outputs/{number}/bring", "runs.files.bring_output", Kind.STREAM),
    Route("POST", "/runs/{run_id}/inputs/{input_id}/bring", "runs.files.bring_input", Kind.STREAM),
    Route("POST", "/files", "files.answers.upload_file", Kind.STREAM),
    # Machines
    Route("GET", "/machines", "machines.answers.list_machines"),
    Route("POST", "/machines", "machines.answers.create_machine"),
    Route("GET", "/machines/{machine_id}", "machines.answers.get_machine"),
    Route("PATCH", "/machines/{machine_id}", "machines.answers.change_machine"),
    Route("DELETE", "/machines/{machine_id}", "machines.answers.delete_machine"),
    Route("POST", "/machines/{machine_id}/start", "machines.answers.start_machine"),
    Route("POST", "/machines/{machine_id}/stop", "machines.answers.stop_machine"),
    Route("GET", "/machines/{machine_id}/logs", "machines.answers.read_logs"),
    Route("POST", "/machines/{machine_id}/check", "machines.answers.check_machine"),
    # Assets
    Route("GET", "/assets", "assets.list_assets"),
    Route("POST", "/assets", "assets.upload_asset", Kind.STREAM),
    Route("POST", "/assets/folders", "assets.create_folder"),
    Route("PATCH", "/assets/{asset_id}", "assets.change_asset"),
    Route("DELETE", "/assets/{asset_id}", "assets.delete_asset"),
    Route("GET", "/assets/{asset_id}/thumbnail", "assets.show_thumbnail", Kind.PICTURE),
    Route("GET", "/assets/{asset_id}/file", "assets.show_file", Kind.FILE),
)
