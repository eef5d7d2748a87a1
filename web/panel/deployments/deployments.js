// The deployments: by workflow and environment, or one of them.

import {
  Ago,
  Buttons,
  Facts,
  Heading,
  html,
  instead,
  joined,
  List,
  Row,
  SearchField,
  t,
  useChanges,
  useKept,
  useLoaded,
  usePanel,
  whenRead,
} from "../../kit/kit.js";
import { grouped } from "../../model/deploying.js";
import { deploymentPath } from "../../model/paths.js";
import { ago, moment } from "../../model/time.js";
import { Nothing } from "../deploy/nothing.js";
import { Calls } from "./calls.js";
import { deedsOf, keyOf } from "./deeds.js";

const ROW_HEIGHT = 52;

/** @param {{deployment_id?: string, workflow_id?: string}} props */
export function DeploymentsView({ deployment_id: id, workflow_id: workflowId }) {
  return id ? html`<${DeploymentView} id=${id} />` : html`<${DeploymentList} workflowId=${workflowId} />`;
}

/** @param {{workflowId?: string}} props of which the deployments are shown; else all are */
function DeploymentList({ workflowId }) {
  const panel = usePanel();
  const [search, setSearch] = useKept(panel, "deployments.search", "");
  const read = useLoaded(() => panel.routes.get("/deployments"), []);
  useChanges(["deployment", "workflow", "version"], read.again);
  return whenRead(read, ({ deployments }) => {
    const all = deployments.filter(
      (row) => !panel.deletions.has(keyOf(row.id)) && (!workflowId || row.workflow_id === workflowId),
    );
    if (!all.length) return html`<${Nothing} kind="deployment" />`;
    const rows = grouped(all, search);
    return html`
      <div class="outpost-bar">
        <${SearchField} label=${t("deployment.search")} value=${search} onInput=${setSearch} />
      </div>
      ${
        rows.length
          ? html`<${List} rows=${rows} rowHeight=${ROW_HEIGHT} label=${t("view.deployments")}
              row=${(/** @type {object} */ row) => html`<${Line} row=${row} all=${deployments} again=${read.again} />`} />`
          : html`<${Nothing} kind="deployment" search=${search} clear=${() => setSearch("")} />`
      }
    `;
  });
}

/** @param {DeploymentRow} row */
const versionOf = ({ version }) => version && t("version.name", { number: version });

/** @param {{row: DeploymentRow}} props */
const State = ({ row: { is_active: isActive, environment } }) => html`
  <span class="outpost-states">
    ${isActive === false && html`<span class="outpost-chip outpost-warning">${t("deployment.inactive")}</span>`}
    <span class=${`outpost-chip outpost-is-${environment}`}>${environment}</span>
  </span>
`;

/** @param {{row: DeploymentRow & {isFirst: boolean}, all: DeploymentRow[], again: () => void}} props */
function Line({ row, all, again }) {
  const panel = usePanel();
  const { id, name, workflow, environment, machine, updated_at: time, isFirst } = row;
  const about = html`<span title=${moment(time)}>${joined(versionOf(row), machine, ago(time))}</span>`;
  return html`
    <${Row} title=${workflow && name !== workflow ? `${name} (${workflow})` : name} name=${`${name} · ${environment}`}
      about=${about} state=${html`<${State} row=${row} />`} class=${isFirst ? "" : "outpost-later"}
      open=${() => panel.go("deployments", { deployment_id: id })} items=${deedsOf(panel, row, all, again)} />
  `;
}

/** @param {{id: string}} props */
function DeploymentView({ id }) {
  const { routes } = usePanel();
  const read = useLoaded(async () => {
    const [form, { deployments }] = await Promise.all([routes.get(deploymentPath(id)), routes.get("/deployments")]);
    return { form, all: deployments };
  }, [id]);
  useChanges(["deployment"], read.again);
  return whenRead(read, (value) => html`<${Details} ...${value} again=${read.again} />`);
}

/** @param {{form: Shape & {deployment: DeploymentRow}, all: DeploymentRow[], again: () => void}} props */
function Details({ form, all, again }) {
  const panel = usePanel();
  const { deployment: row } = form;
  const { id, name, workflow_id, machine, machine_id, updated_at: time } = row;
  const done = () => (panel.deletions.has(keyOf(id)) ? panel.back() : again());
  const toMachine = instead(() => panel.go("machines", { machine_id }));
  const run = () => panel.go("run", { deployment_id: id });
  const buttons = [
    { label: t("deployment.run"), icon: "pi-play", isMain: true, isOff: row.is_active === false, do: run },
    { label: t("view.runs"), do: () => panel.go("runs", { deployment_id: id }) },
    ...(workflow_id ? [{ label: t("deployment.workflow"), do: () => panel.go("workflows", { workflow_id }) }] : []),
  ];
  const facts = [
    [t("deployment.version"), versionOf(row)],
    [t("deploy.machine"), machine && html`<a href="#" onClick=${toMachine}>${machine}</a>`],
    [t("deployment.changed"), time && html`<${Ago} time=${time} />`],
    [t("deployment.id"), html`<code>${id}</code>`],
  ];
  return html`
    <div class="outpost-page">
      <${Heading} title=${name} state=${html`<${State} row=${row} />`} items=${deedsOf(panel, row, all, done).slice(1)} />
      <${Buttons} items=${buttons} />
      <${Facts} facts=${facts} />
      <${Calls} form=${form} />
    </div>
  `;
}
