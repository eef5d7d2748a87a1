// What is deployed, and which graph is marked as what it became, whatever is opened in between.

import assert from "node:assert/strict";
import { test } from "node:test";
import { signOf } from "../../web/model/canonical.js";
import { Deploying } from "../../web/model/deploying.js";
import { load } from "./load.mjs";

const { carryOut } = await load("web/panel/deploy/steps.js");

const graphOf = (kind) => ({ workflow: { nodes: [] }, output: { 1: { class_type: kind, inputs: {} } } });
const ORIGIN = {
  id: "w1",
  name: "A",
  newest: 1,
  versions: [{ id: "v1", version: 1, sign: signOf(graphOf("Old").output) }],
};

/** A page with tabs and a platform; `during` is called while the version is being saved. */
function world(during = () => {}) {
  const tabs = {
    a: { graph: graphOf("A"), here: { workflow_id: "w1", version: 1 } },
    b: { graph: graphOf("B"), here: {} },
  };
  const page = { open: tabs.a };
  const comfy = {
    readOpened: async () => ({ graph: page.open.graph, here: page.open.here, mark: page.open }),
    isOpened: ({ mark, here }) => page.open === mark && page.open.here.workflow_id === here.workflow_id,
    remember: (what) => {
      page.open.here = what;
    },
  };
  const asked = [];
  const send = async (_, path, body) => {
    asked.push([path, body]);
    if (path === "/deployments") return { id: "d1" };
    during(page, tabs);
    return { id: "v2", version: 2, workflow_version_id: "v2" };
  };
  const panel = { comfy, routes: { send } };
  const shown = { graph: tabs.a.graph, here: tabs.a.here, mark: tabs.a };
  const machine = { id: "m1", name: "M", can: [] };
  const plan = {
    origin: ORIGIN,
    name: "A",
    comment: "",
    machine,
    environment: "production",
    stored: null,
    source: shown,
  };
  const told = { steps: [], saved: 0 };
  const deploy = (more = {}) =>
    carryOut(
      panel,
      new Deploying(panel.routes),
      { ...plan, ...more },
      (steps) => {
        told.steps = steps;
      },
      () => {
        told.saved += 1;
      },
    );
  return { tabs, page, asked, told, deploy };
}

test("the graph that was deployed is marked as the version that it became", async () => {
  const { tabs, asked, told, deploy } = world();
  assert.deepEqual(await deploy(), { id: "d1" });
  assert.deepEqual(tabs.a.here, { workflow_id: "w1", version: 2 });
  assert.equal(asked[0][0], "/workflows/w1/versions");
  assert.equal(told.saved, 1);
});

test("another graph that is opened meanwhile is not marked, and that is said", async () => {
  const { tabs, asked, told, deploy } = world((page, { b }) => {
    page.open = b;
  });
  assert.deepEqual(await deploy(), { id: "d1" });
  assert.deepEqual(tabs.b.here, {});
  assert.deepEqual(tabs.a.here, { workflow_id: "w1", version: 1 });
  assert.deepEqual(asked[0][1].workflow_api, tabs.a.graph.output);
  assert.match(told.steps.map(({ text }) => text).join(" "), /Version 2 is kept\. Another graph is open by now/);
  assert.equal(told.saved, 0);
});

test("a graph in whose place another one was opened is not marked either", async () => {
  const { tabs, told, deploy } = world((_, { a }) => {
    a.here = { workflow_id: "w7", version: 4 };
  });
  await deploy();
  assert.deepEqual(tabs.a.here, { workflow_id: "w7", version: 4 });
  assert.equal(told.saved, 0);
});

test("another graph than the one that is shown is never deployed as a version of its workflow", async () => {
  const { tabs, page, asked, told, deploy } = world();
  page.open = tabs.b;
  assert.equal(await deploy(), null);
  assert.deepEqual(asked, []);
  assert.match(told.steps[0].text, /Another graph is open than the one that is shown/);
  page.open = tabs.a;
  assert.equal(await deploy({ origin: { ...ORIGIN, id: "w9" } }), null);
  assert.deepEqual(asked, [], "an origin that was read for another graph");
});

test("a version that is kept already is deployed whatever is open, and marks nothing", async () => {
  const { tabs, page, asked, deploy } = world();
  page.open = tabs.b;
  const stored = { workflow_id: "w1", version: 1 };
  await deploy({ stored, source: { graph: graphOf("Old"), here: stored } });
  assert.deepEqual(
    asked.map(([path, { workflow_version_id: id }]) => [path, id]),
    [["/deployments", "v1"]],
  );
  assert.deepEqual([tabs.a.here, tabs.b.here], [{ workflow_id: "w1", version: 1 }, {}]);
});
