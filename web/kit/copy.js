// Copies a text to the clipboard.

import { t } from "../texts.js";

/** @param {string} text @returns {Promise<boolean>} whether it is there now */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that are opened without https have no clipboard, or may not use it.
    const before = document.activeElement;
    const place = before?.closest("dialog") ?? document.body; // outside of a dialog nothing can be selected
    const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
    field.style.cssText = "position:fixed;opacity:0";
    place.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    if (before instanceof HTMLElement) before.focus();
    return isDone;
  }
}

/** Copy a text and say so. @param {Panel} panel @param {string} text */
export const copied = async (panel, text) => panel.say(t((await copyText(text)) ? "copy.done" : "copy.failed"));
