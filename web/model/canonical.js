// Values as texts.

/** A text that is the same for equal values, whatever the order of their names. @param {unknown} value */
export function canonical(value) {
  return JSON.stringify(value, (_, each) => {
    if (!each || typeof each !== "object" || Array.isArray(each)) return each;
    return Object.fromEntries(Object.entries(each).sort(([one], [other]) => (one < other ? -1 : 1)));
  });
}

/** A text that executable graphs have in common when they do the same. @param {Graph | null} [graph] */
export function signOf(graph) {
  const nodes = Object.entries(graph ?? {}).map(([id, node]) => [id, [node?.class_type, node?.inputs]]);
  return canonical(Object.fromEntries(nodes));
}
