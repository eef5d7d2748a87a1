// The list that a deployment is chosen from: a combo of the page, whose values are ids and whose entries are names.

import { label, labels, values } from "../model/choices.js";
import { t } from "../texts.js";

const EDGE = 40; // where a click on a combo means the entry before or after

/** The account's deployments, as all nodes of the page know them. */
export class Deployments {
  /** @type {Deployment[]} */
  list = [];
  /** @type {Map<string, string>} */
  #labels = new Map();
  #told = "[]";
  /** @type {Promise<boolean> | null} */
  #asking = null;
  /** @type {Set<WeakRef<ComfyUI.Combo>>} */
  #combos = new Set();

  /** @param {{deployments: () => Promise<Deployment[]>}} routes */
  constructor(routes) {
    this.routes = routes;
  }

  /** Look for the deployments that there are now. @returns {Promise<boolean>} whether the list has changed */
  refresh() {
    this.#asking ??= this.#ask().finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #ask() {
    const list = await this.routes.deployments();
    const told = JSON.stringify(list);
    if (told === this.#told) return false;
    this.#told = told;
    this.list = list;
    this.#labels = labels(list);
    for (const reference of this.#combos) {
      const combo = reference.deref();
      if (combo) this.fill(combo);
      else this.#combos.delete(reference);
    }
    return true;
  }

  /** What the list says of a deployment. @param {string} id */
  label(id) {
    return this.#labels.get(id);
  }

  /** Fill a combo with the deployments, now and after each refresh. @param {ComfyUI.Combo} combo */
  follow(combo) {
    this.#combos.add(new WeakRef(combo));
    this.fill(combo);
  }

  /** @param {ComfyUI.Combo} combo */
  fill(combo) {
    combo.options.values.splice(0, Infinity, ...values(this.list, combo.value));
  }
}

/**
 * Describe a node's input `deployment_id` as a combo. ComfyUI describes it as a text, so that any id is valid.
 * @param {ComfyUI.NodeData} nodeData
 */
export function describeAsCombo({ input: { required } }) {
  const [, options] = required.deployment_id;
  required.deployment_id = [[""], { ...options, default: "" }];
}

/**
 * Make the combo of a node a list of the deployments.
 * @param {ComfyUI.Combo} combo
 * @param {Page} page
 * @param {() => Deployment | null} remembered what the node knows of the one that was chosen
 */
export function attachList(combo, page, remembered) {
  const { deployments } = page;
  const labelOf = (/** @type {string | null} */ id) => {
    if (!id) return t("node.choose");
    const known = remembered();
    return deployments.label(id) ?? (known?.id === id ? label(known) : id);
  };
  combo.label = "deployment";
  combo.options.values = [];
  combo.options.getOptionLabel = labelOf;
  deployments.follow(combo);
  // The page's own menu of a combo with labels cannot be searched, and shows what was known before.
  combo.onPointerDown = (pointer, owner, canvas) => {
    const x = canvas.graph_mouse[0] - owner.pos[0];
    if (x < EDGE || x > (combo.width || owner.size[0]) - EDGE) return false;
    const asked = deployments.refresh();
    asked.catch(() => {}); // it is told by whoever opens the list
    pointer.onClick = page.guard((/** @type {ComfyUI.CanvasEvent} */ event) =>
      openList(combo, labelOf, page, { event: event.e ?? event, scale: Math.max(1, canvas.ds.scale), asked }),
    );
    return true;
  };
}

/**
 * Open the list with what is known, and anew when it turns out to be different and nobody has touched it.
 * @param {ComfyUI.Combo} combo
 * @param {(id: string) => string} labelOf
 * @param {Page} page
 * @param {{event: Event, scale: number, asked: Promise<boolean>}} how
 */
async function openList(combo, labelOf, { deployments, openMenu, tell }, { event, scale, asked }) {
  const choose = (/** @type {string} */ id) => {
    if (combo.value === id) return;
    combo.value = id;
    combo.callback?.(id);
  };
  const show = () => {
    const ids = deployments.list.map(({ id }) => id);
    const entries = ids.map(labelOf);
    return openMenu(entries, { event, scale, choose: (entry) => choose(ids[entries.indexOf(entry)]) });
  };
  const menu = deployments.list.length ? show() : null;
  if (!(await asked) && menu) return;
  if (menu && !menu.isUntouched()) return;
  menu?.close();
  if (deployments.list.length) show();
  else tell(t("node.no_deployments"));
}
