// What somebody has filled into the form of a run: whether it can be sent, and as what.

/** @typedef {string | boolean | undefined} Raw undefined: as the deployment has it */
/** @typedef {Map<string, any>} Values by input: a text, a yes or no, or files. Any word may be the id of an input. */

const MOST_RANDOM = 2 ** 50; // a page counts exactly as far
const NUMBERS = ["int", "float", "seed"];

/** What a field shows at first. @param {Widget} widget @returns {string | boolean} */
export function firstOf({ type, default: value, options }) {
  if (type === "boolean") return value === true;
  return String(value ?? (type === "combo" ? (options?.[0] ?? "") : ""));
}

/** What stands in a field. @param {Widget} widget @param {Raw} raw */
function textOf(widget, raw) {
  const text = String(raw ?? firstOf(widget));
  return NUMBERS.includes(widget.type) ? text.trim() : text;
}

/** Whether the deployment's own value counts, which is valid. @param {Widget} widget @param {Raw} raw */
const isOwn = (widget, raw) => raw === undefined || raw === firstOf(widget);

/**
 * What is wrong with a value, as the key of a text and what is filled in there; null for nothing.
 * @param {Field} field
 * @param {any} raw
 * @returns {[key: string, values: Record<string, number>] | null}
 */
export function problemOf({ widget, is_required: isRequired }, raw) {
  const text = widget && textOf(widget, raw);
  if (widget ? text === "" : !raw?.length) return isRequired ? ["run.missing", {}] : null;
  if (!widget || isOwn(widget, raw) || !NUMBERS.includes(widget.type)) return null;
  const { type, min, max } = widget;
  const value = Number(text);
  if (type === "float" && !Number.isFinite(value)) return ["run.no_number", {}];
  if (type !== "float" && !/^[+-]?\d+$/.test(text ?? "")) return ["run.no_integer", {}];
  if (min != null && value < min) return ["run.too_small", { min }];
  if (max != null && value > max) return ["run.too_large", { max }];
  return null;
}

/**
 * What is sent; undefined where the deployment's own value counts.
 * @param {Pick<Field, "widget">} field
 * @param {Raw} raw that has no problem
 */
export function sentOf({ widget }, raw) {
  if (!widget || isOwn(widget, raw)) return undefined;
  if (!NUMBERS.includes(widget.type)) return raw;
  const text = textOf(widget, raw);
  if (text === "") return undefined;
  // A page cannot count as far as a seed goes: its digits are sent as they are.
  return Number.isSafeInteger(Number(text)) || widget.type === "float" ? Number(text) : text.replace(/^\+/, "");
}

/**
 * What the form shows in place of the deployment's own values.
 * @param {Field[]} fields
 * @param {Record<string, unknown>} first
 * @returns {Values}
 */
export function rawOf(fields, first) {
  const given = fields.filter(({ input_id: id, widget }) => widget && Object.hasOwn(first, id) && first[id] != null);
  return new Map(given.map(({ input_id: id }) => [id, typeof first[id] === "boolean" ? first[id] : String(first[id])]));
}

/**
 * What the form says: values, files that were sent, and assets of the library.
 * @param {Field[]} fields
 * @param {Values} values
 */
export function bodyOf(fields, values) {
  const told = (/** @type {(field: Field, value: any) => unknown} */ take) => {
    const all = fields.map((field) => [field.input_id, take(field, values.get(field.input_id))]);
    return Object.fromEntries(all.filter(([, value]) => value !== undefined));
  };
  const ids = (/** @type {string} */ name) =>
    told(({ widget, kind }, given = []) => {
      const found = widget ? [] : given.map((/** @type {any} */ each) => each[name]).filter(Boolean);
      return kind === "image batch" && found.length ? found : found[0];
    });
  return { inputs: told(sentOf), files: ids("file_id"), assets: ids("asset_id") };
}

/** A random whole number within the limits of a field. @param {Widget} widget */
export function randomOf({ min, max }, random = Math.random) {
  const low = Math.max(min ?? 0, 0);
  const high = Math.min(max ?? MOST_RANDOM, MOST_RANDOM);
  return String(low + Math.floor(random() * (high - low + 1)));
}

/** Whether a button for a random number belongs to a field. @param {Field} field */
export const isSeed = ({ input_id: id, widget }) =>
  widget?.type === "seed" || (widget?.type === "int" && /seed/i.test(id));

/** The files that a field takes, as browsers understand it. @param {Field} field */
export function acceptOf({ kind, socket }) {
  if (kind === "image") return "image/*";
  if (kind === "image batch") return "image/*,.zip";
  const [first, ...others] = socket.split(",");
  if (first === "IMAGE") return others.includes("VIDEO") ? "" : ".exr";
  return ["VIDEO", "AUDIO"].includes(first) ? `${first.toLowerCase()}/*` : "";
}
