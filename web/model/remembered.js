// What a graph remembers of where it came from, on each connection. Whoever made the graph has written it.

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const LONGEST = 100; // letters of a connection's id
const MOST = 5;

/** @typedef {{workflow_id: string, version: number, connection?: string}} Entry */

/**
 * What counts of it, newest first: versions of workflows. Anything else is nothing, as it becomes part of addresses.
 * @param {unknown} kept @returns {Entry[]}
 */
function entriesOf(kept) {
  const { others } = /** @type {Record<string, unknown>} */ (kept ?? {});
  return [kept, ...(Array.isArray(others) ? others.slice(0, MOST) : [])].flatMap((each) => {
    const { workflow_id: id, version, connection: of } = /** @type {Record<string, unknown>} */ (each ?? {});
    const isOne = typeof id === "string" && UUID.test(id);
    const isNumber = typeof version === "number" && Number.isSafeInteger(version) && version > 0;
    const isOf = typeof of === "string" && of && of.length <= LONGEST;
    return isOne && isNumber ? { workflow_id: id, version, ...(isOf ? { connection: of } : {}) } : [];
  });
}

/**
 * The version that a graph is on a connection. One that another connection has made may be of the same platform.
 * @param {unknown} kept @param {string | null} [connection] @returns {ComfyUI.Remembered}
 */
export function rememberedOf(kept, connection) {
  const all = entriesOf(kept);
  const ofIt = (/** @type {Entry} */ { connection: of }) => of === connection;
  const found = all.find(ofIt) ?? all.find(({ connection: of }) => !of) ?? all[0];
  return found ? { workflow_id: found.workflow_id, version: found.version } : {};
}

/**
 * What is kept when a graph has become a version. The newest is where older releases look for the only one.
 * @param {unknown} kept @param {ComfyUI.Remembered} what @param {string | null} [connection] that it became one on
 * @returns {ComfyUI.Memory}
 */
export function remembering(kept, { workflow_id: id, version }, connection) {
  const before = entriesOf(kept).filter((each) => each.connection !== connection && each.workflow_id !== id);
  const made = { workflow_id: id, version, ...(connection ? { connection } : {}) };
  const [newest, ...others] = [...entriesOf(made), ...before].slice(0, MOST);
  return { ...newest, ...(others.length ? { others } : {}) };
}
