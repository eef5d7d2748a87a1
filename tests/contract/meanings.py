"""What recorded answers mean that do not say what they mean, and what the client asks in addition to find out."""

from __future__ import annotations

from typing import Any, NamedTuple

from comfyui_outpost.api import errors
from comfyui_outpost.tests.contract.replay import Exchange, Then
from comfyui_outpost.tests.fakes import recordings


class Meaning(NamedTuple):
    """How the client's call ends."""

    error: type[errors.OutpostError] | None
    """What it raises; None for a record."""
    then: tuple[Then, ...] = ()
    is_sent: bool = True
    """Whether anything is sent at all."""


UNKNOWN_ID = "00000000-0000-0000-0000-000000000001"
REFUSED_HERE = Meaning(errors.InvalidInput, is_sent=False)
NO_DEPLOYMENT = "get_deployment_deployment_id", "unknown"
A_DEPLOYMENT = "get_deployment_deployment_id", "ok"
# The client never asks that, for it has no such parameter: what is left is the platform's own failure.
NEVER_ASKED = Meaning(errors.ServerError)


def _ended(run_id: str, status: str) -> Then:
    """A run that has ended, as it is read by its id."""
    final = next(
        each for each in recordings.cases("get_run_run_id") if each["case"].startswith("poll trace: serverless")
    )
    return Then(f"/run/{run_id}", 200, final["final"] | {"id": run_id, "status": status})


def _recorded_run(exchange_case: str) -> Then:
    exchange = Exchange.found("post_run_run_id_cancel", exchange_case)
    return Then(exchange.path, exchange.status, exchange.answer)


def _big_upload(*, is_public: bool = True) -> tuple[Then, ...]:
    ticket = Then.recorded("/assets/presigned-url", "get_assets_presigned-url", "ok", is_public=is_public)
    path = Exchange.found("get_assets_presigned-url", "PUT exact").path
    put = Then(path, 200, "", "PUT")
    registered = Then.recorded("/assets/register", "post_assets_register", "ok", method="POST")
    return ticket, put, registered, Then("/assets/file_nroJuAr8Jy2LvgJL.txt", 200, "", "PUT")


def _runs_of_failed() -> tuple[Then, ...]:
    rows = Exchange.found("get_workflow_workflow_id_runs", "limit=2").answer
    run = {name: value for name, value in rows[0].items() if name not in ("outputs", "duration", "run_duration")}
    return (
        Then(f"/run/{run['id']}", 200, run),
        Then(f"/workflow/{run['workflow_id']}/runs", 200, rows),
    )


# (file, beginning of the case) -> what it means. What is not here means what its status says.
MEANINGS: dict[tuple[str, str], Meaning] = {
    ("delete_assets_asset_id", "object after delete"): Meaning(errors.UrlExpired),
    ("delete_deployment_deployment_id", "production"): Meaning(
        errors.Conflict, (Then.recorded("/deployment/97e018ed-fbd1-497e-8ceb-0ede7fd0d990", *A_DEPLOYMENT),)
    ),
    ("delete_deployment_deployment_id", "again"): Meaning(
        errors.NotFound, (Then.recorded("/deployment/7d7d0fb9-56da-4ac0-8d09-061936d77140", *NO_DEPLOYMENT),)
    ),
    ("delete_deployment_deployment_id", "unknown"): Meaning(
        errors.NotFound, (Then.recorded(f"/deployment/{UNKNOWN_ID}", *NO_DEPLOYMENT),)
    ),
    ("delete_machine_machine_id", "with deployments"): Meaning(errors.Conflict),
    ("delete_machine_machine_id", "preview deployment"): Meaning(errors.Conflict),
    ("delete_workflow_workflow_id", "versions of a deleted"): Meaning(
        errors.NotFound,
        (
            Then.recorded(
                "/workflow/769449b7-5c47-4cf8-9d1c-9909c3764c81", "delete_workflow_workflow_id", "GET after delete"
            ),
        ),
    ),
    ("get_assets_presigned-url", "ok"): Meaning(None, _big_upload()),
    ("get_assets_presigned-url", "any type"): Meaning(None, _big_upload()),
    ("get_assets_presigned-url", "PUT exact"): Meaning(None, _big_upload()),
    ("get_assets_presigned-url", "PUT without"): Meaning(errors.UrlExpired, _big_upload(is_public=False)),
    ("get_deployment_deployment_id", "unknown"): Meaning(errors.NotFound),
    ("get_deployment_deployment_id", "other user"): Meaning(errors.NotFound),
    ("get_machines", "query ?limit=-1"): NEVER_ASKED,
    ("get_workflow-version_version", "a number"): REFUSED_HERE,
    ("get_workflows", "query ?limit=-1"): REFUSED_HERE,
    ("get_workflows", "query ?limit=0"): Meaning(None, is_sent=False),
    ("get_workflows", "query ?offset=-1"): REFUSED_HERE,
    ("get_workflows", "query ?machine_id=abc"): NEVER_ASKED,
    ("patch_workflow_workflow_id", "selected_machine_id unknown"): Meaning(
        errors.NotFound, (Then.recorded(f"/machine/{UNKNOWN_ID}", "get_machine_machine_id", "unknown"),)
    ),
    ("post_assets_register", ""): Meaning(None, _big_upload()),
    ("post_assets_register", "same file_id again"): Meaning(
        None, (*_big_upload(), Then.recorded("/assets/img_KKGGV5XtPE3JBccU", "post_assets_register", "ok"))
    ),
    ("post_assets_register", "missing"): Meaning(errors.Unprocessable, _big_upload()),
    ("post_deployment", "unknown environment"): Meaning(errors.BadRequest),
    ("post_deployment", "unknown machine_version_id"): NEVER_ASKED,
    ("post_deployment", "unknown machine"): Meaning(errors.NotFound),
    ("post_deployment", "unknown workflow"): Meaning(errors.NotFound),
    ("post_deployment", "unknown version"): Meaning(errors.NotFound),
    ("post_deployment", "ids not uuids"): REFUSED_HERE,
    ("post_deployment", "second share"): Meaning(errors.Conflict),
    ("post_deployment_deployment_id_deactivate", "classic"): Meaning(
        errors.Conflict, (Then.recorded("/deployment/b21fedd7-79da-48e6-80f8-b97169f10864", *A_DEPLOYMENT),)
    ),
    ("post_machine_create", ""): Meaning(errors.NotSupported, is_sent=False),
    ("post_machine_serverless", "valid"): Meaning(errors.ServerError),
    ("post_run_deployment_queue", "nested object"): REFUSED_HERE,
    ("post_run_deployment_queue", "null input value"): REFUSED_HERE,
    ("post_run_deployment_queue", "deployment_id not a uuid"): REFUSED_HERE,
    ("post_run_deployment_queue", "batch_number"): NEVER_ASKED,
    ("post_run_deployment_queue", "classic machine that refuses"): Meaning(errors.ServerError),
    ("post_run_deployment_sync", "ok"): Meaning(None, (_ended("a2fb09f4-aad2-4c53-b265-339268c39cb5", "success"),)),
    ("post_run_deployment_sync", "slow"): Meaning(None, (_ended("0a8e6474-e380-4784-9f92-18b4900114f6", "success"),)),
    ("post_run_deployment_sync", "execution error"): Meaning(errors.RunFailed, _runs_of_failed()),
    ("post_run_deployment_sync", "validation error"): Meaning(errors.RunLost),
    ("post_run_run_id_cancel", "running classic"): Meaning(errors.Conflict, (_recorded_run("(classic run went on)"),)),
    ("post_run_run_id_cancel", "streamed run"): Meaning(errors.Conflict, (_recorded_run("(streamed run afterwards)"),)),
    ("post_run_run_id_cancel", "unknown"): Meaning(
        errors.NotFound, (Then.recorded(f"/run/{UNKNOWN_ID}", "get_run_run_id", "unknown"),)
    ),
    ("post_run_run_id_cancel", "other user"): Meaning(
        errors.Forbidden,
        (Then.recorded("/run/9271aab2-f5c6-4850-bf57-392452e0fca9", "get_run_run_id", "other user"),),
    ),
    ("post_workflow", "machine id not a uuid"): REFUSED_HERE,
    ("post_workflow_workflow_id_version", "unknown workflow"): Meaning(errors.NotFound),
}
EVERYWHERE = {"not a uuid": REFUSED_HERE}
"""In all files."""


def meaning_of(exchange: Exchange) -> Meaning:
    """How a call ends that gets this answer. AssertionError for a failure of which nobody has said what it means."""
    for (name, case), meaning in sorted(MEANINGS.items(), key=lambda row: -len(row[0][1])):
        if name == exchange.name and exchange.case.startswith(case):
            return meaning
    for case, meaning in EVERYWHERE.items():
        if exchange.case.startswith(case):
            return meaning
    if exchange.status < 300:
        return Meaning(None, _usual(exchange))
    assert exchange.status < 500, f"Say what this answer means: {exchange}"
    by_status: dict[int, Any] = {
        each.status: each for each in errors.ApiError.__subclasses__() if each is not errors.ServerError
    }
    return Meaning(by_status[exchange.status])


def _usual(exchange: Exchange) -> tuple[Then, ...]:
    if exchange.name == "post_workflow" and exchange.method == "POST":
        workflow_id = exchange.answer["workflow_id"]
        return (Then.recorded(f"/workflow/{workflow_id}", "get_workflow_workflow_id", "ok", id=workflow_id),)
    if exchange.name == "post_assets_upload":
        return (Then(f"/assets/{exchange.answer['id']}", 200, exchange.answer),)
    return ()
