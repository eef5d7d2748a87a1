// What can be done with a deployment: promote it, roll it back, change, rest, delete it.

import {
  askOnce,
  ChoiceField,
  deleteLater,
  Form,
  html,
  itemsOf,
  joined,
  openView,
  TickField,
  t,
  useState,
} from "../../kit/kit.js";
import { environmentsOf } from "../../model/deploying.js";
import { deploymentPath, noneFor, workflowPath } from "../../model/paths.js";
import { ago } from "../../model/time.js";
import { place, wordsOf } from "./deployed.js";
import { EnvironmentField, MachineField } from "./fields.js";

/** What a deployment is called among the things that are about to be deleted. @param {string} id */
export const keyOf = (id) => `deployment ${id}`;

/**
 * The entries of a deployment's menu; the first one shows it.
 * @param {Panel} panel @param {DeploymentRow} row @param {DeploymentRow[]} all
 * @param {() => void} again is called when it is different
 */
export function deedsOf(panel, row, all, again) {
  const { id, name, environment, is_active: isActive } = row;
  const path = deploymentPath(id);
  const about = { deployment_id: id };
  const then = (/** @type {() => unknown} */ act) => async () => {
    await act();
    again();
  };
  const [rest, icon] = isActive === false ? ["activate", "pi-check-circle"] : ["deactivate", "pi-pause"];
  return itemsOf(panel, [
    [t("deployment.show"), "pi-info-circle", () => panel.go("deployments", about)],
    [t("deployment.run"), "pi-play", () => panel.go("run", about)],
    [t("deployment.runs"), "pi-list", () => panel.go("runs", about)],
    [t("deployment.node"), "pi-plus", () => place(panel, row)],
    [t("deployment.promote"), "pi-arrow-up", then(() => ask(panel, "promote", "promoted", Promotion, { row, all }))],
    [t("deployment.roll_back"), "pi-history", then(() => rollBack(panel, row))],
    [t("deployment.change"), "pi-pencil", then(() => change(panel, row))],
    [t(`deployment.${rest}`), icon, then(() => panel.routes.send("POST", `${path}/${rest}`))],
    [t("dialog.delete"), "pi-trash", then(() => deleteLater(panel, keyOf(id), `${name} · ${environment}`, path))],
  ]);
}

/** @typedef {{panel: Panel, row: DeploymentRow, close: (made: DeploymentRow | null) => void}} Asked */

/**
 * Ask in a dialog what is to become of a deployment, and say what it is then.
 * @param {Panel} panel @param {string} deed @param {string} told @param {unknown} view @param {object} props of it
 */
async function ask(panel, deed, told, view, props) {
  /** @type {DeploymentRow | null} */
  const made = await openView(
    t(`deployment.${deed}`),
    (close) => html`<${view} panel=${panel} close=${close} ...${props} />`,
  );
  if (made) panel.say(t(`deployment.${told}`, wordsOf(made)));
}

/**
 * A form whose wish can be repeated when it is refused, although the machine lacks something.
 * @param {Pick<Asked, "close"> & {save: (force: boolean, data: FormData) => Promise<DeploymentRow>, yes: string,
 *   isOff?: boolean, children?: unknown}} props
 */
function Deed({ save, ...props }) {
  const refused = (/** @type {RouteError} */ { status }) =>
    status === 422 && html`<${TickField} name="force" label=${t("deployment.although")} />`;
  return html`<${Form} ...${props} refused=${refused} save=${(/** @type {FormData} */ data) => save(data.has("force"), data)} />`;
}

/** Lets another environment run the same version on the same machine. @param {Asked & {all: DeploymentRow[]}} props */
function Promotion({ panel, row, all, close }) {
  const { workflow_id, workflow_version_id, machine_id } = row;
  const names = environmentsOf(all).filter((name) => name !== row.environment);
  const [environment, setEnvironment] = useState(names[0]);
  const replaced = all.find((each) => each.workflow_id === workflow_id && each.environment === environment);
  const save = (/** @type {boolean} */ force) => {
    const wish = { workflow_id, workflow_version_id, machine_id, environment, force };
    return askOnce(panel, `promote ${JSON.stringify(wish)}`, (key) =>
      panel.routes.send("POST", "/deployments", { ...wish, key }),
    );
  };
  return html`
    <${Deed} save=${save} close=${close} yes=${t("deployment.promote_yes")}>
      <${EnvironmentField} names=${names} value=${environment} onInput=${setEnvironment} />
      <p class="outpost-whole" dir="auto">${t("deployment.will_run", { ...wordsOf(row), environment })}</p>
      <p class=${`outpost-whole ${replaced ? "outpost-warning" : ""}`} dir="auto">
        ${replaced ? t("deployment.replaces", wordsOf(replaced)) : t("deployment.replaces_nothing", { environment })}</p>
    <//>
  `;
}

/** @param {Routes} routes @param {string | null} id of a workflow @returns {Promise<VersionChoice[]>} */
async function versionsOf(routes, id) {
  const { versions } = await routes.get(`${workflowPath(id ?? "")}/versions`);
  return versions.map((each) => ({ ...each, hint: joined(each.comment, ago(each.created_at)) }));
}

/**
 * What a deployment ran before; where the platform does not know, all versions of its workflow.
 * @param {Routes} routes @param {DeploymentRow} row @returns {Promise<VersionChoice[]>}
 */
async function formerOf(routes, { id, workflow_id = null, version, machine_id: machine }) {
  const known = await routes.get(`${deploymentPath(id)}/history`).catch(noneFor(501));
  if (!known) return (await versionsOf(routes, workflow_id)).filter((each) => each.version !== version);
  const { machines } = await routes.get("/machines");
  /** @type {Map<string, VersionChoice>} */
  const found = new Map();
  for (const { workflow_version_id, machine_id, version: number, at, by } of known.history) {
    const key = `${workflow_version_id} ${machine_id}`;
    if (found.has(key) || (number === version && machine_id === machine)) continue;
    const hint = joined(machines.find((each) => each.id === machine_id)?.name, ago(at), by);
    found.set(key, { id: workflow_version_id, version: number, machine_id, hint });
  }
  return [...found.values()];
}

/** @param {Panel} panel @param {DeploymentRow} row */
async function rollBack(panel, row) {
  const choices = await formerOf(panel.routes, row);
  if (!choices.length) return panel.say(t("deployment.no_former"));
  return ask(panel, "roll_back", "rolled_back", Former, { row, choices });
}

/** @param {Asked & {choices: VersionChoice[]}} props */
function Former({ panel, row, choices, close }) {
  const save = (/** @type {boolean} */ force, /** @type {FormData} */ data) => {
    const { id, machine_id } = choices[Number(data.get("choice"))];
    const wish = { workflow_version_id: id, ...(machine_id && { machine_id }), force };
    return panel.routes.send("PATCH", deploymentPath(row.id), wish);
  };
  const radio = (/** @type {VersionChoice} */ { version, hint }, /** @type {number} */ index) => {
    const label = html`<span class="outpost-texts">
      <span>${t("version.name", { number: version })}</span><small dir="auto">${hint}</small></span>`;
    return html`<${TickField} type="radio" name="choice" value=${index} defaultChecked=${!index} label=${label} />`;
  };
  return html`
    <${Deed} save=${save} close=${close} yes=${t("deployment.roll_back")}>
      <div class="outpost-section" role="radiogroup" aria-label=${t("deployment.version")}>${choices.map(radio)}</div>
    <//>
  `;
}

/** @param {Panel} panel @param {DeploymentRow} row */
async function change(panel, row) {
  const { routes } = panel;
  const [versions, { machines }] = await Promise.all([
    versionsOf(routes, row.workflow_id ?? null),
    routes.get("/machines"),
  ]);
  return ask(panel, "change", "is_changed", Changes, { row, versions, machines });
}

/** @param {Asked & {versions: VersionChoice[], machines: MachineRow[]}} props */
function Changes({ panel, row, versions, machines, close }) {
  const [version, setVersion] = useState(row.workflow_version_id ?? "");
  const [machine, setMachine] = useState(row.machine_id ?? "");
  const wish = {
    ...(version !== row.workflow_version_id && { workflow_version_id: version }),
    ...(machine !== row.machine_id && { machine_id: machine }),
  };
  const save = (/** @type {boolean} */ force) => panel.routes.send("PATCH", deploymentPath(row.id), { ...wish, force });
  const options = versions.map(({ id, version: number, hint }) => [id, `${number} · ${hint.slice(0, 80)}`]);
  return html`
    <${Deed} save=${save} close=${close} yes=${t("dialog.save")} isOff=${!Object.keys(wish).length}>
      <${ChoiceField} label=${t("deployment.version")} options=${options} value=${version} onInput=${setVersion} />
      <${MachineField} machines=${machines} value=${machine} onInput=${setMachine} />
    <//>
  `;
}
