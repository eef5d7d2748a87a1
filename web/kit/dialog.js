// Dialogs on top of the page, whose content is a view.

import { t } from "../texts.js";
import { html, render } from "../view.js";
import { instead } from "./events.js";
import { icon } from "./icon.js";

// The page has keys of its own, such as Delete for the nodes that are selected.
const KEYS = ["keydown", "keyup", "keypress", "paste", "copy"];
const FIRST = ".outpost-in-dialog :is([autofocus], input, select, textarea, button)";

/**
 * Open a dialog and wait until it is closed.
 * @template Result
 * @param {string} title
 * @param {(close: (result: Result | null) => void) => unknown} content
 * @returns {Promise<Result | null>} null when it was left
 */
export function openView(title, content) {
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    /** @type {Result | null} */
    let result = null;
    const close = (/** @type {Result | null} */ value) => {
      result = value;
      dialog.close();
    };
    dialog.className = "outpost-dialog";
    dialog.setAttribute("aria-label", title);
    for (const type of KEYS) dialog.addEventListener(type, (event) => event.stopPropagation());
    dialog.addEventListener("click", (event) => event.target === dialog && close(null));
    dialog.addEventListener("close", () => {
      render(null, dialog);
      dialog.remove();
      resolve(result);
    });
    render(html`<${Frame} title=${title} leave=${() => close(null)}>${content(close)}<//>`, dialog);
    document.body.append(dialog);
    dialog.showModal();
    const first = dialog.querySelector(FIRST);
    if (first instanceof HTMLElement) first.focus();
  });
}

/** @param {{title: string, leave: () => void, children?: unknown}} props */
const Frame = ({ title, leave, children }) => html`
  <header>
    <h2>${title}</h2>
    <button type="button" class="outpost-icon" aria-label=${t("dialog.close")} title=${t("dialog.close")} onClick=${leave}>
      ${icon("pi-times")}
    </button>
  </header>
  <div class="outpost-panel outpost-in-dialog">${children}</div>
`;

/** Ask for a yes. @param {{title: string, text: string, yes: string, isDangerous?: boolean}} what */
export async function confirm({ title, text, yes, isDangerous = false }) {
  const answer = await openView(
    title,
    (close) => html`
      <p dir="auto">${text}</p>
      <${Answers} close=${close} yes=${yes} isDangerous=${isDangerous} onYes=${() => close(true)} />
    `,
  );
  return answer === true;
}

/**
 * Ask for a text.
 * @param {{title: string, label: string, value?: string, isLong?: boolean, mayBeEmpty?: boolean}} what
 * @returns {Promise<string | null>} null when the dialog was left
 */
export function askFor({ title, label, value = "", isLong = false, mayBeEmpty = false }) {
  return openView(title, (/** @type {(result: string | null) => void} */ close) => {
    const submit = instead(({ target }) => {
      const text = String(new FormData(/** @type {HTMLFormElement} */ (target)).get("text")).trim();
      if (text || mayBeEmpty) close(text);
    });
    const field = isLong
      ? html`<textarea name="text" rows="5" maxlength="10000" dir="auto">${value}</textarea>`
      : html`<input name="text" type="text" defaultValue=${value} maxlength="200" dir="auto" required=${!mayBeEmpty} />`;
    return html`
      <form onSubmit=${submit}>
        <label class="outpost-field"><span>${label}</span>${field}</label>
        <${Answers} close=${close} yes=${t("dialog.save")} />
      </form>
    `;
  });
}

/**
 * The buttons at the end of a dialog. Without `onYes` the first one submits the form around it.
 * @param {{close: (result: null) => void, yes: string, onYes?: () => void, isDangerous?: boolean, isOff?: boolean}} props
 */
export const Answers = ({ close, yes, onYes, isDangerous = false, isOff = false }) => html`
  <footer class="outpost-answers">
    <button type="button" onClick=${() => close(null)}>${t("dialog.cancel")}</button>
    <button type=${onYes ? "button" : "submit"} class=${isDangerous ? "outpost-danger" : "outpost-primary"}
      disabled=${isOff} onClick=${onYes}>${yes}</button>
  </footer>
`;
