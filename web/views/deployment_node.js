// Nodes that run a deployment: a list to choose it from, and what it takes and gives as sockets and widgets.

import { inMenu, inputName, objection, ownInputs, shown } from "../model/names.js";
import { readShape, remarks, renewed, tidied, withInput, withoutInput } from "../model/shape.js";
import { t } from "../texts.js";
import { attachList, describeAsCombo } from "./deployment_list.js";
import { addButton, findWidget, reshape, restoreWidgets, slotOf } from "./node_ports.js";
import { pickFrom } from "./picker.js";
import { forgetRun, say } from "./run_report.js";

const PROPERTY = "outpost_deployment";
const WIDTH = 340; // wide enough for the names of most deployments

/**
 * Let all nodes of a class be nodes of a deployment.
 * @param {ComfyUI.NodeType} nodeType
 * @param {ComfyUI.NodeData} nodeData
 * @param {Page} page
 */
export function makeDeploymentNodes({ prototype }, nodeData, page) {
  describeAsCombo(nodeData);
  hide(nodeData, "outputs");
  const build = {
    own: [...ownInputs(nodeData), "unique_id"],
    firstOutput: nodeData.output?.length ?? 0,
    addWidget: page.addWidget,
  };
  const of = (/** @type {ComfyUI.Node} */ node) => (node.outpostDeployment ??= new DeploymentNode(node, build, page));
  page.around(prototype, {
    onNodeCreated: {
      after() {
        of(this).create();
      },
    },
    configure: {
      before(saved) {
        of(this).restore(saved);
      },
      after(saved) {
        return of(this).settle(saved);
      },
    },
    onSerialize: {
      after(saved) {
        of(this).save(saved);
      },
    },
    getExtraMenuOptions: {
      after(_, options) {
        options.push(...of(this).menu());
      },
    },
  });
}

/**
 * Let an input of a node have a value and nothing to be seen.
 * @param {ComfyUI.NodeData} nodeData
 * @param {string} name
 */
function hide({ input: { required, optional } }, name) {
  for (const inputs of [required, optional]) {
    if (inputs?.[name]) inputs[name] = [inputs[name][0], { ...inputs[name][1], hidden: true, socketless: true }];
  }
}

/** What this package does with one node. */
export class DeploymentNode {
  /** @param {ComfyUI.Node} node @param {Build} build @param {Page} page */
  constructor(node, build, page) {
    this.node = node;
    this.build = build;
    this.page = page;
  }

  get shape() {
    return readShape(this.node.properties?.[PROPERTY]);
  }

  /** The list that the deployment is chosen from. */
  get list() {
    return /** @type {ComfyUI.Combo} */ (findWidget(this.node, "deployment_id"));
  }

  create() {
    const { node, page, list } = this;
    attachList(list, page, () => this.shape);
    list.callback = page.guard(() => this.choose());
    const outputs = findWidget(node, "outputs");
    if (outputs) Object.assign(outputs, { hidden: true, computeSize: () => [0, -4], draw: () => {} });
    addButton(
      node,
      t("node.add"),
      page.guard(() => this.add()),
    );
    const [width, height] = node.computeSize();
    node.setSize([Math.max(width, WIDTH), height]);
  }

  /** Before a saved node is read: what cannot be read without its widgets. @param {ComfyUI.SavedNode} saved */
  restore(saved) {
    const shape = readShape(saved?.properties?.[PROPERTY]);
    if (shape) restoreWidgets(this.node, shape, this.build);
  }

  /** After a saved node was read. @param {ComfyUI.SavedNode} saved */
  async settle(saved) {
    this.readByName(saved);
    this.page.deployments.fill(this.list);
    const { shape } = this;
    if (shape) reshape(this.node, { before: shape, shape }, this.build);
    this.remark();
    if (shape && this.list.value) await this.look({ isQuiet: true });
  }

  /** The widgets whose values are saved. */
  get kept() {
    return this.node.widgets.filter(({ serialize }) => serialize !== false);
  }

  /**
   * Values are saved by their places. Where there are more or fewer widgets now, as after an update, their names count.
   * @param {ComfyUI.SavedNode} saved
   */
  readByName(saved) {
    const named = saved?.widgets_values_named;
    if (!named || !Array.isArray(saved.widgets_values) || this.kept.length === saved.widgets_values.length) return;
    for (const widget of this.kept) if (Object.hasOwn(named, widget.name)) widget.value = named[widget.name];
  }

  /** @param {ComfyUI.SavedNode} saved */
  save(saved) {
    saved.widgets_values_named ??= Object.fromEntries(this.kept.map(({ name, value }) => [name, value]));
  }

  /** Another deployment was chosen: that, and what the node becomes, is one step to undo. */
  async choose() {
    forgetRun(this.node); // it was of another deployment
    const end = this.page.beginChange(this.node);
    try {
      await this.look();
    } finally {
      end();
    }
  }

  /**
   * Look at the deployment that is chosen, and show what it takes and gives now.
   * @param {{isQuiet?: boolean}} [options] quiet: nobody has asked for it, so nobody is told that it cannot be done
   */
  async look({ isQuiet = false } = {}) {
    const id = this.list.value;
    if (!id) return;
    let form;
    try {
      form = await this.page.routes.form(id);
    } catch (error) {
      if (isQuiet) return;
      throw error;
    }
    if (this.list.value !== id) return; // another one was chosen meanwhile
    const { shape } = this;
    const fresh = renewed(shape, form, (side, name) => this.isConnected(side, name));
    if (JSON.stringify(fresh) !== JSON.stringify(shape)) this.become(fresh);
  }

  /** @param {Shape} shape */
  become(shape) {
    const before = this.shape;
    this.page.changing(this.node, () => {
      const { node } = this;
      const spare = Math.max(0, node.size[1] - node.computeSize()[1]); // which somebody has given it
      node.properties[PROPERTY] = shape;
      reshape(node, { before, shape }, this.build);
      node.setSize([node.size[0], node.computeSize()[1] + spare]);
      this.remark();
      this.page.deployments.fill(this.list);
    });
    this.page.redraw(this.node);
  }

  /** @param {"input" | "output"} side @param {string} name */
  isConnected(side, name) {
    const { node, build, shape } = this;
    if (side === "output") {
      const index = shape?.outputs.findIndex((output) => output.name === name) ?? -1;
      return index >= 0 && node.isOutputConnected(build.firstOutput + index);
    }
    const port = inputName(name, build.own);
    const slots = [port, `${port}:alpha`].map((each) => slotOf(node, each));
    return slots.some((slot) => slot >= 0 && node.isInputConnected(slot));
  }

  remark() {
    const { shape } = this;
    const sentences = shape ? remarks(shape).map((each) => shown(each, 120)) : [];
    const isAnyGone = shape && [...shape.inputs, ...shape.outputs].some(({ mark }) => mark === "gone");
    say(this.node, { remarks: isAnyGone ? [...sentences, t("node.tidy_hint")] : sentences });
  }

  /** Let the person add an input: one of the deployment's open values, or one of any name. */
  async add() {
    const { node, page, shape } = this;
    const id = this.list.value;
    const form = id ? await page.routes.form(id).catch(() => null) : null;
    const taken = new Set(shape?.inputs.map((field) => field.input_id));
    const entries = (form?.inputs ?? [])
      .filter((field) => !taken.has(field.input_id))
      .map((field) => ({ value: field, label: shown(field.label), hint: shown(field.input_id) }));
    const picked = await pickFrom({ title: t("node.add"), entries, placeholder: t("node.add_hint") });
    if (!picked) return;
    if (picked.entry && shape) return this.become(withInput(shape, picked.entry));
    const reason = objection(picked.text, node.inputs ?? [], this.build.own);
    if (reason) page.tell(reason);
    else page.changing(node, () => node.addInput(picked.text, "*"));
  }

  /** The entries that the node's menu has besides those of the page. */
  menu() {
    const { node, shape } = this;
    /** @type {[string, () => unknown][]} */
    const entries = [];
    if (this.list.value) entries.push([t("node.look"), () => this.look()]);
    if (shape) {
      if (remarks(shape).length) entries.push([t("node.tidy"), () => this.become(tidied(shape))]);
      for (const { input_id: id, is_open: isOpen } of shape.inputs)
        if (isOpen) entries.push([t("node.remove", { name: inMenu(id) }), () => this.become(withoutInput(shape, id))]);
    }
    for (const name of this.addedByHand())
      entries.push([t("node.remove", { name: inMenu(name) }), () => node.removeInput(slotOf(node, name))]);
    return entries.map(([content, act]) => ({ content, callback: this.page.guard(act) }));
  }

  /** The names of inputs that are neither the node's own nor of its shape. */
  addedByHand() {
    const known = new Set((this.shape?.inputs ?? []).map((field) => field.input_id));
    const names = (this.node.inputs ?? []).filter((input) => !input.widget).map(({ name }) => name);
    return names.filter((name) => {
      const id = name.replace(/^input:/, "").replace(/:alpha$/, "");
      return !this.build.own.includes(name) && !known.has(name) && !known.has(id);
    });
  }
}
