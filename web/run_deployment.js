// Run Deployment takes inputs of any name: here a person adds and removes them.
// Inputs that are added like this are saved with the graph; widgets would not be.

const OWN_INPUTS = ["deployment_id", "deadline_minutes"];

/**
 * Why a name cannot become an input of a node, or an empty text when it can.
 * @param {string} name
 * @param {{name: string}[]} inputs the inputs that the node has
 * @returns {string}
 */
export function objection(name, inputs) {
  if (!name) return "An input needs a name.";
  if (OWN_INPUTS.includes(name) || name === "unique_id") return `“${name}” is an input of the node itself.`;
  if (inputs.some((input) => input.name === name)) return `There is an input “${name}” already.`;
  return "";
}

/**
 * Give every Run Deployment node a button that adds an input, and a menu entry for each input that removes it.
 * @param {any} nodeType the node's class, which is the page's own and has no types
 * @param {{ask: (title: string, message: string) => Promise<string>, tell: (text: string) => void}} page
 */
export function letInputsBeAdded(nodeType, page) {
  const { onNodeCreated, getExtraMenuOptions } = nodeType.prototype;

  nodeType.prototype.onNodeCreated = function () {
    const result = onNodeCreated?.apply(this, arguments);
    const button = this.addWidget("button", "Add input", null, () => addInput(this, page), { serialize: false });
    button.serialize = false;
    return result;
  };

  nodeType.prototype.getExtraMenuOptions = function (canvas, options) {
    const result = getExtraMenuOptions?.apply(this, arguments);
    for (const input of (this.inputs ?? []).filter((each) => !each.widget)) {
      options.push({ content: `Remove input “${input.name}”`, callback: () => removeInput(this, input.name) });
    }
    return result;
  };
}

/**
 * @param {any} node
 * @param {{ask: (title: string, message: string) => Promise<string>, tell: (text: string) => void}} page
 */
async function addInput(node, page) {
  const name = await page.ask("Add input", "The name of an input of the deployment, such as image:");
  if (!name) return;
  const reason = objection(name, node.inputs ?? []);
  if (reason) page.tell(reason);
  else node.addInput(name, "*");
}

/**
 * @param {any} node
 * @param {string} name
 */
function removeInput(node, name) {
  const slot = node.inputs.findIndex((/** @type {{name: string}} */ input) => input.name === name);
  if (slot >= 0) node.removeInput(slot);
}
