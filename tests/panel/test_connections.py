"""The page adds, changes, chooses, tries and removes connections, and never sees a key."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.connections import HERE, Saved, change_book, read_book
from comfyui_outpost.api.errors import Unauthorized, Unavailable
from comfyui_outpost.api.panel import ComfyUI
from comfyui_outpost.api.panel.connections.here import Here
from comfyui_outpost.api.settings import Connection, load_connection, settings_path
from comfyui_outpost.tests.fakes import comfyui_main
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.machines.jobs import node

from .conftest import Page, opened

WRONG = "outpost_a-key-that-nobody-has-made"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "settings" / "connection.json"


async def add(page: Page, url: str, key: str, **more: Any) -> Any:
    return await page.send("POST", "/outpost/connections", {"base_url": url, "api_key": key, **more})


async def lines(page: Page, path: str, body: Any = None) -> list[dict[str, Any]]:
    answer = await page.send("POST", path, body)
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_nothing_is_set_up_at_first(page: Page) -> None:
    known = await page.told("/outpost/connections")
    assert known == {"connections": [], "current": None, "here": None, "problem": None}


async def test_a_key_that_works_is_kept_here_and_the_page_sees_its_end(
    page: Page, platform: Any, settings: Path
) -> None:
    key = platform.owner.api_key
    known = (await add(page, platform.url + "/", key, name="mine")).data
    [row] = known["connections"]
    assert (row["name"], row["base_url"], row["key_ending"]) == ("mine", platform.url, key[-4:])
    assert (known["current"], row["kind"], row["why_fixed"]) == (row["id"], "server", None)
    assert load_connection({}, settings).api_key == key
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert (await page.told("/outpost/deployments"))["deployments"]


async def test_a_key_that_does_not_work_is_not_kept_and_the_reason_is_a_sentence(page: Page, platform: Any) -> None:
    answer = await add(page, platform.url, WRONG)
    assert (answer.status, answer.data["code"]) == (502, "unauthorized")
    assert "key is missing, wrong, revoked or expired" in answer.data["detail"]
    assert (await page.told("/outpost/connections"))["connections"] == []


async def test_an_address_needs_no_scheme(page: Page, platform: Any, settings: Path) -> None:
    [row] = (await add(page, platform.url.removeprefix("http://"), platform.owner.api_key)).data["connections"]
    assert row["base_url"] == platform.url

    path, other = f"/outpost/connections/{row['id']}", {"base_url": "127.0.0.1:9", "api_key": WRONG}
    changed = await page.done("PATCH", path, {**other, "is_untried": True})
    assert changed["connections"][0]["base_url"] == "http://127.0.0.1:9"
    answer = await page.send("PATCH", path, {"api_key": "wrong", "is_untried": True})
    assert (answer.status, "at least 8" in answer.data["detail"]) == (503, True)
    assert load_connection({}, settings).api_key == WRONG


async def test_a_platform_that_is_away_is_kept_only_if_one_says_so(page: Page) -> None:
    answer = await add(page, "http://127.0.0.1:9", WRONG)
    assert (answer.status, answer.data["code"]) == (502, "connection_failed")
    assert (await page.told("/outpost/connections"))["connections"] == []
    assert (await add(page, "http://127.0.0.1:9", WRONG, is_untried=True)).status == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"base_url": "ftp://x", "api_key": "a"}, "must begin with http"),
        ({"base_url": "http://a:b@x", "api_key": "a"}, "must not hold a user name"),
        ({"api_key": "two words"}, "holds a blank"),
        ({"api_key": "wrong"}, "The API key has 5 characters, and a key has at least 8. Copy all of it."),
        ({}, "api_key"),
    ],
)
async def test_what_cannot_be_a_connection_is_refused(page: Page, body: dict[str, str], said: str) -> None:
    answer = await page.send("POST", "/outpost/connections", body)
    assert answer.status in (422, 503)
    assert said in answer.data["detail"]


async def test_a_key_never_goes_to_another_platform(page: Page, platform: Any, settings: Path) -> None:
    [row] = (await add(page, platform.url, platform.owner.api_key)).data["connections"]
    heard: list[str] = []

    async def listen(request: web.Request) -> web.Response:
        heard.append(str(request.headers))
        return web.json_response([])

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", listen)
    async with served(app) as elsewhere:
        path = f"/outpost/connections/{row['id']}"
        answer = await page.send("PATCH", path, {"base_url": elsewhere, "is_untried": True})
        assert (answer.status, answer.data["code"]) == (422, "invalid_input")
        assert heard == []
    assert load_connection({}, settings).base_url == platform.url
    renamed = await page.done("PATCH", path, {"name": "<img onerror=x>"})
    assert renamed["connections"][0]["name"] == "<img onerror=x>"


async def test_another_connection_is_chosen_for_the_panel_and_for_nodes_at_once(
    page: Page, platform: Any, settings: Path
) -> None:
    await add(page, platform.url, platform.owner.api_key, name="one")
    _, empty = await platform.parts.store.keys.create("somebody without a deployment")
    known = (await add(page, platform.url, empty, name="two")).data
    first, second = known["connections"]
    assert (await page.told("/outpost/deployments"))["deployments"] == []
    known = await page.done("POST", f"/outpost/connections/{first['id']}/use")
    assert known["current"] == first["id"] != second["id"]
    assert (await page.told("/outpost/deployments"))["deployments"] != []
    assert load_connection({}, settings).api_key == platform.owner.api_key


async def test_a_connection_that_is_removed_is_forgotten_with_its_key(
    page: Page, platform: Any, settings: Path
) -> None:
    [row] = (await add(page, platform.url, platform.owner.api_key)).data["connections"]
    known = await page.done("DELETE", f"/outpost/connections/{row['id']}")
    assert (known["connections"], known["current"]) == ([], None)
    assert platform.owner.api_key not in settings.read_text()
    assert (await page.send("DELETE", f"/outpost/connections/{row['id']}")).status == 404
    assert (await page.get("/outpost/deployments")).status == 503


async def test_what_the_environment_says_is_shown_and_cannot_be_changed(
    page: Page, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(page, platform.url, platform.stranger.api_key)
    monkeypatch.setenv("OUTPOST_BASE_URL", platform.url)
    monkeypatch.setenv("OUTPOST_API_KEY", platform.owner.api_key)
    known = await page.told("/outpost/connections")
    assert known["current"] == "environment"
    fixed, other = known["connections"]
    assert "OUTPOST_API_KEY" in fixed["why_fixed"]
    for path in ("environment", other["id"]):
        assert (await page.send("DELETE", f"/outpost/connections/{path}")).status == 409
        assert (await page.send("POST", f"/outpost/connections/{path}/use")).status == 409


async def test_a_broken_file_is_told_without_its_place_or_content(page: Page, settings: Path) -> None:
    settings.parent.mkdir()
    settings.write_text(f'{{"api_key": "{WRONG}"')
    settings.chmod(0o600)
    known = await page.told("/outpost/connections")
    assert "is not JSON" in known["problem"]
    assert str(settings.parent) not in known["problem"]


async def test_the_test_goes_the_whole_way_and_tells_each_step(page: Page, platform: Any) -> None:
    [row] = (await add(page, platform.url, platform.owner.api_key)).data["connections"]
    told = await lines(page, f"/outpost/connections/{row['id']}/test")
    assert [(each["name"], each["state"]) for each in told] == [
        *((name, state) for name in ("the connection", "the upload", "the run") for state in ("begun", "ok")),
        ("the end", "ok"),
    ]
    assert told[-1]["text"] == "Everything works."


async def test_the_test_says_in_a_sentence_what_is_wrong(page: Page, platform: Any) -> None:
    [row] = (await add(page, platform.url, WRONG, is_untried=True)).data["connections"]
    told = await lines(page, f"/outpost/connections/{row['id']}/test")
    assert [each["state"] for each in told] == ["begun", "failed", "failed"]
    assert told[-1]["text"].startswith("The connection does not work: The API key is missing, wrong")


async def test_where_a_run_may_cost_money_the_test_asks_what_to_run(page: Page, platform: Any) -> None:
    _, key = await platform.parts.store.keys.create("somebody without a deployment")
    [row] = (await add(page, platform.url, key)).data["connections"]
    told = await lines(page, f"/outpost/connections/{row['id']}/test")
    assert (told[-2]["state"], told[-2]["choices"]) == ("skipped", [])
    assert told[-1]["text"] == "The connection and the upload work."


async def test_the_hosted_platform_is_tried_and_never_runs_anything_that_was_not_chosen(page: Page) -> None:
    server = HostedPlatform()
    async with served(server.app()) as url:
        [row] = (await add(page, url, KEY)).data["connections"]
        told = await lines(page, f"/outpost/connections/{row['id']}/test")
    states = {each["name"]: each for each in told}
    assert states["the connection"]["state"] == "ok"
    assert states.get("the run", {}).get("state") in (None, "skipped")
    assert told[-1]["name"] == "the end"


class SigningIn:
    """What the hosted platform answers to a ComfyUI that waits for somebody to sign in."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.confirmed: str | None = None
        self.heard: list[Any] = []
        self.is_away = False

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append(request.headers)
        if self.is_away and request.transport:
            self.is_away = False
            request.transport.close()
        if request.query["request_id"] != self.confirmed:
            return web.json_response({"detail": "Auth request not found"}, status=404)
        return web.json_response({"api_key": self.key, "name": "somebody"})


@pytest.fixture
async def signing_in() -> AsyncGenerator[tuple[SigningIn, str], None]:
    fake = SigningIn("eyJ-a-key-made-by-signing-in")
    app = web.Application()
    app.router.add_get("/api/platform/comfyui/auth-response", fake.answer)
    async with served(app) as url:
        yield fake, url


async def test_whoever_signs_in_through_the_browser_is_connected_and_the_page_sees_no_key(
    page: Page, signing_in: tuple[SigningIn, str], settings: Path
) -> None:
    fake, url = signing_in
    begun = await page.done("POST", "/outpost/sign-in", {"base_url": url})
    assert begun["url"] == f"{url}/auth/request/{begun['sign_in_id']}"
    fake.is_away = True
    waiting = asyncio.create_task(page.get(f"/outpost/sign-in/{begun['sign_in_id']}"))
    fake.confirmed = begun["sign_in_id"]
    answer = await waiting
    assert not fake.is_away, "one question has failed"
    assert answer.data["is_done"] is True
    assert fake.key.encode() not in answer.body
    assert load_connection({}, settings).api_key == fake.key
    assert not any("Authorization" in headers for headers in fake.heard)
    assert (await page.get(f"/outpost/sign-in/{begun['sign_in_id']}")).status == 404


async def test_a_platform_without_sign_in_says_so(page: Page, platform: Any) -> None:
    answer = await page.send("POST", "/outpost/sign-in", {"base_url": platform.url})
    assert (answer.status, answer.data["code"]) == (501, "not_supported")


async def test_a_platform_is_started_here_used_shared_and_ended(page: Page, tmp_path: Path, settings: Path) -> None:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").touch()

    def here() -> Here:
        return Here(folder=lambda: folder, arguments=lambda: ["--cpu"])

    one, other = here(), here()
    comfyui = ComfyUI(input_folder=lambda: tmp_path, folder=lambda: folder, here=lambda: one)
    async with opened(settings, comfyui=comfyui) as page:
        assert (await page.told("/outpost/connections"))["here"] == {"state": "off", "is_shared": False}
        told = await lines(page, "/outpost/here/start")
        assert told[-1]["state"] == "ready", told
        assert told[-1]["current"] == "here"
        assert str(tmp_path).encode() not in json.dumps(told).encode()
        assert await asyncio.to_thread(other.connection) == load_connection({}, settings)
        assert other.is_shared
        kinds = [each["kind"] for each in (await page.told("/outpost/machines"))["machines"]]
        assert sorted(kinds) == ["builtin", "managed"]
        await page.done("POST", "/outpost/here/stop")
        assert not one.is_running
        former = read_book(settings).find(HERE).connection
        assert (await page.told("/outpost/deployments"))["deployments"], "its next use has started it again"
        assert load_connection({}, settings) == former, "runs that survive it are asked for as before"
        await page.done("DELETE", "/outpost/connections/here")
        assert not one.is_running
    assert read_book(settings).entries == ()


async def test_a_key_that_was_forgotten_ends_when_there_is_a_new_one_and_those_that_people_made_stay(
    tmp_path: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTPOST_SETTINGS", str(settings))
    one = Here(folder=lambda: tmp_path, arguments=list)
    forgotten: list[str] = []
    try:
        await one.start()
        connection = read_book(settings).find(HERE).connection
        async with Client(connection) as client:
            own = (await client.keys.create("first key")).key
        other = Saved(HERE, "here", Connection(connection.base_url, WRONG))
        for forget in (lambda book: book.without(HERE), lambda book: book.having(other)):
            await asyncio.to_thread(one.stop)
            forgotten.append(connection.api_key)
            change_book(settings, forget)
            await one.start()
            connection = read_book(settings).find(HERE).connection
        assert [await is_accepted(connection, key) for key in forgotten] == [False, False]
        assert [await is_accepted(connection, key) for key in (own, connection.api_key)] == [True, True]
    finally:
        await asyncio.to_thread(one.stop)


async def is_accepted(connection: Connection, key: str) -> bool:
    """Whether a platform takes a key."""
    async with Client(Connection(connection.base_url, key)) as client:
        try:
            await client.deployments.list()
        except Unauthorized:
            return False
    return True


def comfyui_in(folder: Path) -> Path:
    """A folder with a small ComfyUI."""
    folder.mkdir(parents=True)
    shutil.copy(comfyui_main.__file__, folder / "main.py")
    return folder


async def facts_of(client: Client, machine_id: str) -> Any:
    """What the process of a machine tells of itself, which runs for it."""
    made = await client.workflows.create("facts", {}, workflow_api={"1": node("PreviewAny", source="facts")})
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id, workflow_version_id=str(made.workflow_version_id), machine_id=machine_id
    )
    run = await client.runs.execute(await client.deployments.get(deployment.id), {}, deadline=60)
    [[text]] = [values for output in run.outputs for values in output.data.values()]
    return json.loads(str(text))


async def test_each_comfyui_that_shares_the_platform_has_a_machine_of_its_own(
    tmp_path: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTPOST_SETTINGS", str(settings))
    folders = [comfyui_in(tmp_path / name / "ComfyUI") for name in ("one", "other")]
    one = Here(folder=lambda: folders[0], arguments=lambda: ["--preview-method", "taesd"])
    other = Here(folder=lambda: folders[1], arguments=list)
    await one.start()
    change_book(settings, lambda book: book.using(HERE))
    try:
        await other.start()
        assert (other.is_shared, other.is_running) == (True, True)
        async with Client(await asyncio.to_thread(other.connection)) as client:
            machines = [each for each in await client.machines.list() if each.type == "managed"]
            told = await asyncio.gather(*(facts_of(client, each.id) for each in machines))
        assert [each["path"] for each in told] == [str(folder) for folder in folders]
        assert ["taesd" in each["argv"] for each in told] == [True, False]
    finally:
        await asyncio.to_thread(one.stop)
    assert not other.is_running


async def test_a_platform_that_cannot_start_says_why(page: Page, tmp_path: Path, settings: Path) -> None:
    settings.parent.mkdir()
    (settings.parent / "here").mkdir()
    (settings.parent / "here" / "outpost.sqlite").write_text("this is no database" * 100)
    one = Here(folder=lambda: tmp_path, arguments=list)
    comfyui = ComfyUI(input_folder=lambda: tmp_path, folder=lambda: tmp_path, here=lambda: one)
    async with opened(settings, comfyui=comfyui) as page:
        told = await lines(page, "/outpost/here/start")
        assert told[-1]["state"] == "failed"
        assert "does not start" in told[-1]["text"]
        assert str(tmp_path) not in json.dumps(told)
        assert not one.is_running


class Failing(Here):
    """One that knows more of this computer than the page should."""

    def ensure(self, *, tries_again: bool = False) -> None:
        raise Unavailable(f"{settings_path().parent / 'here' / 'outpost.sqlite'} of {Path.home() / 'x'} is damaged")

    def log_tail(self) -> list[str]:
        return [f"2026-01-01 outpost ERROR {settings_path()} cannot be read"]


async def test_neither_the_lines_of_a_start_nor_those_of_a_trial_tell_where_anything_lies(
    page: Page, tmp_path: Path, settings: Path
) -> None:
    one = Failing(folder=lambda: tmp_path, arguments=list)
    change_book(settings, lambda book: book.having(Saved(HERE, "here", Connection("http://127.0.0.1:9", WRONG))))
    comfyui = ComfyUI(input_folder=lambda: tmp_path, folder=lambda: tmp_path, here=lambda: one)
    async with opened(settings, comfyui=comfyui) as page:
        started = await lines(page, "/outpost/here/start")
        tried = await page.send("POST", f"/outpost/connections/{HERE}/test")
    assert (started[-1]["state"], tried.status) == ("failed", 503)
    assert "ERROR the settings file cannot be read" in started[-1]["log"][0]
    for told in (json.dumps(started), tried.body.decode()):
        assert str(tmp_path) not in told
        assert str(Path.home()) not in told


async def test_who_listens_where_a_killed_platform_was_is_not_taken_for_it(
    tmp_path: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTPOST_SETTINGS", str(settings))
    async with served(web.Application()) as url:
        ours = Saved(HERE, "here", Connection(url, WRONG))
        change_book(settings, lambda book: book.having(ours).using(HERE))
        (settings.parent / HERE).mkdir()
        (settings.parent / HERE / "address.json").write_text(json.dumps({"url": url}))
        one = Here(folder=lambda: tmp_path, arguments=list, python=Path("/bin/false"))
        with pytest.raises(Unavailable, match="does not start"):
            await one.start()
        assert not one.is_shared
        assert not one.is_running


async def test_what_is_removed_while_it_starts_does_not_come_back(
    tmp_path: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTPOST_SETTINGS", str(settings))
    ours = Saved(HERE, "here", Connection("http://127.0.0.1:9", WRONG))
    change_book(settings, lambda book: book.having(ours).using(HERE))
    one = Here(folder=lambda: tmp_path, arguments=list)
    starting = asyncio.ensure_future(one.start())
    while not one.is_launched:
        await asyncio.sleep(0.01)
    change_book(settings, lambda book: book.without(HERE))
    await asyncio.to_thread(one.stop)
    with pytest.raises(Unavailable, match="stopped while it started"):
        await starting
    assert read_book(settings).entries == ()
    assert not one.is_running


async def test_a_server_that_is_no_comfyui_starts_nothing(page: Page) -> None:
    answer = await page.send("POST", "/outpost/here/start")
    assert (answer.status, answer.data["code"]) == (501, "not_supported")
