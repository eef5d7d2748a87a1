// Opening the graph of a version in the page.

import { confirm, t } from "../kit/kit.js";
import { lossesOf } from "../model/losses.js";

/**
 * Open it in a tab of its own. What is lost where only its executable form is kept is told.
 * @param {Panel} panel
 * @param {{workflow?: any, workflow_api?: any}} graphs as the editor keeps it, and as it is executed
 * @param {string} title
 * @param {ComfyUI.Remembered} remembered where it came from
 * @returns {Promise<boolean | null>} whether it is open now; null where the page cannot open it
 */
export async function openGraphs({ comfy, connection, fail }, { workflow, workflow_api: api }, title, remembered) {
  const mayReplace = () =>
    confirm({ title: t("workflow.replace"), text: t("workflow.replace_hint"), yes: t("workflow.replace_yes") });
  if (workflow?.nodes?.length) {
    // It is in the graph that is opened, so that the new tab has no changes.
    const extra = comfy.withMemory(workflow.extra, remembered, connection);
    return comfy.openGraph({ ...workflow, extra }, title, mayReplace);
  }
  const isOpen = api ? await comfy.openApiGraph(api, title, mayReplace) : null;
  if (!isOpen) return isOpen;
  comfy.remember(remembered, connection);
  const losses = lossesOf(api, (await comfy.readGraph()).output, comfy.widgetValue);
  if (losses) fail(Object.assign(new Error(losses), { isExpected: true }));
  return true;
}
