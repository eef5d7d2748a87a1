import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { viewOf } = await load("web/model/sight.js");

const CANVAS = { left: 50, right: 1650, width: 1600, height: 900 };
const NODES = [
  { pos: [100, 100], size: [300, 130] },
  { pos: [500, 300], size: [300, 200] },
];

/** Where the corners of a node are on the canvas, with its title. */
const placesOf = ({ pos, size }, { scale, offset }) => ({
  left: (pos[0] + offset[0]) * scale,
  right: (pos[0] + size[0] + offset[0]) * scale,
  top: (pos[1] - 30 + offset[1]) * scale,
  bottom: (pos[1] + size[1] + offset[1]) * scale,
});

function assertWithin(nodes, canvas, left, right, cover) {
  const view = viewOf(nodes, canvas, cover);
  for (const place of nodes.map((node) => placesOf(node, view))) {
    assert.ok(place.left >= left && place.right <= right, JSON.stringify([place, view]));
    assert.ok(place.top >= 0 && place.bottom <= canvas.height, JSON.stringify([place, view]));
  }
  return view;
}

test("a graph is in the middle of the canvas, and not larger than it is", () => {
  const { scale, offset } = assertWithin(NODES, CANVAS, 0, 1600);
  assert.equal(scale, 1);
  assert.deepEqual(offset, [800 - 450, 450 - 285]);
});

test("a graph is beside what lies over the left end of the canvas", () => {
  assertWithin(NODES, CANVAS, 650, 1600, { left: 50, right: 700 });
});

test("a graph is beside what lies over the right end of the canvas", () => {
  assertWithin(NODES, CANVAS, 0, 1050, { left: 1100, right: 1650 });
});

test("what lies beside the canvas covers nothing of it", () => {
  assert.deepEqual(viewOf(NODES, CANVAS, { left: 0, right: 50 }), viewOf(NODES, CANVAS));
  assert.deepEqual(viewOf(NODES, CANVAS, { left: 1650, right: 1900 }), viewOf(NODES, CANVAS));
});

test("a graph that is larger than there is room for becomes smaller until all of it is in sight", () => {
  const wide = [...NODES, { pos: [9000, 5000], size: [300, 100] }];
  assert.ok(assertWithin(wide, CANVAS, 650, 1600, { left: 50, right: 700 }).scale < 0.2);
  const high = [...NODES, { pos: [100, 20_000], size: [300, 100] }];
  assertWithin(high, CANVAS, 0, 1600);
});

test("where all of the canvas is covered nothing has to be beside it", () => {
  assert.deepEqual(viewOf(NODES, CANVAS, { left: 0, right: 1650 }), viewOf(NODES, CANVAS));
});
