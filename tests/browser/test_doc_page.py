"""The interactive page of the API, in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import open_platform
from comfyui_outpost.tests.fakes.documented import RUN_ID, SEED, DocumentedApi, document, documented_api
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, async_playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WHAT_IT_KEEPS = """
() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state,
                      [...document.querySelectorAll("input")].map((each) => each.value)])
"""
NAMELESS = """
() => [...document.querySelectorAll("input, select, textarea, button")]
    .filter((each) => !(each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim()))
    .map((each) => each.outerHTML)
"""
MARKUP = '<img src=x onerror="window.hurt = 1"><script>window.hurt = 1</script>[a](javascript:window.hurt=1)'

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
    pytest.mark.asyncio(loop_scope="session"),  # one browser for all of them
]


@dataclass
class Visit:
    """The page, and what the browser did meanwhile."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings on the console."""

    def operation(self, name: str) -> Locator:
        return self.page.locator(f"[id='{name}']")

    async def open(self, name: str) -> Locator:
        operation = self.operation(name)
        await operation.locator("> summary").click()
        return operation

    async def use_key(self, key: str) -> None:
        await self.page.get_by_label("API key", exact=True).fill(key)
        await self.page.get_by_label("API key", exact=True).press("Enter")
        await expect(self.page.get_by_text("Key in use")).to_be_visible()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncGenerator[Browser, None]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


@asynccontextmanager
async def _visit(browser: Browser, url: str) -> AsyncIterator[Visit]:
    """Open the page. At the end nothing may have left its origin, and nobody may have complained."""
    context = await browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    visit = Visit(await context.new_page())

    def hear(message: ConsoleMessage) -> None:
        # The browser itself reports every answer that is an error; those are asked for here.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            visit.complaints.append(message.text)

    visit.page.on("console", hear)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    await visit.page.goto(url)
    yield visit
    origin = urlsplit(url).netloc
    assert {urlsplit(each).netloc for each in visit.requests if not each.startswith(("data:", "blob:"))} == {origin}
    assert visit.complaints == []
    await context.close()


async def _unfold(page: Page) -> None:
    """Open every endpoint, as soon as the page has them."""
    await page.locator(".operation").first.wait_for()
    for summary in await page.locator(".operation > summary").all():
        await summary.click()


@pytest_asyncio.fixture(loop_scope="session")
async def api() -> AsyncGenerator[DocumentedApi, None]:
    async with documented_api(document()) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, api: DocumentedApi) -> AsyncGenerator[Visit, None]:
    async with _visit(browser, api.url) as visit:
        yield visit


async def test_endpoints_stand_in_groups_and_can_be_filtered_by_keyboard(visit: Visit) -> None:
    page = visit.page
    await expect(page.get_by_role("heading", level=1)).to_have_text("Example API")
    assert await page.title() == "Example API"
    await expect(page.get_by_role("heading", level=2)).to_have_text(["runs", "files", "server"])

    await page.keyboard.press("/")
    await page.keyboard.type("get run")

    await expect(page.get_by_role("main").get_by_role("status").filter(has_text="of")).to_have_text("3 of 7 endpoints")
    await expect(visit.operation("get-runs")).to_be_visible()
    await expect(visit.operation("post-file-upload")).to_be_hidden()
    await expect(page.get_by_role("heading", name="files")).to_be_hidden()


async def test_a_person_reads_what_a_request_takes_and_what_it_answers(visit: Visit) -> None:
    listing = await visit.open("get-runs")
    limit = listing.get_by_label("limit")
    assert await limit.get_attribute("placeholder") == "100"
    await expect(listing).to_contain_text("0 to 1000 · default 100 — How many at most")
    options = await listing.get_by_label("status").locator("option").all_text_contents()
    assert options == ["—", "queued", "running", "success", "failed"]

    queue = await visit.open("post-run-deployment-queue")
    written = json.loads(await queue.get_by_label("Body").input_value())
    assert written == {"deployment_id": "00000000-0000-0000-0000-000000000000", "inputs": {}}
    answers = queue.locator(".answers")
    assert await answers.locator(".status").all_text_contents() == ["200", "401", "404", "422"]
    await answers.get_by_text("What was asked for").click()
    await answers.get_by_text("parent").click()
    await expect(answers.locator(".tree .tree code").first).to_have_text("id")
    assert urlsplit(visit.page.url).fragment == "post-run-deployment-queue"


async def test_a_request_is_sent_with_the_key_and_its_answer_is_shown(visit: Visit, api: DocumentedApi) -> None:
    await visit.use_key(api.key)
    operation = await visit.open("get-run-run_id")
    await operation.get_by_label("run_id").fill(RUN_ID)
    await operation.get_by_label("queue_position").select_option("true")
    await operation.get_by_role("button", name="Send").click()

    await expect(operation.get_by_role("status").filter(has_text="200 OK")).to_be_visible()
    answer = operation.get_by_role("region", name="Answer")
    await expect(answer).to_contain_text(f'"seed": {SEED}')
    more = answer.get_by_role("button", name="more characters")
    await expect(answer).not_to_contain_text("<b>x</b>" * 100)
    await more.click()
    await expect(answer).to_contain_text("<b>x</b>" * 100)
    picture = operation.get_by_role("img", name="Picture 1")
    await picture.scroll_into_view_if_needed()
    await visit.page.wait_for_function("(image) => image.naturalWidth > 0", arg=await picture.element_handle())
    assert api.log.requests[0].path.endswith(f"/api/run/{RUN_ID}?queue_position=true")
    assert "Cookie" not in api.log.requests[0].headers


async def test_the_key_is_nowhere_to_be_found_and_can_be_forgotten(visit: Visit, api: DocumentedApi) -> None:
    await visit.use_key(api.key)
    operation = await visit.open("get-runs")
    await operation.get_by_role("button", name="Send").click()
    await expect(operation).to_contain_text("200 OK")
    await operation.get_by_role("button", name="Copy the request").click()
    await expect(operation).to_contain_text("Copied")

    command = await visit.page.evaluate("() => navigator.clipboard.readText()")
    assert '-H "Authorization: Bearer $PLATFORM_API_KEY"' in command
    kept = await visit.page.evaluate(WHAT_IT_KEEPS)
    assert api.key not in "".join([command, kept, await visit.page.content(), *visit.requests])

    await visit.page.get_by_role("button", name="Forget the API key").click()
    await operation.get_by_role("button", name="Send").click()
    await expect(operation).to_contain_text("401 Unauthorized")
    assert "Authorization" not in api.log.requests[-1].headers


async def test_a_key_that_is_typed_and_not_confirmed_is_used_all_the_same(visit: Visit, api: DocumentedApi) -> None:
    operation = await visit.open("get-runs")
    await visit.page.get_by_label("API key", exact=True).fill(f" {api.key} ")
    await operation.get_by_role("button", name="Send").click()
    await expect(operation).to_contain_text("200 OK")
    assert api.key not in await visit.page.evaluate(WHAT_IT_KEEPS)


async def test_what_cannot_be_a_key_is_not_taken_for_one(visit: Visit) -> None:
    await visit.page.get_by_label("API key", exact=True).fill("two words")
    await visit.page.get_by_label("API key", exact=True).press("Enter")
    await expect(visit.page.get_by_text("That is no API key")).to_be_visible()
    await expect(visit.page.get_by_role("button", name="Forget the API key")).to_be_hidden()


async def test_an_endpoint_that_needs_no_key_gets_none(visit: Visit, api: DocumentedApi) -> None:
    await visit.use_key(api.key)
    operation = await visit.open("get-health")
    await expect(operation.locator("> summary")).to_contain_text("no key")
    await operation.get_by_role("button", name="Send").click()
    await expect(operation).to_contain_text("200 OK")
    assert "Authorization" not in api.log.requests[0].headers


async def test_what_is_missing_or_wrong_is_said_and_not_sent(visit: Visit, api: DocumentedApi) -> None:
    reading = await visit.open("get-run-run_id")
    await reading.get_by_role("button", name="Send").click()
    await expect(reading.get_by_role("alert")).to_have_text("run_id is needed.")
    await expect(reading.get_by_label("run_id")).to_be_focused()

    queue = await visit.open("post-run-deployment-queue")
    for text, problem in {"{": "The body is not JSON", " ": "A body is needed."}.items():
        await queue.get_by_label("Body").fill(text)
        await queue.get_by_label("Body").press("Control+Enter")
        await expect(queue.get_by_role("alert")).to_contain_text(problem)

    upload = await visit.open("post-file-upload")
    await upload.get_by_role("button", name="Send").click()
    await expect(upload.get_by_role("alert")).to_have_text("file is needed.")
    assert api.log.requests == []


async def test_a_body_is_sent_as_it_was_written(visit: Visit, api: DocumentedApi) -> None:
    await visit.use_key(api.key)
    queue = await visit.open("post-run-deployment-queue")
    body = f'{{"inputs": {{"seed": {SEED}}}}}'
    await queue.get_by_label("Body").fill(body)
    await queue.get_by_label("Idempotency-Key").fill("once-only")
    await queue.get_by_role("button", name="Send").click()
    await expect(queue).to_contain_text("200 OK")
    await expect(queue.get_by_role("region", name="Request for a shell")).to_contain_text(f"--data-raw '{body}'")
    seen = api.log.requests[0]
    assert (seen.body.decode(), seen.headers["Content-Type"]) == (body, "application/json")
    assert seen.headers["Idempotency-Key"] == "once-only"


async def test_a_file_is_sent_in_a_form(visit: Visit, api: DocumentedApi, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"the bytes of a picture")
    await visit.use_key(api.key)
    upload = await visit.open("post-file-upload")
    await upload.get_by_label("file", exact=True).set_input_files(tmp_path / "photo.png")
    await expect(upload.get_by_role("region", name="Request for a shell")).to_contain_text("""-F 'file=@"photo.png"'""")
    await upload.get_by_role("button", name="Send").click()
    await expect(upload).to_contain_text("200 OK")
    seen = api.log.requests[0]
    assert b'name="file"; filename="photo.png"' in seen.body
    assert b"the bytes of a picture" in seen.body
    assert b'name="folder"' not in seen.body


async def test_a_picture_is_shown(visit: Visit, api: DocumentedApi) -> None:
    await visit.use_key(api.key)
    operation = await visit.open("get-file-name")
    await operation.get_by_label("name", exact=True).fill("picture.png")
    await operation.get_by_role("button", name="Send").click()
    await expect(operation).to_contain_text("200 OK")
    picture = operation.get_by_role("img", name="The answer")
    assert str(await picture.get_attribute("src")).startswith("blob:")
    await visit.page.wait_for_function("(image) => image.naturalWidth > 0", arg=await picture.element_handle())


async def test_events_are_shown_as_they_come_until_somebody_stops_them(visit: Visit, api: DocumentedApi) -> None:
    await visit.use_key(api.key)
    operation = await visit.open("get-run-run_id-stream")
    await operation.get_by_label("run_id").fill(RUN_ID)
    await operation.get_by_role("button", name="Send").click()
    events = operation.get_by_role("list", name="Events").get_by_role("listitem")
    await expect(events).to_have_count(2)
    await expect(operation).to_contain_text("The stream is open")
    await events.nth(1).locator("summary").click()
    await expect(events.nth(1)).to_contain_text('"status": "running"')

    await operation.get_by_role("button", name="Stop").click()

    await expect(operation.get_by_role("status").filter(has_text="Stopped after")).to_be_visible()
    await expect(operation.get_by_role("button", name="Stop")).to_be_hidden()
    await expect(operation.get_by_role("button", name="Send")).to_be_focused()
    await expect(events).to_have_count(2)
    await api.streams_closed.wait()


async def test_an_address_that_names_an_endpoint_opens_it(browser: Browser, api: DocumentedApi) -> None:
    async with _visit(browser, f"{api.url}#get-runs") as visit:
        await expect(visit.operation("get-runs").get_by_label("limit")).to_be_visible()


async def test_a_server_that_is_gone_is_said_so(browser: Browser) -> None:
    async with documented_api(document()) as api:
        context = await browser.new_context()
        visit = Visit(await context.new_page())
        await visit.page.goto(api.url)
        operation = await visit.open("get-health")
    await operation.get_by_role("button", name="Send").click()
    await expect(operation).to_contain_text("No answer: the server cannot be reached")
    await context.close()


async def test_a_description_that_cannot_be_read_is_said_so(browser: Browser, api: DocumentedApi) -> None:
    page = await browser.new_page()
    await page.route("**/openapi.json", lambda route: route.fulfill(status=503, body="not now"))
    await page.goto(api.url)
    await expect(page.get_by_role("alert")).to_contain_text("The server answered 503.")
    await page.close()


def _hostile(value: Any) -> Any:
    """The same document with markup in every text that a person reads, and in names."""
    if isinstance(value, dict):
        texts = ("summary", "description", "title", "version", "example")
        return {key: MARKUP if key in texts else _hostile(each) for key, each in value.items()} | (
            {"name": MARKUP} if value.get("in") == "query" else {}
        )
    return [_hostile(each) for each in value] if isinstance(value, list) else value


async def test_markup_in_a_document_is_text_and_does_nothing(browser: Browser) -> None:
    described = _hostile(document())
    described["paths"][f"/{MARKUP}"] = {"get": {"tags": [MARKUP], "responses": {MARKUP: {"description": MARKUP}}}}
    described["servers"] = [{"url": "https://elsewhere.example/"}]
    async with documented_api(described) as api, _visit(browser, api.url) as visit:
        await expect(visit.page.locator(".operation")).to_have_count(8)
        await _unfold(visit.page)
        for folded in await visit.page.locator(".panel details > summary").all():
            await folded.click()
        await visit.open(await visit.page.locator(".operation").last.get_attribute("id") or "")
        await expect(visit.page.get_by_role("heading", level=1)).to_have_text(MARKUP)
        assert await visit.page.locator("img, script:not([src='doc/doc.js']), a[href^='javascript:']").count() == 0
        assert await visit.page.evaluate("() => window.hurt") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_sticks_out_on_a_narrow_screen(browser: Browser, api: DocumentedApi, scheme: Any) -> None:
    page = await browser.new_page(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    await page.goto(api.url)
    await _unfold(page)
    assert await page.evaluate("() => document.documentElement.scrollWidth") == 320
    await page.close()


async def test_everything_to_fill_in_or_press_has_a_name(visit: Visit) -> None:
    await _unfold(visit.page)
    assert await visit.page.evaluate(NAMELESS) == []


async def test_the_page_of_a_real_platform_fills_in_what_can_be_sent_and_tells_of_webhooks(
    browser: Browser, tmp_path: Path
) -> None:
    config = ServerConfig(tmp_path / "platform")
    async with open_platform(config) as platform, serving(platform, host="127.0.0.1", port=0) as url:
        assert platform.first_start is not None
        async with _visit(browser, f"{url}/api/doc") as visit:
            queue = await visit.open("post-run-deployment-queue")
            written = json.loads(await queue.get_by_label("Body").input_value())
            assert written["inputs"] == {"image": "https://example.com/photo.png"}
            wrong = queue.locator(".answers > .answer", has_text="422").locator("> summary")
            await expect(wrong.locator("code")).to_have_text(["detail", "loc", "msg"])
            await expect(wrong).not_to_contain_text("`")

            await visit.use_key(platform.first_start.api_key)
            upload = await visit.open("post-file-upload")
            await upload.get_by_label("Type of the body").select_option("application/json")
            await upload.get_by_role("button", name="Send").click()
            await expect(upload).to_contain_text("200 OK")

            told = await visit.open("webhook-run-updated")
            await expect(visit.page.get_by_role("heading", name="Webhooks")).to_be_visible()
            await expect(told).to_contain_text("webhook-signature")
            await expect(told.get_by_role("region", name="Example of a message")).to_contain_text('"run.updated"')
            await expect(told.get_by_role("button", name="Send")).to_have_count(0)
            await expect(told.locator("> summary")).not_to_contain_text("no key")


async def test_the_page_of_a_real_platform_asks_it_for_its_deployments(browser: Browser, tmp_path: Path) -> None:
    config = ServerConfig(tmp_path / "platform")
    async with open_platform(config) as platform, serving(platform, host="127.0.0.1", port=0) as url:
        assert platform.first_start is not None
        key = platform.first_start.api_key
        async with _visit(browser, f"{url}/api/doc") as visit:
            await expect(visit.page.get_by_role("heading", level=1)).to_have_text("ComfyUI-Outpost")
            await visit.use_key(key)
            operation = await visit.open("get-deployments")
            await operation.get_by_role("button", name="Send").click()
            await expect(operation.get_by_text("Hello Outpost").first).to_be_visible()
            assert key not in await visit.page.content()
            assert key not in await visit.page.evaluate(WHAT_IT_KEEPS)
