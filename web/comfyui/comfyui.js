// ComfyUI's page, as far as this package needs it. Only the modules of this folder know it.

export { api, app } from "./app.js";
export * from "./exposing.js";
export * from "./hooks.js";
export * from "./menus.js";
export * from "./nodes.js";
export * from "./opened.js";
export * from "./page.js";
export * from "./tabs.js";
