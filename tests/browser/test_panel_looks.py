"""How the panel looks: readable in both themes and for a screen reader, and whole at every width."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from comfyui_outpost.tests.comfyui.conftest import REPOSITORY
from playwright.async_api import expect

from .account import Account, fill
from .desk import CHROMIUM, Desk

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
AXE = REPOSITORY / "tests" / "js" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (250, 320, 420, 600, 800)
HOSTILE = "<img src=x onerror=window.pwned=1>"
LONG = "wideword" * 30
NAMES = ["Relight a portrait", HOSTILE, f"😀 صورة شخصية {LONG}"[:200]]
# What axe finds in the panel and in dialogs: its rule, and the elements.
CHECK = """
async (place) => { const found = await axe.run({ include: [[place]] }, { resultTypes: ["violations"] });
              return found.violations.filter((each) => ["serious", "critical"].includes(each.impact)).map((each) =>
                  `${each.id}: ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)
                  + " " + (node.any[0]?.message ?? "")).join(" | ")}`); }
"""
SETTLED = """
() => { const panel = document.querySelector("outpost-panel");
        return !panel.querySelector("[aria-busy=true], .pi-spinner"); }
"""
# The elements that are wider than the panel, or cut off on the right without a way to see them.
TOO_WIDE = """
(width) => { const panel = document.querySelector("outpost-panel");
    panel.style.width = `${width}px`;
    const edge = panel.getBoundingClientRect().right + 1;
    const seen = (each) => { const box = each.getBoundingClientRect();
        return box.width > 0 && box.right > edge && !each.closest(".outpost-hidden, .outpost-menu"); };
    const wide = [...panel.querySelectorAll("*")].filter(seen).map((each) => each.outerHTML.slice(0, 120));
    panel.style.width = "";
    return panel.scrollWidth > panel.clientWidth ? ["the panel itself", ...wide] : wide; }
"""
STAYS_INSIDE = "() => document.activeElement === document.body || !!document.activeElement.closest('dialog')"
THEME = "(theme) => app.extensionManager.setting.set('Comfy.ColorPalette', theme)"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def account(panel_desk_of_the_file: Desk) -> Account:
    desk = panel_desk_of_the_file
    await desk.page.add_script_tag(path=AXE)
    return await fill(
        desk.client,
        names=NAMES,
        comfyui_url=desk.comfyui.url,
        machine_name=HOSTILE,
        folder_names=(HOSTILE, "صورة 😀"),
        comment=f"{HOSTILE} {LONG * 40}",
    )


async def _places(desk: Desk, account: Account) -> list[tuple[str, dict[str, Any]]]:
    machine = next(each.id for each in await desk.client.machines.list() if each.name == HOSTILE)
    return [
        ("workflows", {}),
        ("workflows", {"workflow_id": account.workflows[1]}),
        ("deployments", {}),
        ("deployments", {"deployment_id": account.deployments[1]}),
        ("run", {"deployment_id": account.deployments[1]}),
        ("runs", {}),
        ("runs", {"run_id": account.runs[1]}),
        ("machines", {}),
        ("machines", {"machine_id": machine}),
        ("assets", {}),
        ("connect", {}),
        ("deploy", {}),
    ]


@pytest.mark.skipif(not AXE.is_file(), reason="`make check` brings axe-core")
@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_every_view_can_be_read_by_everybody(panel_desk: Desk, account: Account, theme: str) -> None:
    await panel_desk.page.evaluate(THEME, theme)
    found: dict[str, list[str]] = {}
    for view, about in await _places(panel_desk, account):
        await panel_desk.show(view, **about)
        await panel_desk.until(SETTLED)
        if violations := await panel_desk.page.evaluate(CHECK, "outpost-panel"):
            found[f"{view} {sorted(about)}"] = violations
    assert found == {}


@pytest.mark.skipif(not AXE.is_file(), reason="`make check` brings axe-core")
async def test_a_menu_and_a_dialog_are_used_by_keys_alone(panel_desk: Desk, account: Account) -> None:
    page = panel_desk.page
    await panel_desk.show("workflows")
    button = panel_desk.panel.get_by_role("button", name=f"More for {NAMES[0]}", exact=True)
    await button.press("Enter")
    await page.get_by_role("menuitem").first.wait_for()
    assert await page.evaluate(CHECK, "outpost-panel") == []
    await page.keyboard.press("Escape")
    await expect(button).to_be_focused()

    await button.press("Enter")
    entry = page.get_by_role("menuitem", name="Rename")
    while not await entry.evaluate("(each) => each === document.activeElement"):
        await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").get_by_role("textbox", name="Name")).to_be_focused()
    assert await page.evaluate(CHECK, ".outpost-dialog") == []
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    assert await page.evaluate(
        "() => document.activeElement.closest('dialog') !== null || document.activeElement === document.body"
    )
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    await expect(button).to_be_focused()


async def test_no_view_is_wider_than_the_panel(panel_desk: Desk, account: Account) -> None:
    found: dict[str, list[str]] = {}
    for view, about in await _places(panel_desk, account):
        await panel_desk.show(view, **about)
        await panel_desk.until(SETTLED)
        for width in WIDTHS:
            if wide := await panel_desk.page.evaluate(TOO_WIDE, width):
                found[f"{view} {sorted(about)} {width}"] = wide[:3]
    assert found == {}


async def test_names_that_are_meant_ill_are_shown_as_texts(panel_desk: Desk, account: Account) -> None:
    await panel_desk.show("workflows")
    await panel_desk.panel.get_by_text(HOSTILE).first.wait_for()
    for view, about in await _places(panel_desk, account):
        await panel_desk.show(view, **about)
        await panel_desk.until(SETTLED)
        assert await panel_desk.panel.locator("img[src=x]").count() == 0
    assert await panel_desk.page.evaluate("() => window.pwned") is None
