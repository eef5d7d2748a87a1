// The inputs of a deployment as ComfyUI's page describes the inputs of its own nodes.

const LARGEST = Number.MAX_SAFE_INTEGER;

/** @type {Record<Widget["type"], (widget: Widget) => Required<ComfyUI.Input>>} */
const DESCRIPTIONS = {
  text: (widget) => ["STRING", { default: text(widget.default), dynamicPrompts: false }],
  multiline: (widget) => ["STRING", { default: text(widget.default), multiline: true, dynamicPrompts: false }],
  int: (widget) => ["INT", integers(widget)],
  float: (widget) => ["FLOAT", { ...limits(widget, widget.step ?? 0.01), round: false }],
  boolean: (widget) => ["BOOLEAN", { default: widget.default === true }],
  combo: (widget) => [choices(widget), { default: text(widget.default ?? widget.options?.[0]) }],
  seed: (widget) => ["INT", { ...integers({ ...widget, min: widget.min ?? 0 }), control_after_generate: true }],
};

/** A widget as ComfyUI describes an input: its type, or its choices, and its options. @param {Widget} widget */
export const describe = (widget) => (DESCRIPTIONS[widget.type] ?? DESCRIPTIONS.text)(widget);

/**
 * A value in the form that a widget holds it, or the widget's own default when the value means nothing to it.
 * @param {Widget} widget
 * @param {unknown} value
 */
export function fit(widget, value) {
  const [type, options] = describe(widget);
  if (Array.isArray(type)) return type.includes(/** @type {string} */ (value)) ? value : options.default;
  if (type === "STRING") return ["string", "number"].includes(typeof value) ? String(value) : options.default;
  if (type === "BOOLEAN") return typeof value === "boolean" ? value : options.default;
  const number = typeof value === "string" && value.trim() ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number)) return options.default;
  const whole = type === "INT" ? Math.round(number) : number;
  const { min = -LARGEST, max = LARGEST } = options;
  return Math.min(Math.max(whole, min), max);
}

/** @param {Widget} widget */
function integers(widget) {
  const { default: first, ...rest } = limits(widget, Math.max(1, Math.round(widget.step ?? 1)));
  return { ...rest, default: Math.round(first), min: Math.ceil(rest.min), max: Math.floor(rest.max) };
}

/** @param {Widget} widget @param {number} step */
function limits(widget, step) {
  const min = Math.max(widget.min ?? -LARGEST, -LARGEST);
  const max = Math.min(widget.max ?? LARGEST, LARGEST);
  const first = Number.isFinite(Number(widget.default)) ? Number(widget.default) : 0;
  const isSlider = widget.is_slider === true && widget.min != null && widget.max != null;
  const display = isSlider ? { display: "slider" } : {};
  return { default: Math.min(Math.max(first, min), max), min, max, step, ...display };
}

/** @param {Widget} widget */
function choices(widget) {
  const options = (widget.options ?? []).map(String);
  return options.length ? options : [text(widget.default)];
}

/** @param {unknown} value */
const text = (value) => (value == null ? "" : String(value));
