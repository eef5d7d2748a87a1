// Lists that are read page by page, and again where something has changed.

/**
 * A list with a page that has been read. What follows the page stays as it was known, until it is read again, too.
 * @template {{id: string}} Row
 * @param {{rows: Row[], hasMore: boolean}} known
 * @param {number} offset where the page begins
 * @param {{rows: Row[], more: boolean}} page
 * @returns {{rows: Row[], hasMore: boolean}}
 */
export function withPage(known, offset, page) {
  const places = new Map(known.rows.map(({ id }, index) => [id, index]));
  const placeOf = (/** @type {Row} */ { id }) => places.get(id) ?? -1;
  // What was known between the rows of the page, and is not in it, is gone.
  const last = page.more ? page.rows.findLast((row) => placeOf(row) >= offset) : undefined;
  const came = new Set(page.rows.map(({ id }) => id));
  const others = (/** @type {Row[]} */ rows) => rows.filter(({ id }) => !came.has(id));
  const after = last ? others(known.rows.slice(placeOf(last) + 1)) : [];
  return {
    rows: [...others(known.rows.slice(0, offset)), ...page.rows, ...after],
    hasMore: after.length ? known.hasMore : page.more && page.rows.length > 0,
  };
}
