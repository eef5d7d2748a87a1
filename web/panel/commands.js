// What can be done by ComfyUI's menu, its list of commands and its keys.

import { TAB } from "../kit/context.js";
import { t } from "../texts.js";

/**
 * The commands, and the keys that no command of ComfyUI has. Whoever wants others sets them in ComfyUI's settings.
 * @param {Panel} panel
 * @param {Guard} guard
 */
export function commandsOf(panel, guard) {
  /** @type {[id: string, icon: string, combo: {key: string, alt?: boolean, shift?: boolean}, act: () => unknown][]} */
  const rows = [
    ["Outpost.OpenPanel", "pi-send", { key: "o" }, () => toggle(panel)],
    ["Outpost.Deploy", "pi-cloud-upload", { key: "Enter", alt: true, shift: true }, () => show(panel, "deploy")],
    ["Outpost.RunRemotely", "pi-play", { key: "Enter", alt: true }, () => runRemotely(panel)],
  ];
  return {
    commands: rows.map(([id, icon, , act]) => ({ id, icon: `pi ${icon}`, label: t(id), function: guard(act) })),
    keybindings: rows.map(([commandId, , combo]) => ({ commandId, combo })),
    menuCommands: [{ path: [t("panel.title")], commands: rows.map(([id]) => id) }],
  };
}

/** @param {Panel} panel */
function toggle({ comfy }) {
  comfy.toggleTab(TAB);
  // Whoever opens it by a key goes on by keys.
  requestAnimationFrame(() => {
    const tab = document.querySelector("outpost-panel [role=tab][tabindex='0']");
    if (tab instanceof HTMLElement) tab.focus();
  });
}

/**
 * Open the panel and let it show a view.
 * @param {Panel} panel
 * @param {string} view
 * @param {Record<string, unknown>} [about]
 */
export function show(panel, view, about) {
  if (!panel.comfy.isTabOpen(TAB)) panel.comfy.toggleTab(TAB);
  panel.go(view, about);
}

/** Show the form of a run of the newest deployment of the open graph's workflow. @param {Panel} panel */
async function runRemotely(panel) {
  const { workflow_id: id } = panel.comfy.remembered(panel.connection);
  const all = id ? await panel.routes.deployments() : [];
  const timeOf = (/** @type {Deployment} */ { updated_at: time }) => Date.parse(time ?? "") || 0;
  const [newest] = all
    .filter((each) => each.workflow_id === id && each.is_active !== false)
    .sort((one, other) => timeOf(other) - timeOf(one));
  if (newest) return show(panel, "run", { deployment_id: newest.id });
  show(panel, "deploy");
  panel.say(t("command.not_deployed"));
}
