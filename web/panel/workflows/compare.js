// How the open graph differs from a version of a workflow.

import { Empty, html, IconButton, t, useLoaded, usePanel, whenRead } from "../../kit/kit.js";
import { compared, isLink } from "../../model/compare.js";
import { versionPath } from "../../model/paths.js";

const MOST_NODES = 200; // of a list; a person reads no more, and a page shows more only slowly
const MOST_CHARACTERS = 120;
const MOST_IN_ALL = 10_000;

/** @param {{id: string, number: number}} props */
export function CompareView({ id, number }) {
  const { comfy, routes } = usePanel();
  const read = useLoaded(async () => {
    const [kept, { output }] = await Promise.all([routes.get(versionPath(id, number)), comfy.readGraph()]);
    if (!kept.workflow_api) throw new Error(t("compare.no_graph", { number }));
    return compared(kept.workflow_api, output);
  }, [id, number]);
  return html`
    <div class="outpost-page">
      <div class="outpost-heading">
        <h2>${t("compare.title", { number })}</h2>
        <${IconButton} label=${t("compare.again")} icon="pi-refresh" disabled=${read.isLoading} do=${read.again} />
      </div>
      ${whenRead(read, (value) => html`<${Result} ...${value} number=${number} />`)}
    </div>
  `;
}

/** @param {Comparison & {number: number}} props */
function Result({ added, removed, changed, same, number }) {
  const lists = { changed, added, removed };
  if (!Object.values(lists).flat().length) return html`<${Empty} text=${t("compare.equal", { number })} />`;
  const counts = { added: added.length, removed: removed.length, changed: changed.length, same };
  return html`
    <p role="status">${t("compare.counts", counts)}</p>
    ${Object.entries(lists).map(([name, nodes]) => nodes.length > 0 && html`<${Nodes} name=${name} nodes=${nodes} />`)}
  `;
}

/** @param {{name: string, nodes: Difference[]}} props */
function Nodes({ name, nodes }) {
  const rest = nodes.length - MOST_NODES;
  return html`
    <section class="outpost-section">
      <h3>${t(`compare.${name}`)}</h3>
      <ul class="outpost-section">
        ${nodes.slice(0, MOST_NODES).map((node) => html`<${Node} key=${node.id} ...${node} isGone=${name === "removed"} />`)}
      </ul>
      ${rest > 0 && html`<small>${t("compare.rest", { count: rest })}</small>`}
    </section>
  `;
}

/** @param {Difference & {isGone: boolean}} props */
function Node({ id, title, class_type, changes, isGone }) {
  const { comfy, say } = usePanel();
  const show = () => comfy.showNode(id) || say(t("compare.gone", { title }));
  const name = html`<span class="outpost-cut"><strong dir="auto">${title}</strong> <small dir="auto">${class_type} #${id}</small></span>`;
  return html`
    <li class="outpost-box outpost-section">
      ${
        isGone
          ? name
          : html`<button type="button" class="outpost-quiet outpost-node" title=${t("compare.show", { title })} onClick=${show}>
              ${name}</button>`
      }
      ${
        changes &&
        html`<dl class="outpost-changes">
          ${changes.map(
            ({ name: input, before, after }) => html`
              <dt dir="auto">${input}</dt>
              <dd><span class="outpost-hidden">${t("compare.before")}</span><del><${Value} value=${before} /></del></dd>
              <dd><span class="outpost-hidden">${t("compare.now")}</span><ins><${Value} value=${after} /></ins></dd>
            `,
          )}
        </dl>`
      }
    </li>
  `;
}

/** @param {unknown} value */
function textOf(value) {
  if (isLink(value)) return t("compare.link", { node: value[0], output: value[1] });
  return typeof value === "string" && value ? value : JSON.stringify(value);
}

/** @param {{value: unknown}} props */
function Value({ value }) {
  if (value === undefined) return html`<em>${t("compare.nothing")}</em>`;
  const text = textOf(value);
  if (text.length <= MOST_CHARACTERS) return html`<span class="outpost-whole" dir="auto">${text}</span>`;
  return html`
    <details>
      <summary dir="auto">${text.slice(0, MOST_CHARACTERS)}…</summary>
      <span class="outpost-whole" dir="auto">${text.slice(0, MOST_IN_ALL)}${text.length > MOST_IN_ALL && "…"}</span>
    </details>
  `;
}
