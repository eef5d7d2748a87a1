// ComfyUI's page, as far as this package needs it. The only module that imports from it.

import { app } from "../../scripts/app.js";

export { app };

/**
 * Ask the person at the page for a line of text.
 * @param {string} title what the dialog is about
 * @param {string} message what to type
 * @returns {Promise<string>} what was typed, without blanks around it; empty when the dialog was left
 */
export async function ask(title, message) {
  const dialog = app.extensionManager?.dialog;
  const answer = dialog?.prompt
    ? await dialog.prompt({ title, message, defaultValue: "" })
    : window.prompt(`${title}\n${message}`); // pages without dialogs of their own
  return (answer ?? "").trim();
}

/**
 * Tell the person at the page something.
 * @param {string} text
 */
export function tell(text) {
  const toast = app.extensionManager?.toast;
  if (toast) toast.add({ severity: "warn", summary: "ComfyUI-Outpost", detail: text, life: 6000 });
  else window.alert(text);
}
