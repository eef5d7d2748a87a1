// What can be done with a run, wherever it is shown.

import { askOnce, copied, itemsOf, t } from "../../kit/kit.js";
import { newKey } from "../../model/keys.js";
import { hasFailed, isActive, runPath } from "../../model/runs.js";
import { openGraph, placeAll } from "./canvas.js";

/** What is done most, and differs with the run's state. @param {Panel} panel @param {RunRow} run */
export function likelyOf(panel, run) {
  const { id, deployment_id: deployment } = run;
  const { routes, go, say } = panel;
  const send = (/** @type {string} */ deed, key = newKey()) => routes.send("POST", `${runPath(id)}/${deed}`, { key });
  const again = async () => {
    await askOnce(panel, `runs.again ${id}`, (key) => send("again", key));
    say(t("runs.started"));
  };
  const change = async () => {
    const { inputs } = await routes.get(runPath(id));
    const kept = inputs.filter(({ files }) => !files).map((input) => [input.input_id, input.value]);
    go("run", { deployment_id: deployment, values: Object.fromEntries(kept) });
  };
  return itemsOf(panel, [
    [t("runs.cancel"), "pi-ban", () => send("cancel"), isActive(run)],
    [t("runs.again"), "pi-replay", again, !isActive(run) && !!deployment],
    [t("runs.change"), "pi-pencil", change, !!deployment],
  ]);
}

/** The entries of a run's menu; the first one shows it. @param {Panel} panel @param {RunRow} run */
export function deedsOf(panel, run) {
  const { id } = run;
  const detail = () => panel.routes.get(runPath(id));
  const show = itemsOf(panel, [[t("runs.show"), "pi-info-circle", () => panel.go("runs", { run_id: id })]]);
  const others = itemsOf(panel, [
    [t("runs.graph"), "pi-external-link", () => openGraph(panel, id)],
    [t("runs.canvas"), "pi-images", async () => placeAll(panel, await detail()), run.status === "success"],
    [t("runs.error"), "pi-copy", async () => copied(panel, errorOf(await detail())), hasFailed(run)],
    [t("runs.id"), "pi-hashtag", () => copied(panel, id)],
  ]);
  return [...show, ...likelyOf(panel, run), ...others];
}

/** Why a run has failed, whole. @param {RunDetail} run */
export function errorOf({ error, error_node: node, error_type: type, status }) {
  const where = node && t("runs.node", { id: node.id, type: node.class ?? "?" });
  const what = [type, error || t(`runs.state_${status}`)].filter(Boolean).join(": ");
  return [where, what].filter(Boolean).join("\n");
}
