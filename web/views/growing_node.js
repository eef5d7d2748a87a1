// Nodes that take any number of things of one type: a new socket appears when the last one is connected.

import { grown } from "../model/growing.js";
import { slotOf } from "./node_ports.js";

const PREFIX = "run_";
const TYPE = "OUTPOST_PENDING_RUN";

/** @param {ComfyUI.NodeType} nodeType @param {ComfyUI.NodeData} _ @param {Page} page */
export function makeGrowingNodes({ prototype }, _, page) {
  page.around(prototype, {
    onConnectionsChange: {
      after() {
        // Not at once: the page is still at work on the sockets.
        queueMicrotask(page.guard(() => grow(this, page)));
      },
    },
  });
}

/** @param {ComfyUI.Node} node @param {Page} page */
function grow(node, page) {
  if (!node.graph) return;
  const inputs = node.inputs.map(({ name }, slot) => ({ name, isConnected: node.isInputConnected(slot) }));
  const { add, remove } = grown(inputs, PREFIX);
  for (const name of remove) node.removeInput(slotOf(node, name));
  for (const name of add) node.addInput(name, TYPE);
  if (add.length || remove.length) page.redraw(node);
}
