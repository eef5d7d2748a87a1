// Runs that are started from a form.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Starting } from "../../web/model/starting.js";

const BODY = { deployment_id: "d1", inputs: { seed: 1 }, files: {}, assets: {} };

/** Routes that answer with these, one after the other; what is an Error is thrown. */
function routes(...answers) {
  const asked = [];
  const send = async (method, path, body) => {
    asked.push([method, path, body]);
    const answer = answers.shift() ?? { id: "r1" };
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { asked, send, keys: () => asked.map(([, , body]) => body.key) };
}

const lost = () => Object.assign(new Error("The run may be going on."), { code: "run_lost" });

test("two presses at once start one run", async () => {
  const known = routes();
  const starting = new Starting(known);
  const runs = await Promise.all([starting.start(BODY), starting.start({ ...BODY })]);
  assert.deepEqual(runs, [{ id: "r1" }, { id: "r1" }]);
  assert.equal(known.asked.length, 1);
});

test("a start whose answer was lost keeps its key until the run is known", async () => {
  const known = routes(new Error("ComfyUI does not answer."), lost());
  const starting = new Starting(known);
  await assert.rejects(starting.start(BODY), /does not answer/);
  assert.equal(starting.isLost(BODY), false);
  await assert.rejects(starting.start(BODY), /going on/);
  assert.equal(starting.isLost(BODY), true);
  await starting.start(BODY);
  assert.equal(starting.isLost(BODY), false);
  await starting.start(BODY);
  const [first, second, third, fourth] = known.keys();
  assert.equal(first, second);
  assert.equal(first, third);
  assert.notEqual(first, fourth, "what is known to run is not what is asked for next");
});

test("other values are another run", async () => {
  const known = routes(lost());
  const starting = new Starting(known);
  const other = { ...BODY, inputs: { seed: 2 } };
  await assert.rejects(starting.start(BODY));
  assert.equal(starting.isLost(other), false);
  await starting.start(other);
  assert.equal(new Set(known.keys()).size, 2);
  assert.equal(starting.isLost(BODY), true);
});
