// What a graph remembers of where it came from. Whoever made the graph has written it.

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * What counts of it: a version of a workflow. Anything else is nothing, as it becomes part of addresses.
 * @param {unknown} kept @returns {ComfyUI.Remembered}
 */
export function rememberedOf(kept) {
  const { workflow_id: id, version } = /** @type {Record<string, unknown>} */ (kept ?? {});
  const isOne = typeof id === "string" && UUID.test(id);
  const isNumber = typeof version === "number" && Number.isSafeInteger(version) && version > 0;
  return isOne && isNumber ? { workflow_id: id, version } : {};
}
