// What a machine lacks for a graph.

import { html, icon, t, usePanel } from "../../kit/kit.js";

/** @param {{verdict: Verdict}} props */
export function Lacks({ verdict: { is_known, reason, lacks } }) {
  if (!is_known)
    return html`<p class="outpost-warning" role="status" dir="auto">${t("lacks.unknown")} ${reason ?? ""}</p>`;
  if (!lacks.length)
    return html`<p class="outpost-good" role="status">${icon("pi-check-circle")} ${t("lacks.none")}</p>`;
  return html`
    <div class="outpost-section" role="status">
      <p class="outpost-bad">${icon("pi-exclamation-circle")} ${t("lacks.count", { count: lacks.length })}</p>
      <ul class="outpost-section">${lacks.map((each) => html`<${LackOf} ...${each} />`)}</ul>
    </div>
  `;
}

/** @param {Lack} props */
function LackOf({ kind, node_id: id, node_class: node, value, input_name: input, near, message }) {
  const { comfy } = usePanel();
  return html`
    <li class="outpost-box outpost-lack">
      <p class="outpost-whole" dir="auto">
        <b>${value || input || node || id}</b>
        ${" "}<small>${t(`lacks.${kind}`, { node, input: input ?? "" })}</small>
      </p>
      ${near.length > 0 && html`<p dir="auto">${t("lacks.near", { near: near.join(", ") })}</p>`}
      <div>
        <details><summary>${t("lacks.more")}</summary><p class="outpost-whole" dir="auto">${message}</p></details>
        ${
          id &&
          comfy.findNode(id) &&
          html`<button type="button" onClick=${() => comfy.showNode(id)}>${t("lacks.show")}</button>`
        }
      </div>
    </li>
  `;
}
