// Where a graph has to begin for all of it to be in sight.

const TITLE = 30; // of a node, above its place

/** @type {ViewOf} */
export function viewOf(nodes, canvas, cover) {
  const { width } = canvas;
  const isLeft = cover && cover.left + cover.right < canvas.left + canvas.right;
  let left = isLeft ? Math.max(0, cover.right - canvas.left) : 0;
  let right = cover && !isLeft ? Math.min(width, cover.left - canvas.left) : width;
  if (left >= right) [left, right] = [0, width];
  const fitted = (/** @type {0 | 1} */ axis, from = 0, to = canvas.height, title = TITLE) => {
    const least = Math.min(...nodes.map(({ pos }) => pos[axis])) - title;
    const most = Math.max(...nodes.map(({ pos, size }) => pos[axis] + size[axis]));
    const beginAt = (/** @type {number} */ scale) => ((from + to) / scale - least - most) / 2;
    return { scale: (0.9 * (to - from)) / (most - least), beginAt };
  };
  const [x, y] = [fitted(0, left, right, 0), fitted(1)];
  const scale = Math.min(1, x.scale, y.scale);
  return { scale, offset: [x.beginAt(scale), y.beginAt(scale)] };
}
