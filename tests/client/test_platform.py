"""What every call to the platform's API has in common: the key, errors, retries, answers that make no sense."""

import asyncio
import gzip
import json
import socket
import traceback

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client import Timeouts
from comfyui_outpost.api.client.http import MAX_ANSWER
from comfyui_outpost.api.client.platform import is_retryable, retry_delay
from comfyui_outpost.api.models import RunQueued
from comfyui_outpost.tests.fakes.flaky import Act, answer, break_off, silence, text
from comfyui_outpost.tests.fakes.outpost import VERSION
from comfyui_outpost.tests.fakes.serving import KEY

ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"
MACHINE = {"id": ID, "name": "one", "type": "builtin"}
REFUSED = errors.ConnectionFailed("no", was_sent=False)
BROKEN = errors.ConnectionFailed("no", was_sent=True)


@pytest.mark.parametrize(
    ("error", "method", "is_repeatable", "expected"),
    [
        (REFUSED, "GET", False, True),
        (REFUSED, "POST", False, True),
        (BROKEN, "GET", False, True),
        (BROKEN, "PUT", False, True),
        (BROKEN, "POST", False, False),
        (BROKEN, "POST", True, True),
        (BROKEN, "PATCH", False, False),
        (errors.RateLimited("no"), "POST", False, True),
        (errors.RateLimited("no", retry_after=61), "GET", False, False),
        (errors.Unavailable("no"), "GET", False, True),
        (errors.Unavailable("no"), "POST", False, False),
        (errors.Unavailable("no"), "POST", True, True),
        (errors.ServerError("no"), "GET", False, False),
        (errors.NotFound("no"), "GET", True, False),
        (errors.ConfigurationError("no"), "GET", True, False),
    ],
)
def test_only_what_cannot_happen_twice_is_sent_again(error, method, is_repeatable, expected):
    assert is_retryable(error, method=method, is_repeatable=is_repeatable) is expected


def test_waiting_grows_with_every_attempt_and_heeds_the_server_up_to_a_minute():
    assert [retry_delay(attempt, chance=1.0) for attempt in (1, 2, 3, 9)] == [0.5, 1.0, 2.0, 8.0]
    assert retry_delay(3, chance=0.0) == 0.0
    assert retry_delay(1, retry_after=7.0, chance=0.1) == 7.0
    assert retry_delay(1, retry_after=700.0, chance=1.0) == 60.0


async def test_the_key_travels_in_the_header_and_nowhere_else(flaky):
    server, client = await flaky(answer(MACHINE))

    assert (await client.machines.get(ID)).name == "one"

    [seen] = server.log.requests
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.path == f"/api/machine/{ID}"
    assert KEY not in seen.path


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_read_is_repeated_while_the_platform_is_unavailable(flaky, time, status):
    server, client = await flaky(text("<html>", status), text("<html>", status), answer(MACHINE))

    assert (await client.machines.get(ID)).id == ID

    assert len(server.log.requests) == 3
    assert len(time.slept) == 2


async def test_a_read_is_repeated_on_a_fresh_connection_after_a_reset(flaky):
    server, client = await flaky(answer(MACHINE), break_off, answer(MACHINE))

    await client.machines.get(ID)
    await client.machines.get(ID)

    assert len(server.log.requests) == 3
    assert server.transports[2] is not server.transports[1]


async def test_repeating_ends_after_three_times(flaky):
    server, client = await flaky(text("busy", 503))

    with pytest.raises(errors.Unavailable, match="busy"):
        await client.machines.get(ID)

    assert len(server.log.requests) == 4


async def test_retry_after_is_waited_for(flaky, time):
    _, client = await flaky(answer({"detail": "slowly"}, 429, headers={"Retry-After": "7"}), answer(MACHINE))

    await client.machines.get(ID)

    assert time.slept == [7.0]


async def test_a_submission_is_repeated_when_there_are_too_many_requests(flaky):
    server, client = await flaky(answer({"detail": "slowly"}, 429), answer({"run_id": ID}))

    assert await client.runs.queue(ID, {}) == ID

    assert len(server.log.submissions()) == 2


@pytest.mark.parametrize("headers", [{}, VERSION])
@pytest.mark.parametrize("act", [break_off, text("busy", 503)])
async def test_a_submission_without_a_key_of_its_own_is_never_repeated(flaky, act, headers):
    server, client = await flaky(answer(MACHINE, headers=headers), act)
    await client.machines.get(ID)

    with pytest.raises((errors.ConnectionFailed, errors.Unavailable)):
        await client.runs._platform.post("/run/deployment/queue", RunQueued, json={})

    assert len(server.log.submissions()) == 1


@pytest.mark.parametrize(("headers", "count"), [({}, 1), (VERSION, 2)])
@pytest.mark.parametrize("act", [break_off, text("busy", 503)])
async def test_a_submission_with_a_key_is_repeated_where_keys_are_heeded(flaky, act, headers, count):
    server, client = await flaky(answer(MACHINE, headers=headers), act, answer({"run_id": ID}))
    await client.machines.get(ID)
    queued = client.runs._platform.post("/run/deployment/queue", RunQueued, json={}, idempotency_key="one")

    if count == 1:
        with pytest.raises((errors.ConnectionFailed, errors.Unavailable)):
            await queued
    else:
        assert (await queued).run_id == ID

    assert [each.headers["Idempotency-Key"] for each in server.log.submissions()] == ["one"] * count


async def test_a_call_after_a_crash_of_the_hosted_platform_does_not_meet_the_dead_connection(hosted):
    server, client = await hosted()
    for _ in range(3):
        with pytest.raises(errors.ServerError, match="Internal Server Error"):
            await client.machines._platform.get("/machines", list, params={"limit": -1})
        assert await client.runs.queue(ID, {}) == server.run["id"]

    assert len(server.log.submissions()) == 3


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, '{"detail": "Revoked token"}', errors.Unauthorized, "Revoked token"),
        (403, '{"detail": "not yours"}', errors.Forbidden, "not yours"),
        (404, '{"error": "Machine not found"}', errors.NotFound, "Machine not found"),
        (422, '{"detail": [{"loc": ["body", "x"], "msg": "is wrong"}]}', errors.Unprocessable, "body.x: is wrong"),
        (413, '{"detail": "at most 5 bytes"}', errors.TooLarge, "at most 5 bytes"),
        (500, "Internal Server Error", errors.ServerError, "Internal Server Error"),
        (418, "{}", errors.ApiError, "no reason was given"),
    ],
)
async def test_an_error_of_the_platform_is_raised_as_its_class_with_its_reason(flaky, status, body, error, words):
    _, client = await flaky(text(body, status))

    with pytest.raises(error, match=words) as caught:
        await client.machines.get(ID)

    assert f"GET /machine/{ID} answered {status}" in str(caught.value)


@pytest.mark.parametrize(
    "act",
    [
        text("<html>log in</html>", content_type="text/html"),
        text(b"\xff\x00"),
        text(""),
        answer([]),
        answer({"id": ID}),
        answer({**MACHINE, "id": "abc"}),
        answer({**MACHINE, "url": "http://x/?X-Amz-Signature=SIGNATURE-that-nobody-may-see", "name": 3}),
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_error_with_a_sentence(flaky, act):
    _, client = await flaky(act)

    with pytest.raises(errors.ServerError, match="base URL") as caught:
        await client.machines.get(ID)

    assert "SIGNATURE" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_but_names_the_base_url_to_set(flaky, status):
    location = {"Location": f"https://elsewhere.example/api/machine/{ID}?X-Amz-Signature=secret"}
    server, client = await flaky(text("", status, headers=location))

    with pytest.raises(errors.ConfigurationError, match=r"https://elsewhere\.example") as caught:
        await client.machines.get(ID)

    assert "secret" not in str(caught.value)
    assert len(server.log.requests) == 1


async def test_a_server_that_is_not_there_is_named_with_what_to_do(connect):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = await connect(f"http://127.0.0.1:{unused.getsockname()[1]}")

        with pytest.raises(errors.ConnectionFailed, match=r"connection refused\. Is the server running\?") as caught:
            await client.runs.queue(ID, {})

    assert not caught.value.was_sent
    assert KEY not in "".join(traceback.format_exception(caught.value))


async def test_a_host_that_does_not_exist_is_said_to_be_unknown(connect):
    client = await connect("http://no-such-host.invalid")

    with pytest.raises(errors.ConnectionFailed, match="name of the host is not known"):
        await client.machines.get(ID)


async def test_a_silent_server_does_not_hold_a_caller_for_ever(flaky):
    over = asyncio.Event()
    server, client = await flaky(silence(over), timeouts=Timeouts(read=0.05))

    with pytest.raises(errors.ConnectionFailed, match="silent"):
        await client.machines.get(ID)
    over.set()

    assert len(server.log.requests) == 4


@pytest.mark.parametrize("call", ["deployments.get", "machines.get", "workflows.get", "runs.get", "runs.cancel"])
async def test_what_is_no_id_is_refused_before_anything_is_sent(flaky, call):
    server, client = await flaky(answer({}))
    resource, method = call.split(".")

    with pytest.raises(errors.InvalidInput, match="not an id"):
        await getattr(getattr(client, resource), method)("../../etc/passwd")

    assert server.log.requests == []


async def test_the_base_url_may_have_a_path(flaky, connect):
    server, client = await flaky(answer(MACHINE))
    behind_proxy = await connect(f"{client.connection.base_url}/outpost")

    await behind_proxy.machines.get(ID)

    assert server.log.requests[0].path == f"/outpost/api/machine/{ID}"


async def test_a_proxy_of_the_environment_is_used_except_for_this_machine(flaky, connect, monkeypatch):
    proxy, here = await flaky(answer(MACHINE))
    monkeypatch.setenv("http_proxy", here.connection.base_url)
    monkeypatch.setenv("no_proxy", "direct.invalid")

    await (await connect("http://platform.example")).machines.get(ID)
    assert proxy.log.requests[-1].path == f"http://platform.example/api/machine/{ID}"
    assert proxy.log.requests[-1].headers["Host"] == "platform.example"

    await here.machines.get(ID)
    assert proxy.log.requests[-1].path == f"/api/machine/{ID}"
    with pytest.raises(errors.ConnectionFailed):
        await (await connect("http://direct.invalid")).machines.get(ID)


async def test_a_proxy_that_cannot_be_used_is_an_error_of_the_settings(connect, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks9://user:secret@host")

    with pytest.raises(errors.ConfigurationError, match="HTTP_PROXY") as caught:
        await (await connect("http://platform.example")).machines.get(ID)

    assert "secret" not in str(caught.value)


def packed(data: bytes, *, encoding: str, status: int = 200) -> Act:
    return text(data, status, content_type="application/json", headers={"Content-Encoding": encoding})


async def test_an_answer_may_be_packed_once_though_it_is_asked_for_plain(flaky):
    server, client = await flaky(packed(gzip.compress(json.dumps(MACHINE).encode()), encoding="GZip"))

    assert (await client.machines.get(ID)).name == "one"

    assert server.log.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "zstd", "x" * 1000])
async def test_an_answer_in_another_packing_is_refused(flaky, encoding):
    server, client = await flaky(packed(gzip.compress(gzip.compress(b"{}")), encoding=encoding))

    with pytest.raises(errors.TransferError, match="packed") as caught:
        await client.machines.get(ID)

    assert len(str(caught.value)) < 400
    assert len(server.log.requests) == 1


async def test_an_answer_that_unpacks_without_end_is_given_up_at_the_limit(flaky):
    _, client = await flaky(packed(gzip.compress(bytes(MAX_ANSWER + 1), 1), encoding="gzip"))

    with pytest.raises(errors.SizeLimitExceeded, match=str(MAX_ANSWER)):
        await client.machines.get(ID)


async def test_a_stream_that_is_packed_is_refused(flaky):
    stream = text(
        gzip.compress(b"data: {}\n\n"), content_type="text/event-stream", headers={"Content-Encoding": "gzip"}
    )
    _, client = await flaky(stream)

    with pytest.raises(errors.TransferError, match="packed"):
        async with client.runs._platform.stream("GET", "/run/x/stream") as messages:
            await anext(messages)


async def test_what_was_packed_and_is_damaged_is_a_broken_connection(flaky):
    whole = gzip.compress(json.dumps(MACHINE).encode())
    for data in (whole[:-9], b"no gzip at all"):
        _, client = await flaky(packed(data, encoding="gzip"))
        with pytest.raises(errors.ConnectionFailed):
            await client.machines.get(ID)


async def test_an_error_keeps_its_class_and_its_reason_whatever_it_is_packed_in(flaky):
    reason = gzip.compress(b'{"detail": "no such machine"}')
    _, client = await flaky(packed(reason, encoding="gzip", status=404), packed(b"?", encoding="br", status=401))

    with pytest.raises(errors.NotFound, match="no such machine"):
        await client.machines.get(ID)
    with pytest.raises(errors.Unauthorized, match="no reason"):
        await client.machines.get(ID)
