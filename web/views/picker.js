// A dialog to pick one of many entries, or to give a text of one's own.

import { moveByArrows } from "../kit/arrows.js";
import { openView } from "../kit/dialog.js";
import { withValue } from "../kit/events.js";
import { t } from "../texts.js";
import { html, useLayoutEffect, useRef, useState } from "../view.js";

const MOST_SHOWN = 200;

/** @template Value @typedef {{value: Value, label: string, hint: string}} Entry */

/** @template Value @typedef {(picked: {entry: Value | null, text: string} | null) => void} Close */

/** @template Value @param {{title: string, placeholder: string, entries: Entry<Value>[]}} what */
export const pickFrom = ({ title, ...what }) =>
  openView(title, (/** @type {Close<Value>} */ close) => html`<${Picker} ...${what} close=${close} />`);

/** @template Value @param {{placeholder: string, entries: Entry<Value>[], close: Close<Value>}} props */
function Picker({ placeholder, entries, close }) {
  const [query, setQuery] = useState("");
  const field = useRef(/** @type {any} */ (null));
  const list = useRef(/** @type {any} */ (null));
  useLayoutEffect(() => moveByArrows(list.current, field.current), []);
  const use = () => {
    const text = field.current.value.trim();
    if (text) close({ entry: entries.find(({ hint }) => hint === text)?.value ?? null, text });
  };
  return html`
    <div class="outpost-bar">
      <input type="text" ref=${field} placeholder=${placeholder} aria-label=${placeholder} spellcheck=${false}
        onInput=${withValue(setQuery)}
        onKeyDown=${(/** @type {KeyboardEvent} */ { key }) => key === "Enter" && use()} />
      <button type="button" onClick=${use}>${t("pick.use")}</button>
    </div>
    <div class="outpost-list" ref=${list}>
      ${found(entries, query).map(
        ({ value, label, hint }) => html`
          <button key=${hint} type="button" class="outpost-row" onClick=${() => close({ entry: value, text: hint })}>
            <span dir="auto">${label}</span><small dir="auto">${hint}</small>
          </button>
        `,
      )}
    </div>
  `;
}

/** @template Value @param {Entry<Value>[]} entries @param {string} query */
function found(entries, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return entries
    .filter(({ label, hint }) => words.every((word) => `${label} ${hint}`.toLowerCase().includes(word)))
    .slice(0, MOST_SHOWN);
}
