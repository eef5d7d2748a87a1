// What a machine lacks for a graph.

import { html, icon, t, usePanel } from "../../kit/kit.js";

/** What the graph itself lacks is no fault of the machine. @param {Lack} lack */
const isOfGraph = ({ kind }) => kind === "required_input";

/** @param {Verdict} verdict @param {string} name of the machine */
export const headingOf = ({ lacks }, name) => (lacks.every(isOfGraph) ? t("lacks.graph") : t("deploy.lacks", { name }));

/** @param {{verdict: Verdict}} props */
export function Lacks({ verdict: { is_known, reason, lacks } }) {
  if (!is_known)
    return html`<p class="outpost-warning" role="status" dir="auto">${t("lacks.unknown")} ${reason ?? ""}</p>`;
  if (!lacks.length)
    return html`<p class="outpost-good" role="status">${icon("pi-check-circle")} ${t("lacks.none")}</p>`;
  const ofMachine = lacks.filter((each) => !isOfGraph(each));
  const count = ofMachine.length;
  return html`
    <div class="outpost-section" role="status">
      <${Some} title=${t("lacks.graph")} lacks=${lacks.filter(isOfGraph)} />
      <${Some} title=${t("lacks.count", { count })} lacks=${ofMachine} />
    </div>
  `;
}

/** @param {{title: string, lacks: Lack[]}} props */
const Some = ({ title, lacks }) =>
  lacks.length > 0 &&
  html`
    <p class="outpost-bad">${icon("pi-exclamation-circle")} ${title}</p>
    <ul class="outpost-section">${lacks.map((each) => html`<${LackOf} ...${each} />`)}</ul>
  `;

/** @param {Lack} props */
function LackOf({ kind, node_id: id, node_class: node, value, input_name: input, near, message }) {
  const { comfy } = usePanel();
  const found = id ? comfy.findNode(id) : null;
  const isLink = kind === "required_input" && input;
  return html`
    <li class="outpost-box outpost-lack">
      <p class="outpost-whole" dir="auto">
        ${
          isLink
            ? t("lacks.connect", { input, title: found?.title || node })
            : html`<b>${value || input || node || id}</b>${" "}<small>${t(`lacks.${kind}`, { node, input: input ?? "" })}</small>`
        }
      </p>
      ${near.length > 0 && html`<p dir="auto">${t("lacks.near", { near: near.join(", ") })}</p>`}
      <div>
        <details><summary>${t("lacks.more")}</summary><p class="outpost-whole" dir="auto">${message}</p></details>
        ${found && html`<button type="button" onClick=${() => comfy.showNode(id ?? "")}>${t("lacks.show")}</button>`}
      </div>
    </li>
  `;
}
