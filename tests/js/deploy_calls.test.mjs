// Calls that are ready to be copied.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { callsOf, python, sampleOf } from "../../web/model/calls.js";

const HOSTILE = `it's "quoted" $HOME \`id\` \\ \${x}\nsecond line`;
const FIELDS = [
  { input_id: "prompt", kind: "text", widget: { type: "multiline", default: HOSTILE } },
  { input_id: "steps", kind: "integer", widget: { type: "int", default: 20 } },
  { input_id: "mode", kind: "enum", widget: { type: "combo", options: ["a", "b"] } },
  { input_id: "tiled", kind: "boolean", widget: { type: "boolean" } },
  { input_id: "photo", kind: "image", widget: null },
  { input_id: "photos", kind: "image batch", widget: null },
  { input_id: "5.seed", kind: "number", is_open: true, widget: { type: "float", default: 1 } },
];
const SAMPLE = {
  prompt: HOSTILE,
  steps: 20,
  mode: "a",
  tiled: false,
  photo: "https://example.com/photo.png",
  photos: ["https://example.com/photo.png"],
};
const CALLS = Object.fromEntries(callsOf({ id: "d-1", inputs: FIELDS }, "https://outpost.example/base/"));

test("a call has what the deployment takes when nothing is said", () => {
  assert.deepEqual(sampleOf(FIELDS), SAMPLE);
});

test("every call names the platform and the deployment, and only where the key is to be found", () => {
  assert.deepEqual(Object.keys(CALLS), ["curl", "Python", "Python client", "JavaScript"]);
  for (const text of Object.values(CALLS)) {
    assert.match(text, /https:\/\/outpost\.example\/base/);
    assert.match(text, /d-1/);
    assert.match(text, /PLATFORM_API_KEY/);
    assert.doesNotMatch(text, /base\/\/api/);
  }
});

test("a shell sends what the call says, whatever is in a default", () => {
  const script = `curl() { printf '%s' "\${@: -1}"; exit; }\n${CALLS.curl}`;
  const sent = JSON.parse(execFileSync("bash", ["-c", script], { env: { PATH: process.env.PATH } }));
  assert.deepEqual(sent, { deployment_id: "d-1", inputs: SAMPLE });
});

test("Python reads what the call says, whatever is in a default", () => {
  const names = { Python: /^body = (.*?)^headers/ms, "Python client": /inputs = (.*?)^ {8}run =/ms };
  for (const [name, part] of Object.entries(names)) {
    const [, written] = CALLS[name].match(part);
    const told = execFileSync("python3", [
      "-c",
      "import ast, json, sys; print(json.dumps(ast.literal_eval(sys.argv[1].strip())))",
      written,
    ]);
    const read = JSON.parse(told);
    assert.deepEqual(read.inputs ?? read, SAMPLE, name);
    execFileSync("python3", ["-c", "import ast, sys; ast.parse(sys.argv[1])", CALLS[name]]);
  }
});

/** What a call asks for, with a platform that has one run. */
async function askedBy(script, run = { status: "success", outputs: [] }) {
  const asked = [];
  const fetch = async (url, options) => {
    asked.push([url, options]);
    return { ok: true, json: async () => ({ run_id: "r-1", ...run }) };
  };
  const AsyncFunction = (async () => {}).constructor;
  const env = { env: { PLATFORM_API_KEY: "from the environment" } };
  const execute = new AsyncFunction("fetch", "process", "console", "setTimeout", script);
  await execute(fetch, env, { log() {} }, (act) => act());
  return asked;
}

test("JavaScript sends what the call says, whatever is in a default", async () => {
  const asked = await askedBy(CALLS.JavaScript);
  assert.deepEqual(JSON.parse(asked[0][1].body), { deployment_id: "d-1", inputs: SAMPLE });
  assert.equal(asked[0][1].headers.Authorization, "Bearer from the environment");
  assert.equal(asked[1][0], "https://outpost.example/base/api/run/r-1");
});

test("a call says why a run failed", async () => {
  const run = { status: "failed", outputs: [], error: { message: "no such picture" } };
  await assert.rejects(askedBy(CALLS.JavaScript, run), /failed: .*no such picture/);
  assert.match(CALLS.Python, /sys\.exit\(f"\{run\['status'\]\}: \{run\.get\('error'\)\}"\)/);
});

test("an address and an id are data in every language, whatever is in them", async () => {
  const url = `https://x.example/$(touch pwned)'"\\ \${y}{z}`;
  const id = `d'"$(id)\\{z}`;
  const calls = Object.fromEntries(callsOf({ id, inputs: [] }, url));
  const script = `curl() { printf '%s\\n' "$1"; }\n${calls.curl}`;
  const told = execFileSync("bash", ["-c", script], { env: { PATH: process.env.PATH } });
  assert.equal(String(told), `${url}/api/run/deployment/sync\n`);

  const texts = `import ast, json, sys
print(json.dumps([each.value for each in ast.walk(ast.parse(sys.argv[1])) if isinstance(each, ast.Constant)]))`;
  const read = (name) => JSON.parse(String(execFileSync("python3", ["-c", texts, calls[name]])));
  assert.ok(read("Python").includes(`${url}/api/run/deployment/queue`));
  assert.ok(read("Python").includes(`${url}/api/run/`));
  assert.ok(read("Python client").includes(url));
  assert.ok(read("Python client").includes(id));

  const asked = await askedBy(calls.JavaScript);
  assert.equal(asked[0][0], `${url}/api/run/deployment/queue`);
  assert.equal(asked[1][0], `${url}/api/run/r-1`);
});

test("an input may be called as what every object has", async () => {
  const inputs = ["__proto__", "constructor"].map((name) => ({ ...FIELDS[1], input_id: name }));
  const calls = Object.fromEntries(callsOf({ id: "d-1", inputs }, "https://x.example"));
  const [[, { body }]] = await askedBy(calls.JavaScript);
  assert.deepEqual(Object.entries(JSON.parse(body).inputs), [
    ["__proto__", 20],
    ["constructor", 20],
  ]);
});

test("an address that ends in /api is the root of the API", () => {
  const calls = Object.fromEntries(callsOf({ id: "d-1", inputs: [] }, "https://x.example/api/"));
  for (const name of ["curl", "Python", "JavaScript"]) {
    assert.ok(calls[name].includes("https://x.example/api/run/"), name);
    assert.doesNotMatch(calls[name], /api\/api/);
  }
});

test("Python's own words are written", () => {
  assert.equal(python({ a: [true, null, 1.5] }), '{\n    "a": [True, None, 1.5],\n}');
  assert.equal(python({}), "{}");
});
