// What a graph may say of where it came from.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rememberedOf } from "../../web/model/remembered.js";

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
