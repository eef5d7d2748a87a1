// Sockets that are as many as are needed: those that are connected, and a free one.

/**
 * What has to change so that behind the last connected socket there is exactly one free one.
 * @param {{name: string, isConnected: boolean}[]} sockets of a node, in order
 * @param {string} prefix what their names begin with; a number follows
 * @returns {{add: string[], remove: string[]}} names
 */
export function grown(sockets, prefix) {
  const numbered = sockets
    .map((socket) => ({ ...socket, number: numberOf(socket.name, prefix) }))
    .filter(({ number }) => number > 0)
    .sort((one, other) => one.number - other.number);
  const last = numbered.findLast(({ isConnected }) => isConnected)?.number ?? 0;
  const free = numbered.filter(({ number }) => number > last);
  if (!free.length) return { add: [`${prefix}${last + 1}`], remove: [] };
  return { add: [], remove: free.slice(1).map(({ name }) => name) };
}

/** @param {string} name @param {string} prefix @returns {number} 0 when it is not one of them */
function numberOf(name, prefix) {
  const rest = name.startsWith(prefix) ? name.slice(prefix.length) : "";
  return /^[1-9]\d*$/.test(rest) ? Number(rest) : 0;
}
