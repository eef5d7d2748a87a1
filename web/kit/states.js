// What a view shows when it has nothing else to show.

import { t } from "../texts.js";
import { html } from "../view.js";
import { usePanel } from "./context.js";
import { icon } from "./icon.js";

export const Loading = () =>
  html`<p class="outpost-state" role="status">${icon("pi-spin pi-spinner")} ${t("list.loading")}</p>`;

/**
 * Nothing is there, and what to do about it.
 * @param {{text: string, hint?: string, action?: {label: string, do: () => void} | null}} props
 */
export const Empty = ({ text, hint = "", action = null }) => html`
  <div class="outpost-state">
    <p>${text}</p>
    ${hint && html`<p class="outpost-hint">${hint}</p>`}
    ${action && html`<button type="button" class="outpost-primary" onClick=${action.do}>${action.label}</button>`}
  </div>
`;

/**
 * What went wrong, and what to do about it: where no platform is set up, that is to connect one.
 * @param {{error: Error & {code?: string}, again?: () => void}} props
 */
export function Failed({ error, again }) {
  const panel = usePanel();
  const isNone = error.code === "no_connection";
  if (panel && (isNone || error.code === "configuration"))
    return html`<${Empty} text=${t("panel.not_connected")} hint=${isNone ? t("connect.none_hint") : error.message}
      action=${{ label: t("panel.connect"), do: () => panel.go("connect") }} />`;
  return html`
    <div class="outpost-state outpost-error" role="alert">
      <p dir="auto">${error.message}</p>
      ${again && html`<button type="button" onClick=${again}>${t("panel.again")}</button>`}
    </div>
  `;
}

/**
 * What is read, once it is there; it stays while it is read again, and where that fails.
 * @template Value
 * @param {Loaded<Value>} loaded
 * @param {(value: Value) => unknown} view
 */
export function whenRead({ value, error, again }, view) {
  const failed = error && html`<${Failed} error=${error} again=${again} />`;
  return value === null ? (failed ?? html`<${Loading} />`) : html`${failed}${view(value)}`;
}
