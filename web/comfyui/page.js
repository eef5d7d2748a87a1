// The page around the graph: what it tells, its sidebar, menus, settings and requests.

import { api, app } from "./app.js";

/**
 * Tell the person at the page something.
 * @param {string} text
 * @param {"success" | "info" | "warn" | "error"} [severity]
 */
export function tell(text, severity = "warn") {
  const toast = app.extensionManager?.toast;
  if (toast) toast.add({ severity, summary: "ComfyUI-Outpost", detail: text, life: 6000 });
  else window.alert(text);
}

/** Ask one of this package's routes. @param {string} path @param {RequestInit} [options] */
export const request = (path, options) => api.fetchApi(path, options);

/** The address of one of this package's routes, for an `<img>`. @param {string} path */
export const addressOf = (path) => api.apiURL(path);

/**
 * Open the page's own menu of texts at a place.
 * @param {string[]} entries
 * @param {{event: Event, scale: number, choose: (entry: string) => void}} options
 * @returns {{isUntouched: () => boolean, close: () => void}} untouched: open, and nothing has been typed to search it
 */
export function openMenu(entries, { event, scale, choose }) {
  const menu = new window.LiteGraph.ContextMenu(entries, { event, scale, className: "dark", callback: choose });
  const isUntouched = () => menu.root.isConnected && !menu.root.querySelector("input")?.value;
  return { isUntouched, close: () => menu.close() };
}

/** Whether the page asks extensions what the menu of a node should have. Older ones do not. */
export const asksForNodeMenus = () => typeof app.collectNodeMenuItems === "function";

/** Add a tab to the sidebar. Pages of before 2024-07 have none. @param {Omit<ComfyUI.SidebarTab, "type">} tab */
export const addTab = (tab) => app.extensionManager?.registerSidebarTab?.({ ...tab, type: "custom" });

/** Show or hide a tab of the sidebar. @param {string} id */
export const toggleTab = (id) => app.extensionManager?.sidebarTab?.toggleSidebarTab?.(id);

/** Whether a tab of the sidebar is shown. @param {string} id */
export const isTabOpen = (id) => app.extensionManager?.sidebarTab?.activeSidebarTabId === id;

/**
 * Let a tab of the sidebar show a few letters beside its icon. The page looks again when the tab is changed.
 * @param {string} id
 * @param {string} text empty for none
 */
export function setBadge(id, text) {
  const tab = app.extensionManager?.getSidebarTabs?.().find((each) => each.id === id);
  if (tab) tab.iconBadge = () => text || null;
}

/** What a person has set in ComfyUI's settings. @param {string} id @returns {unknown} */
export function settingOf(id) {
  const get = app.extensionManager?.setting?.get;
  return get ? get(id) : app.ui.settings.getSettingValue?.(id);
}

/** Add a setting to pages that do not look for settings in extensions. @param {object} setting */
export function addOldSetting(setting) {
  if (!app.extensionManager) app.ui.settings.addSetting(setting);
}
