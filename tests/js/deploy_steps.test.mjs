// Deploying step by step, and how deployments are listed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signOf } from "../../web/model/canonical.js";
import { Deploying, environmentsOf, grouped, machineFor } from "../../web/model/deploying.js";

const GRAPH = { workflow: { nodes: [] }, output: { 1: { class_type: "A", inputs: { x: 1, y: ["2", 0] } } } };
const WISH = { workflow_id: "w1", workflow_version_id: "v1", machine_id: "m1", environment: "staging", force: false };

/** Routes that fail as often as they are told to. */
function routes(failures = 0) {
  const asked = [];
  const send = async (method, path, body) => {
    asked.push([method, path, body]);
    if (failures-- > 0) throw new Error("the connection broke");
    if (path === "/workflows") return { id: "w9", version: 1, workflow_version_id: "v9" };
    return path === "/deployments" ? { id: "d1" } : { id: "v2", workflow_id: "w1", version: 2 };
  };
  return { asked, send };
}

test("graphs that do the same have one sign, whatever the order and the titles", () => {
  const same = { 1: { _meta: { title: "T" }, inputs: { y: ["2", 0], x: 1 }, class_type: "A" } };
  assert.equal(signOf(GRAPH.output), signOf(same));
  assert.notEqual(signOf(GRAPH.output), signOf({ 1: { class_type: "A", inputs: { x: 2, y: ["2", 0] } } }));
  assert.notEqual(signOf(GRAPH.output), signOf({ 2: GRAPH.output[1] }));
  assert.equal(signOf(null), signOf({}));
});

test("what failed is tried again with the same key, and what was done is not done again", async () => {
  const known = routes(1);
  const deploying = new Deploying(known);
  const what = { workflow_id: null, name: "Mine", comment: "", graph: GRAPH };
  await assert.rejects(deploying.save(what), /broke/);
  const moved = { ...GRAPH, workflow: { nodes: [{ pos: [1, 2] }] } };
  const version = await deploying.save({ ...what, graph: moved });
  assert.deepEqual(version, { workflow_id: "w9", version: 1, workflow_version_id: "v9" });
  assert.deepEqual(known.asked[0], known.asked[1], "another body with the same key would be refused");
  assert.equal(await deploying.save(what), version);
  assert.equal(known.asked.length, 2);
});

test("whoever saves or deploys the same while it is being done waits for that", async () => {
  const known = routes();
  const deploying = new Deploying(known);
  const what = { workflow_id: null, name: "Mine", comment: "", graph: GRAPH };
  const [one, other] = await Promise.all([deploying.save(what), deploying.save({ ...what })]);
  assert.equal(one, other);
  await Promise.all([deploying.deploy(WISH), deploying.deploy({ ...WISH })]);
  assert.deepEqual(
    known.asked.map(([, path]) => path),
    ["/workflows", "/deployments"],
  );
});

test("when what two wait for fails, both are told, and it is asked for once again", async () => {
  const known = routes(1);
  const deploying = new Deploying(known);
  const again = () => deploying.deploy({ ...WISH }).catch(() => deploying.deploy({ ...WISH }));
  const [one, other] = await Promise.all([again(), again()]);
  assert.equal(one, other);
  assert.equal(known.asked.length, 2);
});

test("what is deployed does not let go of another version that is being saved", async () => {
  const known = routes();
  const deploying = new Deploying(known);
  const what = { workflow_id: "w1", name: "", comment: "", graph: GRAPH };
  const saving = deploying.save(what);
  await deploying.deploy(WISH);
  assert.equal(await deploying.save(what), await saving);
  assert.equal(known.asked.filter(([, path]) => path !== "/deployments").length, 1);
});

test("another graph, name or comment is another version", async () => {
  const known = routes();
  const deploying = new Deploying(known);
  const what = { workflow_id: "w1", name: "", comment: "", graph: GRAPH };
  await deploying.save(what);
  await deploying.save({ ...what, comment: "softer" });
  await deploying.save({ ...what, graph: { ...GRAPH, output: {} } });
  const keys = known.asked.map(([, , body]) => body.key);
  assert.equal(new Set(keys).size, 3);
  assert.equal(known.asked[0][1], "/workflows/w1/versions");
  assert.ok(!("name" in known.asked[0][2]));
});

test("deploying is repeated with one key until it is done or something else is wished", async () => {
  const known = routes(1);
  const deploying = new Deploying(known);
  await assert.rejects(deploying.deploy(WISH));
  await deploying.deploy(WISH);
  await deploying.deploy(WISH);
  await deploying.deploy({ ...WISH, environment: "production" });
  const keys = known.asked.map(([, , body]) => body.key);
  assert.equal(keys[0], keys[1]);
  assert.equal(new Set(keys).size, 3);
});

test("a workflow that was deleted after it was kept is kept anew, and one that is there is not", async () => {
  const gone = Object.assign(new Error("not there"), { status: 404 });
  for (const [isThere, times] of [
    [false, 2],
    [true, 1],
  ]) {
    const known = routes();
    const what = { workflow_id: null, name: "Mine", comment: "", graph: GRAPH };
    const deploying = new Deploying({
      get: async () => (isThere ? {} : Promise.reject(gone)),
      send: async (...asked) => (asked[1] === "/deployments" ? Promise.reject(gone) : known.send(...asked)),
    });
    const { version, ...ids } = await deploying.save(what);
    await assert.rejects(deploying.deploy({ ...WISH, ...ids }), gone);
    await deploying.save(what);
    assert.equal(known.asked.length, times);
  }
});

const row = (id, workflow, environment, more = {}) => ({
  id,
  name: workflow,
  workflow,
  workflow_id: workflow,
  environment,
  ...more,
});

test("deployments are listed by workflow, production first", () => {
  const rows = [row("1", "a", "demo"), row("2", "b", "preview"), row("3", "a", "production"), row("4", "a", "staging")];
  assert.deepEqual(
    grouped(rows, "").map(({ id, isFirst }) => [id, isFirst]),
    [
      ["3", true],
      ["4", false],
      ["1", false],
      ["2", true],
    ],
  );
  assert.deepEqual(
    grouped(rows, "A stag").map(({ id }) => id),
    ["4"],
  );
  assert.deepEqual(grouped(rows, "nothing"), []);
});

test("two deployments of one environment are both listed", () => {
  assert.equal(grouped([row("1", "a", "staging"), row("2", "a", "staging")], "").length, 2);
});

test("environments that are in use can be chosen, too", () => {
  assert.deepEqual(environmentsOf([row("1", "a", "zoo"), row("2", "a", "demo")]), [
    "production",
    "staging",
    "preview",
    "demo",
    "zoo",
  ]);
});

test("a machine is chosen that does real work, unless somebody has said which", () => {
  const [toy, broken, real] = [
    { id: "toy", kind: "builtin", status: "ready" },
    { id: "broken", kind: "comfyui", status: "error" },
    { id: "real", kind: "managed", status: "ready" },
  ];
  const chosen = (machines, wanted = []) => machineFor(machines, wanted)?.id;
  assert.equal(chosen([toy, broken, real]), "real");
  assert.equal(chosen([toy, broken, real], ["", undefined, "toy"]), "toy");
  assert.equal(chosen([toy, broken, real], ["broken", "toy"]), "broken");
  assert.equal(chosen([toy, broken], ["gone"]), "toy");
  assert.equal(chosen([broken]), "broken");
  assert.equal(chosen([]), undefined);
});
