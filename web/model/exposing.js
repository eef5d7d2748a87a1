// Which External node can stand for a widget, so that it becomes an input of a deployment.

const PREFIX = "ComfyUIDeployExternal";
const LARGEST = 2147483647; // what the nodes of numbers hold
const LARGEST_SEED = 999999999999999;
const MOST_OPTIONS = 500;
const GAP = 40; // a title is above its node
/** @type {Record<string, [kind: string, field: string]>} */
const MODELS = { ckpt_name: ["Checkpoint", "default_value"], lora_name: ["Lora", "default_lora_name"] };

/** @type {Record<string, (widget: Exposable) => Stand | null>} */
const STANDS = {
  IMAGE: () => ({ kind: "Image", values: {} }),
  STRING: ({ value, isMultiline }) => ({
    kind: isMultiline ? "Text" : "TextSingleLine",
    values: { default_value: String(value ?? "") },
  }),
  BOOLEAN: ({ value }) => ({ kind: "Boolean", values: { default_value: value === true } }),
  INT: (widget) => (isSeed(widget) && seed(widget)) || number(widget, "Int"),
  FLOAT: (widget) => number(widget, ""),
  COMBO: ({ name, value, options = [] }) => {
    if (!options.every((each) => typeof each === "string")) return null; // an External node gives texts
    const [kind, field] = MODELS[name] ?? ["Enum", "default_value"];
    const choices = options.length > MOST_OPTIONS ? "" : JSON.stringify(options);
    return { kind, values: { [field]: value, ...(kind === "Enum" ? { options: choices } : {}) } };
  },
};

/**
 * The node that stands for a widget, with the values of its own widgets; null where none fits.
 * @param {Exposable} widget @param {string[]} taken the ids that other inputs have
 */
export function standFor(widget, taken) {
  const { name, title, type } = widget;
  const found = STANDS[type]?.(widget);
  if (!found) return null;
  const { kind, values, isOther = false } = found;
  const label = { input_id: freeId(name, taken), display_name: `${title} · ${name}`.slice(0, 200) };
  return { class_type: PREFIX + kind, values: { ...label, ...values }, isOther };
}

/** An id for an input that no other input has. @param {string} name @param {string[]} taken */
export function freeId(name, taken) {
  const clean = name.replace(/[^\p{L}\p{N}_]+/gu, "_").replace(/^_+|_+$/g, "");
  const first = /^\D/.test(clean) ? clean : `input_${clean}`; // a number would be taken for a value
  let free = first;
  for (let count = 2; taken.includes(free); count++) free = `${first}_${count}`;
  return free;
}

/** @param {Exposable} widget */
const isSeed = ({ name }) => /(^|_)seed$/i.test(name);

/** @param {Exposable} widget @returns {Stand | null} null for a seed that such a node takes for a random one */
function seed({ value }) {
  if (typeof value !== "number" || value < 1) return null;
  const held = value > LARGEST_SEED ? value % LARGEST_SEED || 1 : value;
  const values = { default_value: held, min_value: 1, max_value: LARGEST_SEED };
  return { kind: "Seed", values, isOther: held !== value };
}

/** @param {Exposable} widget @param {string} kind @returns {Stand | null} null for a number that such a node cannot hold */
function number({ value, min, max }, kind) {
  const isHeld = (/** @type {unknown} */ each) => typeof each === "number" && Math.abs(each) <= LARGEST;
  if (!isHeld(value)) return null;
  return isHeld(min) && isHeld(max)
    ? { kind: `NumberSlider${kind}`, values: { default_value: value, min_value: min, max_value: max } }
    : { kind: `Number${kind}`, values: { default_value: value } };
}

/**
 * How likely somebody wants to set a widget from outside: less is more; null for what is not offered by itself.
 * @param {Exposable} widget
 */
export function rank(widget) {
  const { type, name, isMultiline, isSelected } = widget;
  if (type === "STRING" && isMultiline) return 0;
  if (type === "IMAGE") return 1;
  if (type === "INT" && isSeed(widget)) return 2;
  if (isSelected) return 3;
  return type === "COMBO" && (name in MODELS || /(model|unet|vae|lora|clip)(_name)?\d*$/.test(name)) ? 4 : null;
}

/**
 * A place where a new node covers no other one: at this one, or further down.
 * @param {number[]} place left, top, width, height @param {number[][]} boxes the other nodes, likewise
 */
export function freePlace([left, top, width, height], boxes) {
  const covered = () =>
    boxes.find(([x, y, w, h]) => x < left + width && left < x + w && y - GAP < top + height && top - GAP < y + h);
  for (let box = covered(); box; box = covered()) top = box[1] + box[3] + GAP;
  return [left, top];
}
