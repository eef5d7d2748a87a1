// Keeps faults of this package away from the page: a hook that fails is told of once, and the page goes on.

import { t } from "./texts.js";

/** Makes functions safe to be called by the page. @param {(text: string) => void} tell @returns {Guard} */
export function guarding(tell) {
  /** @type {Set<string>} */
  const told = new Set();

  /** @param {unknown} thrown */
  function report(thrown) {
    console.error("ComfyUI-Outpost:", thrown);
    const error = /** @type {(Error & {isExpected?: boolean}) | null | undefined} */ (thrown);
    const message = error?.message ?? String(error);
    const text = error?.isExpected ? message : t("node.wrong", { message });
    if (told.has(text)) return;
    told.add(text);
    tell(text);
  }

  return (hook) =>
    function (...args) {
      try {
        const result = hook.apply(this, args);
        if (result instanceof Promise) result.catch(report);
      } catch (error) {
        report(error);
      }
    };
}

/**
 * Keep errors that scripts of this package have thrown away from the page's own handlers.
 * @param {string} folder the address that those scripts are below
 * @param {(error: unknown) => void} tell
 */
export function containErrors(folder, tell) {
  /** @param {Event} event @param {unknown} error @param {string} file */
  const contain = (event, error, file) => {
    if (!file.startsWith(folder)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    tell(error);
  };
  window.addEventListener("error", (event) => contain(event, event.error, event.filename));
  window.addEventListener("unhandledrejection", (event) => {
    const [file = ""] = /https?:[^\s)]+/.exec(String(event.reason?.stack)) ?? []; // where it was thrown
    contain(event, event.reason, file);
  });
}
