// What can be done with a workflow, wherever it is shown.

import { askFor, askOnce, deleteLater, itemsOf, t } from "../../kit/kit.js";
import { versionPath, workflowPath } from "../../model/paths.js";
import { openGraphs } from "../graph.js";

/** What a workflow is called among the things that are about to be deleted. @param {string} id */
export const keyOf = (id) => `workflow ${id}`;

/**
 * The entries of a workflow's menu; the first one opens it.
 * @param {Panel} panel @param {WorkflowRow} workflow
 * @param {(changed: WorkflowRow | null) => void} done is told how it is now; null where more than it may be different
 * @param {() => void} [leave] where it is shown alone: to be called when it is deleted
 */
export function deedsOf(panel, workflow, done, leave) {
  const { id, name, pinned } = workflow;
  const path = workflowPath(id);
  const change = async (/** @type {Partial<WorkflowRow>} */ values) =>
    done(await panel.routes.send("PATCH", path, values));
  const ask = async (/** @type {"name" | "description"} */ field, /** @type {string} */ title, more = {}) => {
    const text = await askFor({ title, label: t(`workflow.${field}`), value: workflow[field], ...more });
    if (text !== null && text !== workflow[field]) await change({ [field]: text });
  };
  const rename = t("workflow.rename");
  const describe = t("workflow.describe");
  return itemsOf(panel, [
    [t("workflow.open"), "pi-external-link", () => openVersion(panel, workflow)],
    [rename, "pi-pencil", () => ask("name", rename)],
    [describe, "pi-align-left", () => ask("description", describe, { isLong: true, mayBeEmpty: true })],
    [
      t(pinned ? "workflow.unpin" : "workflow.pin"),
      "pi-thumbtack",
      () => change({ pinned: !pinned }).then(() => done(null)),
    ],
    [t("workflow.clone"), "pi-clone", () => clone(panel, workflow, done)],
    [t("view.deployments"), "pi-cloud", () => panel.go("deployments", { workflow_id: id })],
    [
      t("dialog.delete"),
      "pi-trash",
      () => {
        deleteLater(panel, keyOf(id), name, path);
        leave?.();
      },
    ],
  ]);
}

/** @param {Panel} panel @param {WorkflowRow} workflow @param {(changed: null) => void} done */
async function clone(panel, { id, name }, done) {
  const value = t("workflow.copy_of", { name }).slice(0, 200);
  const wanted = await askFor({ title: t("workflow.clone"), label: t("workflow.name"), value });
  if (!wanted) return;
  await askOnce(panel, `clone ${id} ${wanted}`, (key) =>
    panel.routes.send("POST", `${workflowPath(id)}/clone`, { name: wanted, key }),
  );
  panel.say(t("workflow.cloned", { name: wanted }));
  done(null);
}

/**
 * Open a version of a workflow in a tab of its own.
 * @param {Panel} panel @param {WorkflowRow} workflow @param {number | null} [number] the newest one without it
 */
export async function openVersion(panel, { id, name, version: newest }, number = newest) {
  const { routes } = panel;
  const wanted = number ?? (await routes.get(`${workflowPath(id)}/versions`)).versions[0]?.version;
  if (!wanted) return panel.say(t("workflow.no_versions"));
  const graphs = await routes.get(versionPath(id, wanted));
  const isOpen = await openGraphs(panel, graphs, `${name} v${wanted}`, { workflow_id: id, version: wanted });
  if (isOpen === null) panel.say(t("workflow.no_graph", { number: wanted }));
}
