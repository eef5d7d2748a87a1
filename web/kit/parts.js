// What views are made of: icons, buttons, the head of a page, rows of lists, facts.

import { ago, moment } from "../model/time.js";
import { t } from "../texts.js";
import { html } from "../view.js";
import { icon } from "./icon.js";
import { MenuButton } from "./menu.js";

export { joined } from "../model/words.js";
export { icon } from "./icon.js";

/** @param {{time?: string | null, now?: number}} props how long something is ago */
export const Ago = ({ time, now }) => time && html`<span title=${moment(time)}>${ago(time, now)}</span>`;

/** @param {{label: string, icon: string, do: (event: Event) => void, [attribute: string]: unknown}} props a button that shows no text */
export const IconButton = ({ label, icon: name, do: act, ...attributes }) => html`
  <button type="button" class="outpost-icon" aria-label=${label} title=${label} onClick=${act} ...${attributes}>
    ${icon(name)}
  </button>
`;

/** @param {Item & {class?: string}} props */
export const Button = ({ label, icon: name, do: act, isOff, isMain, isDangerous, class: looks }) => html`
  <button type="button" disabled=${isOff} onClick=${act}
    class=${looks ?? (isMain ? "outpost-primary" : isDangerous ? "outpost-danger" : "")}>
    ${name && icon(name)}${label}
  </button>
`;

/** @param {{items: Item[]}} props several buttons beside each other */
export const Buttons = ({ items }) =>
  items.length > 0 &&
  html`<div class="outpost-chips">${items.map((item) => html`<${Button} key=${item.label} ...${item} />`)}</div>`;

/**
 * The head of a page about one thing.
 * @param {{title: string, about?: unknown, picture?: unknown, state?: unknown, items?: Item[]}} props
 *   `items` are those of its menu
 */
export const Heading = ({ title, about, picture, state, items }) => html`
  <div class="outpost-heading">
    ${picture}
    <div class="outpost-texts outpost-grow">
      <h2 dir="auto" title=${title}>${title}</h2>
      ${about && html`<small>${about}</small>`}
    </div>
    ${state}
    ${items && html`<${MenuButton} label=${t("menu.more", { name: title })} items=${items} />`}
  </div>
`;

/**
 * A row of a list: a button that opens what it is about, and a menu. Other properties are attributes of the button.
 * @param {RowProps} props
 */
export const Row = ({
  title,
  full = title,
  about,
  picture,
  state,
  open,
  items,
  name = title,
  class: more,
  children,
  ...attributes
}) => html`
  <button type="button" class=${`outpost-main ${more ?? ""}`} data-main title=${full} onClick=${open} ...${attributes}>
    ${picture}
    <span class="outpost-texts"><span dir="auto">${title}</span>${about && html`<small dir="auto">${about}</small>`}${children}</span>
    ${state}
  </button>
  ${items && html`<${MenuButton} label=${t("menu.more", { name })} items=${items} />`}
`;

/** @param {{facts: [name: string, value: unknown][]}} props what is empty is left out; 0 is not */
export const Facts = ({ facts }) => html`
  <dl class="outpost-facts">
    ${facts.map(([name, value]) => (value || value === 0) && html`<dt dir="auto">${name}</dt><dd dir="auto">${value}</dd>`)}
  </dl>
`;

/**
 * A part of a page.
 * @param {{title: string, items?: unknown, hint?: unknown, children?: unknown}} props `items` stand beside its title, `hint`
 *   below: such as that there is nothing
 */
export const Section = ({ title, items, hint, children }) => html`
  <section class="outpost-section">
    ${items ? html`<div class="outpost-heading"><h3>${title}</h3>${items}</div>` : html`<h3>${title}</h3>`}
    ${hint && html`<p class="outpost-hint">${hint}</p>`}${children}
  </section>
`;

/** @param {{icon: string, tone: string, text: string, about?: string | null | false}} props how something is */
export const State = ({ icon: name, tone, text, about }) => html`
  <span class=${`outpost-run-state ${tone}`}>${icon(name)} ${text}</span>${about && html` · <span dir="auto">${about}</span>`}
`;

/** @param {{label: string, share: number}} props how much is done, from 0 to 1 */
export function Progress({ label, share }) {
  const percent = Math.round(share * 100);
  return html`
    <div class="outpost-progress" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
      aria-valuenow=${percent}><div style=${{ width: `${percent}%` }} /></div>
  `;
}
