// All that views are made of, for one import.

export { t } from "../texts.js";
export * from "../view.js";
export * from "./context.js";
export * from "./copy.js";
export * from "./cover.js";
export * from "./deeds.js";
export * from "./dialog.js";
export * from "./drop.js";
export * from "./events.js";
export * from "./form.js";
export * from "./list.js";
export * from "./menu.js";
export * from "./parts.js";
export * from "./states.js";
export * from "./upload.js";
export * from "./use.js";
