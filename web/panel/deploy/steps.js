// The steps from a graph to its deployment.

import { Answers, html, icon, openView, Provider, t } from "../../kit/kit.js";
import { signOf } from "../../model/canonical.js";
import { machinePath, noneFor, versionPath, workflowPath } from "../../model/paths.js";
import { headingOf, Lacks } from "./lacks.js";

const ICONS = { working: "pi-spin pi-spinner", done: "pi-check", failed: "pi-times" };

/**
 * The workflow that a graph came from, with the versions that it may be equal to; null where the platform has none.
 * @param {Routes} routes @param {ComfyUI.Remembered} here @returns {Promise<Origin | null>}
 */
export async function originOf(routes, { workflow_id: id, version }) {
  if (!id) return null;
  const unknown = noneFor(404, 422); // of another platform, or deleted
  const found = await routes.get(workflowPath(id)).catch(unknown);
  if (!found) return null;
  const newest = (await routes.get(`${workflowPath(id)}/versions`)).versions[0]?.version ?? 0;
  const numbers = [...new Set([newest, version ?? newest])].filter(Boolean);
  const versions = await Promise.all(numbers.map((number) => routes.get(versionPath(id, number)).catch(unknown)));
  const kept = versions.flatMap((each) => each ?? []);
  return {
    id,
    name: found.name,
    newest,
    versions: kept.map((each) => ({ id: each.id, version: each.version, sign: signOf(each.workflow_api) })),
  };
}

/**
 * What a machine lacks for a graph; null where nobody can say.
 * @param {Routes} routes @param {MachineRow} machine @param {Drawn} graph @returns {Promise<Verdict | null>}
 */
export async function verdictOf(routes, { id, can }, { output }) {
  return can.includes("check") ? routes.send("POST", `${machinePath(id)}/check`, { workflow_api: output }) : null;
}

/**
 * Check the machine, save the version, deploy it. What goes wrong is said at its step.
 * @param {Panel} panel @param {Deploying} deploying @param {Plan} plan @param {(steps: Step[]) => void} show
 * @param {() => void} saved is called when the graph belongs to the workflow
 * @returns {Promise<DeploymentRow | null>} null when it was not deployed
 */
export async function carryOut(panel, deploying, plan, show, saved) {
  const { comfy, connection } = panel; // as it is now: another one may be chosen meanwhile
  const { machine, environment, stored } = plan;
  /** @type {Step[]} */
  const steps = [];
  const begin = (/** @type {string} */ name) => {
    steps.push({ name, state: "working", text: "" });
    show([...steps]);
  };
  const end = (/** @type {Step["state"]} */ state, /** @type {string} */ text) => {
    Object.assign(steps[steps.length - 1], { state, text });
    show([...steps]);
  };
  try {
    begin("check");
    const opened = await pinned(panel, plan);
    const verdict = await verdictOf(panel.routes, machine, opened.graph);
    const force = await allowed(panel, machine, verdict);
    if (force === null) {
      show([]);
      return null;
    }
    const doubt = verdict?.is_known === false && `${t("lacks.unknown")} ${verdict.reason ?? ""}`;
    end("done", doubt || t(force ? "deploy.although" : "deploy.checked", { name: machine.name }));
    begin("version");
    const { version, ...ids } = await versionOf(deploying, plan, opened.graph);
    const isMarked = !stored && comfy.isOpened(opened, connection);
    if (isMarked) {
      comfy.remember({ workflow_id: ids.workflow_id, version }, connection);
      saved();
    }
    end("done", t(isMarked || stored ? "deploy.saved" : "deploy.unmarked", { number: version }));
    begin("deploy");
    const made = await deploying.deploy({ ...ids, machine_id: machine.id, environment, force });
    end("done", t("deploy.deployed", { environment }));
    return made;
  } catch (error) {
    end("failed", /** @type {Error} */ (error).message);
    return null;
  }
}

/**
 * What is deployed: what was shown when it was asked for, whatever is opened while it goes on. Throws where another
 * graph is open by now: what is shown of the origin, the name and what is replaced is not of that one.
 * @param {Panel} panel @param {Plan} plan @returns {Promise<ComfyUI.Opened>}
 */
async function pinned({ comfy, connection }, { source, stored, origin }) {
  if (stored) return source;
  const opened = await comfy.readOpened(connection);
  const isShown = comfy.isOpened(source, connection) && comfy.isOpened(opened, connection);
  if (!isShown || (origin && origin.id !== source.here.workflow_id)) throw new Error(t("deploy.other"));
  return opened;
}

/** @param {Deploying} deploying @param {Plan} plan @param {Drawn} graph @returns {Promise<Version>} */
async function versionOf(deploying, { origin, name, comment, stored }, graph) {
  const sign = signOf(graph.output);
  const same = origin?.versions.find((each) => (stored ? each.version === stored.version : each.sign === sign));
  return origin && same
    ? { workflow_id: origin.id, version: same.version, workflow_version_id: same.id }
    : deploying.save({ workflow_id: origin?.id, name, comment, graph });
}

/**
 * Whether a graph is to be deployed although the machine lacks something for it; null: it is not to be deployed.
 * @param {Panel} panel @param {MachineRow} machine @param {Verdict | null} verdict @returns {Promise<boolean | null>}
 */
async function allowed(panel, machine, verdict) {
  if (!verdict?.lacks.length) return false;
  return openView(
    headingOf(verdict, machine.name),
    (/** @type {(result: boolean | null) => void} */ close) => html`
      <${Provider} value=${panel}>
        <${Lacks} verdict=${verdict} /><p>${t("deploy.lacks_hint")}</p>
        <${Answers} close=${close} yes=${t("deploy.anyway")} isDangerous=${true} onYes=${() => close(true)} />
      <//>`,
  );
}

/** @param {{steps: Step[]}} props */
export function Steps({ steps }) {
  return html`
    <ol class="outpost-section" aria-live="polite">
      ${steps.map(
        ({ name, state, text }) => html`<li class=${state === "failed" ? "outpost-bad" : ""}>
          ${icon(ICONS[state])} ${t(`deploy.step_${name}`)}
          <span class="outpost-hidden">${t(`deploy.${state}`)}</span>
          ${text && html`<p class="outpost-whole outpost-hint" dir="auto">${text}</p>`}</li>`,
      )}
    </ol>
  `;
}
