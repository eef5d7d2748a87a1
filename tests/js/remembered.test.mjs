// What a graph may say of where it came from.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rememberedOf, remembering } from "../../web/model/remembered.js";

const ID = "0f8fad5b-d9cb-469f-a165-70867728950e";

test("a version of a workflow is remembered, and nothing besides", () => {
  assert.deepEqual(rememberedOf({ workflow_id: ID, version: 3, base_url: "https://x" }), {
    workflow_id: ID,
    version: 3,
  });
});

test("what is no version of a workflow counts as nothing, whoever wrote it into the graph", () => {
  const up = "../../../../../manager/reboot";
  for (const version of [up, "1", 0, -1, 1.5, 2 ** 60, Number.NaN, null, undefined, [1], {}])
    assert.deepEqual(rememberedOf({ workflow_id: ID, version }), {}, String(version));
  for (const id of [up, `${ID}/../x`, `${ID}\n`, "", 7, null, undefined, [ID], {}])
    assert.deepEqual(rememberedOf({ workflow_id: id, version: 1 }), {}, String(id));
  for (const kept of [undefined, null, "x", 1, true, [], {}]) assert.deepEqual(rememberedOf(kept), {});
});

test("each connection has its own, and others than the one that knows none take what there is", () => {
  const other = ID.replace("0f", "1f");
  const first = remembering(undefined, { workflow_id: ID, version: 2 }, "here");
  const both = remembering(first, { workflow_id: other, version: 7 }, "work");
  assert.deepEqual(rememberedOf(both, "here"), { workflow_id: ID, version: 2 });
  assert.deepEqual(rememberedOf(both, "work"), { workflow_id: other, version: 7 });
  assert.deepEqual(rememberedOf(both, "new"), { workflow_id: other, version: 7 }, "it may be the same platform");
  assert.deepEqual(rememberedOf(both), { workflow_id: other, version: 7 }, "which older releases read, too");
  const again = remembering(both, { workflow_id: ID, version: 3 }, "here");
  assert.deepEqual(again, {
    ...{ workflow_id: ID, version: 3, connection: "here" },
    others: [{ workflow_id: other, version: 7, connection: "work" }],
  });
});

test("what an older release has kept counts where nothing newer is known", () => {
  const old = { workflow_id: ID, version: 1 };
  const other = ID.replace("0f", "1f");
  assert.deepEqual(rememberedOf(old, "here"), old);
  const kept = remembering(old, { workflow_id: other, version: 1 }, "work");
  assert.deepEqual(rememberedOf(kept, "here"), old);
  assert.deepEqual(remembering(old, { ...old, version: 2 }, "work"), { ...old, version: 2, connection: "work" });
});

test("a graph remembers a few, and only what is well formed", () => {
  let kept;
  for (let count = 0; count < 9; count++)
    kept = remembering(kept, { workflow_id: ID.replace("0f", `${count}f`), version: 1 }, `c${count}`);
  assert.equal(kept.connection, "c8");
  assert.deepEqual(
    kept.others.map((each) => each.connection),
    ["c7", "c6", "c5", "c4"],
  );
  for (const others of ["x", {}, [null, 1, { workflow_id: "../x", version: 1 }]])
    assert.deepEqual(remembering({ others }, { workflow_id: ID, version: 1 }, "c"), {
      ...{ workflow_id: ID, version: 1, connection: "c" },
    });
});
