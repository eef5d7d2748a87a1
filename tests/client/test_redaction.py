"""The API key stays out of everything that is told, also when a platform, or a proxy before it, repeats its request."""

import json
import traceback
from urllib.parse import quote

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client.redaction import Redaction
from comfyui_outpost.api.events import Accepted, ExecutionFailed, LiveStatus, LogLine, Phase, StatusChanged, Unknown
from comfyui_outpost.api.models import Deployment, Failure, RunStatus
from comfyui_outpost.tests.fakes.flaky import answer
from comfyui_outpost.tests.fakes.outpost import DEPLOYMENT_ID, RUN_ID
from comfyui_outpost.tests.fakes.serving import KEY

ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"
QUOTED = f"you sent Authorization: Bearer {KEY}"


@pytest.mark.parametrize(
    "body",
    [
        {"detail": QUOTED},
        {"error": QUOTED},
        {"detail": [{"loc": ["headers", QUOTED], "msg": QUOTED}]},
        {"detail": {"why": [QUOTED]}},
        QUOTED,
        {"detail": "x" * 170 + QUOTED},
    ],
)
async def test_a_platform_that_quotes_the_key_does_not_bring_it_into_an_error(flaky, body):
    _, client = await flaky(answer(body, 422))

    with pytest.raises(errors.Unprocessable) as caught:
        await client.machines.get(ID)

    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problems)
    assert KEY not in told
    assert KEY[:8] not in told


@pytest.mark.parametrize("key", ["a/key+with=signs/of-base64==", 'a "key" with quotes'])
def test_a_key_is_hidden_however_it_is_spelled(key):
    redaction = Redaction(key)
    escaped = json.dumps(key)[1:-1]
    for spelling in (key, escaped, escaped.replace("/", "\\/"), quote(key, safe="")):
        assert redaction.of_answer(f"<{spelling}>".encode()).decode() == "<…>"


def test_a_key_that_could_be_a_word_is_hidden_in_errors_only():
    assert Redaction("id").of_answer(b'{"id": 1}') == b'{"id": 1}'
    assert Redaction("secret").of_error(b"secret") == "…".encode()


async def test_a_run_whose_failure_quotes_the_key_does_not_bring_it_along(outpost):
    failure = Failure(message=QUOTED, node_id="1", node_class=KEY)
    told = [
        Accepted(RUN_ID),
        Phase("queuing", QUOTED),
        LiveStatus(RUN_ID, QUOTED, 0.5),
        LogLine(QUOTED),
        Unknown("custom", {KEY: [QUOTED]}),
        ExecutionFailed(RUN_ID, failure),
        StatusChanged(RUN_ID, RunStatus.FAILED),
    ]

    async def act(stream):
        for number, event in enumerate(told):
            await stream.send(event, number)

    server, client = await outpost(act)
    server.run |= {"status": "failed", "error": failure.model_dump()}
    events = []

    with pytest.raises(errors.RunFailed, match="Bearer …") as caught:
        await client.runs.execute(Deployment(id=DEPLOYMENT_ID), {}, on_event=events.append)

    assert [type(event) for event in events] == [type(event) for event in told]
    assert KEY not in repr(events)
    assert KEY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.failure)
    assert (caught.value.failure.node_id, caught.value.failure.node_class) == ("1", "…")
