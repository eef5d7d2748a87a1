// One workflow: what it is, and its versions.

import {
  Buttons,
  daring,
  Failed,
  Heading,
  html,
  icon,
  itemsOf,
  joined,
  Loading,
  Section,
  t,
  useChanges,
  useLoaded,
  usePages,
  usePanel,
  useState,
  whenRead,
} from "../../kit/kit.js";
import { workflowPath } from "../../model/paths.js";
import { ago, moment } from "../../model/time.js";
import { aboutOf, coverOf } from "./cover.js";
import { deedsOf, keyOf, openVersion } from "./deeds.js";

/** @param {{id: string}} props */
export function WorkflowView({ id }) {
  const { routes } = usePanel();
  const read = useLoaded(() => routes.get(workflowPath(id)), [id]);
  const versions = usePages(
    async (offset, signal) => {
      const { versions: rows, more } = await routes.get(`${workflowPath(id)}/versions`, { offset }, { signal });
      return { rows, more };
    },
    [id],
  );
  const again = () => {
    read.again();
    versions.again();
  };
  useChanges(["workflow"], again, id);
  return whenRead(
    read,
    (workflow) => html`
      <div class="outpost-page">
        <${Head} workflow=${workflow} again=${read.again} />
        <${Versions} workflow=${workflow} versions=${versions} opened=${read.again} />
      </div>
    `,
  );
}

/** @param {{workflow: WorkflowRow, again: () => void}} props */
function Head({ workflow, again }) {
  const panel = usePanel();
  const { id, name, description } = workflow;
  const [open, ...items] = deedsOf(panel, workflow, again, panel.back);
  const buttons = [
    {
      ...open,
      isMain: true,
      isOff: panel.deletions.has(keyOf(id)),
      do: daring(panel, () => openVersion(panel, workflow).then(again)),
    },
    ...["deployments", "runs"].map((view) => ({
      label: t(`view.${view}`),
      do: () => panel.go(view, { workflow_id: id }),
    })),
  ];
  return html`
    <header class="outpost-section">
      <${Heading} title=${name} about=${aboutOf(workflow)} picture=${coverOf(id)} items=${items} />
      ${description && html`<p class="outpost-whole" dir="auto">${description}</p>`}
      <${Buttons} items=${buttons} />
    </header>
  `;
}

/** @param {{workflow: WorkflowRow, versions: Pages<VersionRow>, opened: () => void}} props */
function Versions({ workflow, versions: { rows, error, isLoading, hasMore, next, again }, opened }) {
  const { comfy, connection } = usePanel();
  const here = comfy.remembered(connection);
  return html`
    <${Section} title=${t("version.title")}>
      ${error && html`<${Failed} error=${error} again=${again} />`}
      <ul class="outpost-rows">
        ${rows.map(
          (each, index) => html`
            <${Version} key=${each.id} workflow=${workflow} version=${each} isFirst=${index === 0} opened=${opened}
              isHere=${here.workflow_id === workflow.id && here.version === each.version} />
          `,
        )}
      </ul>
      ${isLoading && html`<${Loading} />`}
      ${hasMore && !isLoading && html`<button type="button" onClick=${next}>${t("version.more")}</button>`}
    <//>
  `;
}

/** @param {{workflow: WorkflowRow, version: VersionRow, isFirst: boolean, isHere: boolean, opened: () => void}} props */
function Version({ workflow, version, isFirst, isHere, opened }) {
  const panel = usePanel();
  const { version: number, comment, author, created_at: time } = version;
  const [isOpen, setOpen] = useState(isFirst);
  const about = joined(author && t("version.by", { author }), ago(time), isHere && t("version.here"));
  const where = { workflow_id: workflow.id };
  const items = itemsOf(panel, [
    [t("workflow.open"), "pi-external-link", () => openVersion(panel, workflow, number).then(opened)],
    [t("version.compare"), "pi-arrow-right-arrow-left", () => panel.go("workflows", { ...where, compare: number })],
    [t("version.deploy"), "pi-cloud-upload", () => panel.go("deploy", { ...where, version: number })],
  ]);
  return html`
    <li class="outpost-version">
      <button type="button" class="outpost-main" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>
        <span class="outpost-chip">v${number}</span>
        <span class="outpost-texts">
          <span dir="auto" title=${comment.slice(0, 500)}>${comment || t("version.no_comment")}</span>
          <small dir="auto" title=${moment(time)}>${about}</small>
        </span>
        ${icon(`pi-chevron-${isOpen ? "up" : "down"}`)}
      </button>
      ${
        isOpen &&
        html`<div class="outpost-section">
          <${Buttons} items=${items} />
        </div>`
      }
    </li>
  `;
}
