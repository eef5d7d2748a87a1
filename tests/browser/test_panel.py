"""The panel in a real page: it comes and goes, obeys ComfyUI's keys and menu, and a failure of it stays its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, Route

from .desk import CHROMIUM, IS_READY, Desk, forget
from .interception import with_header

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
SAID = "ComfyUI-Outpost:"
OPEN = "() => app.extensionManager.sidebarTab.toggleSidebarTab('outpost')"
# As strict as ComfyUI's own page can be under.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; object-src 'none'"
)
VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(
    `${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
# What ComfyUI tells of a node as soon as it can, and what is said of that.
EARLY = """
window.said = [];
console.error = (...given) => said.push(given.map(String).join(" "));
const told = JSON.stringify({ type: "outpost.text", data: { node: "1", text: "queued" } });
window.WebSocket = class extends WebSocket {
    constructor(...given) {
        super(...given);
        this.addEventListener("open", () => this.dispatchEvent(new MessageEvent("message", { data: told })));
    } };
"""
# What scripts of this package start: timers and requests. ComfyUI's own are not counted.
COUNTING = """
window.started = [];
for (const name of ["setTimeout", "setInterval", "requestAnimationFrame", "fetch"]) {
    const original = window[name];
    window[name] = (...given) => {
        if (String(new Error().stack).includes("ComfyUI-Outpost")) started.push(name);
        return original.apply(window, given);
    };
}
"""
NO_TEXTS = """
const before = window.fetch;
window.fetch = (address, ...rest) =>
    String(address).includes("texts.json") ? Promise.reject(new TypeError("gone")) : before(address, ...rest);
"""
RENDER_AGAIN = """
() => { const place = document.querySelector("outpost-panel").parentElement, before = place.firstChild;
        const tab = app.extensionManager.getSidebarTabs().find((each) => each.id === "outpost");
        tab.render(place); tab.render(place);
        return place.children.length === 1 && place.firstChild === before; }
"""
BREAK = "() => { document.querySelector('outpost-panel').state.panel.deletions.add = null; }"
MEND = "() => { delete document.querySelector('outpost-panel').state.panel.deletions.add; }"
# What the page says while a list of it is scrolled on: whether a text has come into sight.
SCROLL = """
([step, text]) => { const box = document.querySelector("outpost-panel .outpost-scroller");
                    box.scrollTop += step; return box.textContent.includes(text); }
"""
GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8}}}
ROWS = 130
"""More workflows than the panel reads at once."""
COUNT = "function() { return this.filter((each) => each.isOfThisTest).length; }"
FAR_FROM_THE_PANEL = (1500, 450)
VIEWS = ("Workflows", "Deployments", "Runs", "Machines", "Assets")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def elsewhere(panel_desk_of_the_file: Desk) -> AsyncGenerator[BrowserContext, None]:
    """Another person's browser, for pages that begin in a way of their own. They share what it has loaded."""
    browser = panel_desk_of_the_file.context.browser
    assert browser
    context = await browser.new_context(viewport={"width": 1600, "height": 900})
    yield context
    await context.close()


async def test_the_panel_opens_in_the_sidebar_closes_and_comes_back_as_it_was(panel_desk: Desk) -> None:
    await panel_desk.show("machines")
    await panel_desk.panel.get_by_role("tab", name="Machines", selected=True).wait_for()
    assert await panel_desk.page.evaluate(RENDER_AGAIN)
    box, page = await panel_desk.panel.bounding_box(), panel_desk.page.viewport_size
    assert box and page and box["height"] > page["height"] * 0.9
    await panel_desk.hide()
    assert await panel_desk.panel.count() == 0
    await panel_desk.page.evaluate(OPEN)
    await panel_desk.panel.get_by_role("tab", name="Machines", selected=True).wait_for()


async def test_every_view_is_reached_by_keys_alone(panel_desk: Desk) -> None:
    await panel_desk.show("workflows")
    await panel_desk.hide()
    await panel_desk.page.locator("canvas").first.focus()
    await panel_desk.page.keyboard.press("o")
    for name in (*VIEWS[1:], VIEWS[0]):
        await panel_desk.panel.locator("[role=tab]:focus").wait_for()
        await panel_desk.page.keyboard.press("ArrowRight")
        await panel_desk.page.keyboard.press("Enter")
        await panel_desk.panel.get_by_role("tab", name=name, selected=True).wait_for()
        await panel_desk.panel.get_by_role("tabpanel", name=name).wait_for()


async def test_commands_are_in_the_menu_and_have_keys_that_nothing_else_has(panel_desk: Desk) -> None:
    await panel_desk.show("runs")
    known = await panel_desk.page.evaluate(
        "() => app.extensionManager.command.commands.filter((each) => each.id.startsWith('Outpost.')).map((each) => "
        "[each.id, each.label, each.keybinding?.combo.toString()])"
    )
    assert known == [
        ["Outpost.OpenPanel", "Show or hide the panel", "o"],
        ["Outpost.Deploy", "Deploy this graph", "Alt + Shift + Enter"],
        ["Outpost.RunRemotely", "Run this graph's newest deployment", "Alt + Enter"],
    ]
    await panel_desk.page.keyboard.press("Alt+Shift+Enter")
    await panel_desk.panel.locator("[data-view=deploy]").wait_for()
    await panel_desk.panel.get_by_role("button", name="Back").click()
    await panel_desk.panel.locator("[data-view=runs]").wait_for()
    await panel_desk.page.keyboard.press("Alt+Enter")
    await panel_desk.panel.get_by_text("This graph has not been deployed yet.").wait_for()


async def test_what_fails_in_a_view_is_said_there_and_the_rest_goes_on(panel_desk: Desk) -> None:
    panel_desk.expected += [SAID, "Failed to load resource"]
    page, panel = panel_desk.page, panel_desk.panel
    await panel_desk.show("runs")

    async def nonsense(route: Route) -> None:
        await route.fulfill(json={"workflows": 7, "rows": 7, "machines": 7})

    await page.route("**/outpost/workflows*", nonsense)
    await panel_desk.show("workflows")
    await panel.get_by_role("alert").first.wait_for()
    await page.unroute("**/outpost/workflows*")
    await panel.get_by_role("button", name="Try again").click()
    await panel.get_by_role("alert").wait_for(state="detached")
    await panel_desk.add("EmptyImage")


async def test_what_fails_in_an_event_is_said_in_the_panel_and_never_reaches_the_page(panel_desk: Desk) -> None:
    panel_desk.expected += [SAID]
    panel = panel_desk.panel
    await panel_desk.show("workflows")
    await panel_desk.page.evaluate(BREAK)
    await panel.get_by_role("button", name="More for").first.click()
    await panel.get_by_role("menuitem", name="Delete").click()
    await panel.get_by_role("alert").filter(has_text="Something went wrong").wait_for()
    await panel.get_by_role("tab", name="Runs").click()
    await panel.locator("[data-view=runs]").wait_for()
    assert [line for line in panel_desk.console if "uncaught" in line.lower()] == []
    await panel_desk.page.evaluate(MEND)


async def test_nothing_of_the_panel_offends_a_strict_policy(panel_desk: Desk, elsewhere: BrowserContext) -> None:
    async with _another_page(panel_desk, elsewhere, VIOLATIONS, policy=POLICY) as page:
        await page.evaluate(OPEN)
        for name in VIEWS:
            await page.get_by_role("tab", name=name).click()
            await page.locator(f"[data-view={name.lower()}]").wait_for()
        await page.get_by_role("button", name="Deploy this graph").click()
        violations = await page.evaluate("() => window.violations")
    assert [each for each in violations if "utpost" in each] == []


async def test_without_the_texts_their_keys_stand_for_them_and_the_page_goes_on(
    panel_desk: Desk, elsewhere: BrowserContext
) -> None:
    async with _another_page(panel_desk, elsewhere, NO_TEXTS) as page:
        await page.evaluate(OPEN)
        await page.get_by_role("tab", name="view.workflows", selected=True).wait_for()


async def test_what_a_node_tells_while_the_page_still_loads_is_no_error(
    panel_desk: Desk, elsewhere: BrowserContext
) -> None:
    async with _another_page(panel_desk, elsewhere, EARLY) as page:
        assert [each for each in await page.evaluate("() => window.said") if "utpost" in each] == []


async def test_a_closed_panel_costs_nothing(panel_desk: Desk, elsewhere: BrowserContext) -> None:
    async with _another_page(panel_desk, elsewhere, COUNTING, has_own_clock=True) as page:
        await page.evaluate(OPEN)
        await page.get_by_role("tab", name="Workflows", selected=True).wait_for()
        await page.clock.run_for(3000)
        await page.evaluate(OPEN)
        await page.locator("outpost-panel").wait_for(state="detached")
        assert await page.evaluate("() => started.length") > 0
        await page.evaluate("() => { started.length = 0; }")
        await page.clock.run_for(5000)
        assert await page.evaluate("() => started") == []


async def test_panels_that_were_closed_are_gone_from_memory(panel_desk: Desk) -> None:
    # ComfyUI's page holds the last events of the mouse, and with them the panel that they were in.
    await panel_desk.page.mouse.move(*FAR_FROM_THE_PANEL)
    for name in VIEWS:
        await panel_desk.show(name.lower())
        await panel_desk.page.evaluate("() => { document.querySelector('outpost-panel').isOfThisTest = true; }")
        await panel_desk.hide()

    async def are_gone() -> None:
        while await _panels_in_memory(panel_desk.page):
            await asyncio.sleep(0.1)

    await asyncio.wait_for(are_gone(), 20)  # an answer that is on its way still has one


async def test_what_changes_is_read_anew_where_it_is_seen(panel_desk: Desk) -> None:
    create = panel_desk.client.workflows.create
    made = [await create(f"Row {index:03}", {}, workflow_api=GRAPH) for index in range(ROWS)]
    await panel_desk.show("workflows")
    await panel_desk.panel.get_by_label("Sort by").select_option("name")
    await panel_desk.panel.get_by_text("Row 001").wait_for()
    await panel_desk.until(SCROLL, [10_000, f"Row {ROWS - 1}"])
    panel_desk.sent.clear()
    for index in (1, ROWS - 2):
        await panel_desk.client.workflows.update(made[index].workflow_id, name=f"Row {index:03} anew")
    await panel_desk.panel.get_by_text(f"Row {ROWS - 2} anew").wait_for()
    below = _offsets(panel_desk.sent)
    assert below
    assert 0 not in below
    await panel_desk.until(SCROLL, [-10_000, "Row 001 anew"])
    assert _offsets(panel_desk.sent)[len(below) :] == [0]


async def _panels_in_memory(page: Page) -> int:
    """How many panels of this test have not been collected. Chromium does so first."""
    session = await page.context.new_cdp_session(page)
    try:
        kind = await session.send("Runtime.evaluate", {"expression": "customElements.get('outpost-panel').prototype"})
        found = await session.send("Runtime.queryObjects", {"prototypeObjectId": kind["result"]["objectId"]})
        count = {"functionDeclaration": COUNT, "returnByValue": True}
        of = {"objectId": found["objects"]["objectId"]}
        return (await session.send("Runtime.callFunctionOn", count | of))["result"]["value"]
    finally:
        await session.detach()


def _offsets(sent: list[str]) -> list[int]:
    """Where the pages of workflows began that were asked for."""
    return [int(found[1]) for each in sent if (found := re.search(r"/outpost/workflows\?\S*offset=(\d+)", each))]


@asynccontextmanager
async def _another_page(
    desk: Desk, context: BrowserContext, script: str, *, policy: str = "", has_own_clock: bool = False
) -> AsyncGenerator[Page, None]:
    """A second page of the same ComfyUI, with a script that runs before its own."""
    page = await context.new_page()
    try:
        await forget(page, desk.url)
        if has_own_clock:
            await page.clock.install()
        await page.add_init_script(script)
        async with AsyncExitStack() as stack:
            if policy:
                await stack.enter_async_context(with_header(page, f"{desk.url}/", "Content-Security-Policy", policy))
            await page.goto(desk.url)
        if has_own_clock:
            await page.clock.run_for(5000)
        await page.wait_for_function(IS_READY, polling=100, timeout=60_000)
        yield page
    finally:
        await page.close()
